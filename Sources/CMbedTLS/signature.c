// Hashes and signatures of firmware.

// A key's curve and point are public in 2.28 and marked private since 3.0.
#define MBEDTLS_ALLOW_PRIVATE_ACCESS

#include "mote_signature.h"

#include <mbedtls/ecdsa.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>
#include <string.h>

_Static_assert(sizeof(mbedtls_sha256_context) <= MOTE_SHA256_BYTES_MAX, "SHA-256 needs more room");

// 2.28 has the functions that can fail, with hardware of which we have none, under other names.
#if MBEDTLS_VERSION_NUMBER < 0x03000000
#define mbedtls_sha256_starts mbedtls_sha256_starts_ret
#define mbedtls_sha256_update mbedtls_sha256_update_ret
#define mbedtls_sha256_finish mbedtls_sha256_finish_ret
#define MBEDTLS_PRIVATE(member) member
#endif

void mote_sha256_start(void *context) {
  mbedtls_sha256_init(context);
  (void)mbedtls_sha256_starts(context, 0);
}

void mote_sha256_add(void *context, const uint8_t *bytes, size_t count) {
  (void)mbedtls_sha256_update(context, bytes, count);
}

void mote_sha256_finish(void *context, uint8_t digest[32]) { (void)mbedtls_sha256_finish(context, digest); }

void mote_sha256_resume(void *context, const uint32_t words[8], uint64_t byte_count) {
  mbedtls_sha256_context *sha256 = context;
  mote_sha256_start(sha256);
  memcpy(sha256->MBEDTLS_PRIVATE(state), words, 32);
  sha256->MBEDTLS_PRIVATE(total)[0] = (uint32_t)byte_count;
  sha256->MBEDTLS_PRIVATE(total)[1] = (uint32_t)(byte_count >> 32);
}

void mote_sha256_state(const void *context, uint32_t words[8]) {
  const mbedtls_sha256_context *sha256 = context;
  memcpy(words, sha256->MBEDTLS_PRIVATE(state), 32);
}

bool mote_is_signed_p256(const uint8_t point[65], const uint8_t digest[32], const uint8_t *signature, size_t count) {
  mbedtls_ecdsa_context key;
  mbedtls_ecdsa_init(&key);
  // A point that is not on the curve would make any signature possible.
  bool is_signed = mbedtls_ecp_group_load(&key.grp, MBEDTLS_ECP_DP_SECP256R1) == 0
    && mbedtls_ecp_point_read_binary(&key.grp, &key.Q, point, 65) == 0
    && mbedtls_ecp_check_pubkey(&key.grp, &key.Q) == 0
    && mbedtls_ecdsa_read_signature(&key, digest, 32, signature, count) == 0;
  mbedtls_ecdsa_free(&key);
  return is_signed;
}
