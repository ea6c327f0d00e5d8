// What the two files of this shim share.
#pragma once

// The version-dependent fields below are public in 2.28 and marked private since 3.0.
#define MBEDTLS_ALLOW_PRIVATE_ACCESS

#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include "mote_tls.h"

// The longest text kept of a subject or an issuer, with its terminating zero.
#define MOTE_TLS_NAME_BYTES_MAX 96

struct mote_tls {
  mbedtls_ssl_context ssl;
  mbedtls_ssl_config configuration;
  mote_tls_options options;
  bool is_started;
  bool is_resumed;
  // Since the last call from outside: whether input ran dry, and whether the socket broke.
  bool is_input_blocked;
  bool is_broken;
  // What a write that could not be sent has encrypted already; 0 if none.
  size_t unsent_count;
  int32_t failure;
  int32_t error;
  int32_t alert;
  uint32_t flags;
  // The latest beginning of validity in the chain.
  int64_t valid_from;
  // A self-signed server certificate that is itself in the store of trusted ones; not to be dereferenced.
  const mbedtls_x509_crt *trusted_leaf;
  char subject[MOTE_TLS_NAME_BYTES_MAX];
  char issuer[MOTE_TLS_NAME_BYTES_MAX];
#if !defined(MBEDTLS_X509_TRUSTED_CERTIFICATE_CALLBACK)
  // mbedTLS wants some list of trusted certificates: an empty one.
  mbedtls_x509_crt nobody;
#endif
};

struct mote_tls_certificates {
  mbedtls_x509_crt *first;
  // The time that counts, in seconds since 1970.
  int64_t time;
};

// Makes mbedTLS check the server's certificate as the options say.
void mote_tls_configure_check(mote_tls *tls);
