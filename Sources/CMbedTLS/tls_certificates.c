// Whom to trust: the chain that the server presents, the certificates of the store it leads to, their time and their
// name.
#include "tls_internal.h"

#include <mbedtls/platform.h>
#include <string.h>

// --- Texts ------------------------------------------------------------------------------------------------------

// The last arc of the attribute types (X.520) whose object identifiers begin with 2.5.4.
enum { COMMON_NAME = 3, ORGANISATION = 10 };

static size_t append_text(char *text, size_t used, const uint8_t *bytes, size_t count) {
  for (size_t index = 0; index < count && used + 1 < MOTE_TLS_NAME_BYTES_MAX; index++) {
    uint8_t byte = bytes[index];
    bool is_plain = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
    text[used++] = is_plain ? (char)byte : '?';
  }
  text[used] = 0;
  return used;
}

// Writes the organisation and the common name, the two attributes by which people know certificates.
static void write_name(char *text, const mbedtls_x509_name *name) {
  static const uint8_t types[] = {ORGANISATION, COMMON_NAME};
  size_t used = 0;
  text[0] = 0;
  for (size_t turn = 0; turn < sizeof(types); turn++) {
    for (const mbedtls_x509_name *part = name; part != NULL; part = part->next) {
      bool is_wanted = part->oid.len == 3 && part->oid.p[0] == 0x55 && part->oid.p[1] == 0x04
        && part->oid.p[2] == types[turn];
      if (!is_wanted) continue;
      if (used > 0) used = append_text(text, used, (const uint8_t *)", ", 2);
      used = append_text(text, used, part->val.p, part->val.len);
    }
  }
}

// --- Time -------------------------------------------------------------------------------------------------------

// Seconds since 1970. Counts years from March, so that a leap day is the last day of its year.
static int64_t seconds_of(const mbedtls_x509_time *time) {
  int64_t year = time->mon > 2 ? time->year : time->year - 1;
  int64_t month = time->mon > 2 ? time->mon - 3 : time->mon + 9;
  int64_t days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + time->day - 1 - 719468;
  return ((days * 24 + time->hour) * 60 + time->min) * 60 + time->sec;
}

// --- The check --------------------------------------------------------------------------------------------------

static bool names_address(const mbedtls_x509_crt *certificate, const mote_tls_options *options) {
  const mbedtls_x509_sequence *name = &certificate->subject_alt_names;
  for (; name != NULL; name = name->next) {
    // GeneralName's choice [7] is iPAddress (RFC 5280 4.2.1.6).
    if ((name->buf.tag & 0x1f) == 7 && name->buf.len == options->address_count
      && memcmp(name->buf.p, options->address, options->address_count) == 0) {
      return true;
    }
  }
  return false;
}

// mbedTLS calls this for each certificate of the chain, from the top down, with what it found wrong. Time is judged
// here because only the caller knows it: mbedTLS, where it is built with a clock at all, would ask one that may be in
// 1970.
static int judge(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags) {
  mote_tls *tls = context;
  const mote_tls_options *options = &tls->options;
  *flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
  if (seconds_of(&certificate->valid_to) < options->time) *flags |= MBEDTLS_X509_BADCERT_EXPIRED;
  int64_t start = seconds_of(&certificate->valid_from);
  if (start > options->time) *flags |= MBEDTLS_X509_BADCERT_FUTURE;
  if (start > tls->valid_from) tls->valid_from = start;
  if (tls->issuer[0] == 0) write_name(tls->issuer, &certificate->issuer);
  if (depth > 0) return 0;
  write_name(tls->subject, &certificate->subject);
  if (certificate == tls->trusted_leaf) *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_NOT_TRUSTED;
  if (options->server_name == NULL && !names_address(certificate, options)) {
    *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
  }
  return 0;
}

static bool is_valid_at(const mbedtls_x509_crt *certificate, int64_t time) {
  return seconds_of(&certificate->valid_from) <= time && time <= seconds_of(&certificate->valid_to);
}

bool mote_tls_add_certificate(mote_tls_certificates *found, const uint8_t *der, size_t count) {
  mbedtls_x509_crt *certificate = mbedtls_calloc(1, sizeof(*certificate));
  if (certificate == NULL) return false;
  mbedtls_x509_crt_init(certificate);
  if (mbedtls_x509_crt_parse_der(certificate, der, count) != 0) {
    mbedtls_x509_crt_free(certificate);
    mbedtls_free(certificate);
    return false;
  }
  // The first that fits is used: an expired authority must not hide the one that was renewed with the same key.
  mbedtls_x509_crt **place = &found->first;
  while (*place != NULL && !is_valid_at(certificate, found->time)) place = &(*place)->next;
  certificate->next = *place;
  *place = certificate;
  return true;
}

static void free_certificates(mote_tls_certificates *found) {
  if (found->first == NULL) return;
  mbedtls_x509_crt_free(found->first);
  mbedtls_free(found->first);
  found->first = NULL;
}

// Adds the trusted certificates that may have issued `child`.
static int find_issuers(mote_tls *tls, const mbedtls_x509_crt *child, mote_tls_certificates *found) {
  const mote_tls_options *options = &tls->options;
  if (options->find_trusted(options->trust_context, child->issuer_raw.p, child->issuer_raw.len, found) != 0) {
    free_certificates(found);
    return MBEDTLS_ERR_X509_FATAL_ERROR;
  }
  // A server certificate that is in the store itself is trusted even if it is no certificate authority.
  for (const mbedtls_x509_crt *trusted = found->first; trusted != NULL; trusted = trusted->next) {
    if (trusted->raw.len == child->raw.len && memcmp(trusted->raw.p, child->raw.p, child->raw.len) == 0) {
      tls->trusted_leaf = child;
    }
  }
  return 0;
}

#if defined(MBEDTLS_X509_TRUSTED_CERTIFICATE_CALLBACK)

// mbedTLS asks while it walks up the chain, and frees what it gets.
static int find_trusted(void *context, const mbedtls_x509_crt *child, mbedtls_x509_crt **candidates) {
  mote_tls_certificates found = {NULL, ((mote_tls *)context)->options.time};
  int result = find_issuers(context, child, &found);
  *candidates = found.first;
  return result;
}

void mote_tls_configure_check(mote_tls *tls) {
  mbedtls_ssl_conf_ca_cb(&tls->configuration, find_trusted, tls);
  mbedtls_ssl_conf_verify(&tls->configuration, judge, tls);
}

#else

// How many certificates of a chain are looked up.
#define CHAIN_MAX 8

// Distributions build mbedTLS without that callback. There the chain is checked twice: first by mbedTLS against nobody,
// which ends here, then again, in full, against the few certificates of the store that the chain asks for. The first
// verdict is thrown away. It costs time, but no more memory than the callback.
static int judge_again(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags) {
  mote_tls *tls = context;
  *flags = 0;
  // The server's own certificate comes last, and the others that the server sent hang on it.
  if (depth > 0) return 0;
  mote_tls_certificates found = {NULL, tls->options.time};
  int count = 0;
  for (const mbedtls_x509_crt *child = certificate; child != NULL && count < CHAIN_MAX; child = child->next) {
    int result = find_issuers(tls, child, &found);
    if (result != 0) return result;
    count++;
  }
  int result = mbedtls_x509_crt_verify_with_profile(
    certificate, found.first != NULL ? found.first : &tls->nobody, NULL, &mbedtls_x509_crt_profile_default,
    tls->options.server_name, flags, judge, tls);
  free_certificates(&found);
  return result == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED ? 0 : result;
}

void mote_tls_configure_check(mote_tls *tls) {
  mbedtls_x509_crt_init(&tls->nobody);
  mbedtls_ssl_conf_ca_chain(&tls->configuration, &tls->nobody, NULL);
  mbedtls_ssl_conf_verify(&tls->configuration, judge_again, tls);
}

#endif
