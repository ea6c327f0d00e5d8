#include "tls_internal.h"

#include <mbedtls/platform.h>
#include <string.h>
#if defined(MBEDTLS_PSA_CRYPTO_C)
#include <psa/crypto.h>
#endif

#include "mote_random.h"

// How many records that bring nothing (tickets, warnings) one call passes over. A server sends two tickets.
#define RECORDS_SKIPPED_MAX 16

size_t mote_tls_byte_count(void) { return sizeof(mote_tls); }

// --- Input and output -------------------------------------------------------------------------------------------

static int receive_bytes(void *context, unsigned char *bytes, size_t count) {
  mote_tls *tls = context;
  int32_t got = tls->options.receive(tls->options.io_context, bytes, count);
  if (got >= 0) return got;
  if (got == MOTE_TLS_IO_BLOCKED) {
    tls->is_input_blocked = true;
    return MBEDTLS_ERR_SSL_WANT_READ;
  }
  tls->is_broken = true;
  return MBEDTLS_ERR_SSL_CONN_EOF;
}

static int send_bytes(void *context, const unsigned char *bytes, size_t count) {
  mote_tls *tls = context;
  int32_t sent = tls->options.send(tls->options.io_context, bytes, count);
  if (sent >= 0) return sent;
  if (sent == MOTE_TLS_IO_BLOCKED) return MBEDTLS_ERR_SSL_WANT_WRITE;
  tls->is_broken = true;
  return MBEDTLS_ERR_SSL_CONN_EOF;
}

// --- Results ----------------------------------------------------------------------------------------------------

// Kinds of failure by the bits of mbedTLS. An issuer that is not trusted makes everything else in the certificate
// worthless, so it comes first; then time, because a wrong clock is the most common cause there is.
static int32_t certificate_failure(uint32_t flags) {
  if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) return MOTE_TLS_FAILURE_UNKNOWN_ISSUER;
  if (flags & MBEDTLS_X509_BADCERT_FUTURE) return MOTE_TLS_FAILURE_NOT_YET_VALID;
  if (flags & MBEDTLS_X509_BADCERT_EXPIRED) return MOTE_TLS_FAILURE_EXPIRED;
  if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) return MOTE_TLS_FAILURE_WRONG_NAME;
  return MOTE_TLS_FAILURE_OTHER;
}

static int32_t fail(mote_tls *tls, int error) {
  tls->error = error;
  tls->failure = MOTE_TLS_FAILURE_OTHER;
  if (tls->is_broken) {
    tls->failure = MOTE_TLS_FAILURE_BROKEN;
  } else if (error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
    tls->failure = MOTE_TLS_FAILURE_REFUSED;
    // The alert is the record that was read last: level, description.
    tls->alert = tls->ssl.in_msg[1];
  } else {
    // All bits are set when the check itself could not be made.
    uint32_t flags = mbedtls_ssl_get_verify_result(&tls->ssl);
    tls->flags = flags == UINT32_MAX ? 0 : flags;
    tls->failure = certificate_failure(tls->flags);
  }
  return MOTE_TLS_FAILED;
}

// Translates what mbedTLS answers, numbers of bytes aside.
static int32_t outcome(mote_tls *tls, int result) {
  switch (result) {
    case 0: return MOTE_TLS_DONE;
    case MBEDTLS_ERR_SSL_WANT_READ: return MOTE_TLS_WANTS_INPUT;
    case MBEDTLS_ERR_SSL_WANT_WRITE: return MOTE_TLS_WANTS_OUTPUT;
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY: return MOTE_TLS_ENDED;
    case MBEDTLS_ERR_SSL_CONN_EOF: return tls->is_broken ? fail(tls, result) : MOTE_TLS_ENDED;
    default: return fail(tls, result);
  }
}

// --- Life of a connection ---------------------------------------------------------------------------------------

static int configure(mote_tls *tls) {
  mbedtls_ssl_config *configuration = &tls->configuration;
  int result = mbedtls_ssl_config_defaults(
    configuration, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
  if (result != 0) return result;
#if MBEDTLS_VERSION_NUMBER >= 0x03020000
  mbedtls_ssl_conf_min_tls_version(configuration, MBEDTLS_SSL_VERSION_TLS1_2);
#else
  mbedtls_ssl_conf_min_version(configuration, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
#if defined(MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED) && defined(MBEDTLS_SSL_PROTO_TLS1_3)
  mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
    configuration, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
  mbedtls_ssl_conf_rng(configuration, mote_random, NULL);
  if (tls->options.is_verified) {
    mbedtls_ssl_conf_authmode(configuration, MBEDTLS_SSL_VERIFY_REQUIRED);
    mote_tls_configure_check(tls);
  } else {
    mbedtls_ssl_conf_authmode(configuration, MBEDTLS_SSL_VERIFY_NONE);
  }
  return 0;
}

// Offers the session of an earlier connection. One that a newer mbedTLS wrote, or none, is passed over.
static int offer_session(mote_tls *tls) {
  mbedtls_ssl_session session;
  int result = 0;
  if (tls->options.session == NULL) return 0;
  mbedtls_ssl_session_init(&session);
  if (mbedtls_ssl_session_load(&session, tls->options.session, tls->options.session_count) == 0) {
    result = mbedtls_ssl_set_session(&tls->ssl, &session);
  }
  mbedtls_ssl_session_free(&session);
  return result == MBEDTLS_ERR_SSL_ALLOC_FAILED ? result : 0;
}

int32_t mote_tls_start(mote_tls *tls, const mote_tls_options *options) {
  unsigned char probe;
  int result;
  memset(tls, 0, sizeof(*tls));
  tls->options = *options;
  tls->alert = -1;
  if (mote_random(NULL, &probe, 1) != 0) {
    tls->failure = MOTE_TLS_FAILURE_NO_RANDOMNESS;
    return MOTE_TLS_FAILED;
  }
  mbedtls_ssl_init(&tls->ssl);
  mbedtls_ssl_config_init(&tls->configuration);
  tls->is_started = true;
#if defined(MBEDTLS_SSL_PROTO_TLS1_3) && !defined(MOTE_DEVICE)
  if (psa_crypto_init() != PSA_SUCCESS) return fail(tls, MBEDTLS_ERR_SSL_INTERNAL_ERROR);
#endif
  if ((result = configure(tls)) != 0) return fail(tls, result);
  if ((result = mbedtls_ssl_setup(&tls->ssl, &tls->configuration)) != 0) return fail(tls, result);
  // Without a name there is no SNI, and newer versions insist on hearing that this is meant.
  if ((result = mbedtls_ssl_set_hostname(&tls->ssl, options->server_name)) != 0) return fail(tls, result);
  if ((result = offer_session(tls)) != 0) return fail(tls, result);
  mbedtls_ssl_set_bio(&tls->ssl, tls, send_bytes, receive_bytes, NULL);
  return MOTE_TLS_DONE;
}

int32_t mote_tls_shake_hands(mote_tls *tls) {
  int error;
  tls->is_input_blocked = false;
  for (int skipped = 0; skipped < RECORDS_SKIPPED_MAX; skipped++) {
    // WANT_READ also means "that was nothing, call again".
    error = mbedtls_ssl_handshake(&tls->ssl);
    if (error != MBEDTLS_ERR_SSL_WANT_READ || tls->is_input_blocked) break;
  }
  if (error == MBEDTLS_ERR_SSL_WANT_READ && !tls->is_input_blocked) error = MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE;
  if (error != 0) return outcome(tls, error);
  mbedtls_ssl_session *session = tls->ssl.session;
  tls->is_resumed = session->peer_cert == NULL;
  if (session->peer_cert != NULL) {
    // Nothing needs the server's chain any more: some kilobytes here and in each session that is saved.
    mbedtls_x509_crt_free(session->peer_cert);
    mbedtls_free(session->peer_cert);
    session->peer_cert = NULL;
  }
  return MOTE_TLS_DONE;
}

int32_t mote_tls_read(mote_tls *tls, uint8_t *bytes, size_t count) {
  tls->is_input_blocked = false;
  for (int skipped = 0; skipped < RECORDS_SKIPPED_MAX; skipped++) {
    int result = mbedtls_ssl_read(&tls->ssl, bytes, count);
    if (result > 0) return result;
    if (result == 0) return MOTE_TLS_ENDED;
#if defined(MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
    if (result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) return MOTE_TLS_NEW_SESSION;
#endif
    if (result != MBEDTLS_ERR_SSL_WANT_READ || tls->is_input_blocked) return outcome(tls, result);
  }
  return fail(tls, MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE);
}

int32_t mote_tls_write(mote_tls *tls, const uint8_t *bytes, size_t count) {
  // mbedTLS answers with the size of this call, not of the one that made the record: repeat that one.
  if (tls->unsent_count > 0) {
    if (count < tls->unsent_count) return fail(tls, MBEDTLS_ERR_SSL_BAD_INPUT_DATA);
    count = tls->unsent_count;
  }
#if defined(MBEDTLS_SSL_KEY_UPDATE)
  // See key-update.patch. What is left in the output without an unfinished write is the beginning of an answer.
  if (tls->unsent_count == 0 && (tls->ssl.owes_key_update || tls->ssl.out_left > 0)) {
    int answered = mbedtls_ssl_answer_key_update(&tls->ssl);
    if (answered != 0) return outcome(tls, answered);
  }
#endif
  int result = mbedtls_ssl_write(&tls->ssl, bytes, count);
  if (result > 0) {
    tls->unsent_count = 0;
    return result;
  }
  if (result == MBEDTLS_ERR_SSL_WANT_WRITE && tls->unsent_count == 0) {
    int record_max = mbedtls_ssl_get_max_out_record_payload(&tls->ssl);
    if (record_max <= 0) return fail(tls, record_max);
    tls->unsent_count = count < (size_t)record_max ? count : (size_t)record_max;
  }
  return outcome(tls, result == 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : result);
}

void mote_tls_stop(mote_tls *tls) {
  if (!tls->is_started) return;
  // Not behind half a record, and not into a broken connection.
  if (tls->ssl.session != NULL && tls->unsent_count == 0 && tls->failure == MOTE_TLS_FAILURE_OTHER && tls->error == 0) {
    (void)mbedtls_ssl_close_notify(&tls->ssl);
  }
  mbedtls_ssl_free(&tls->ssl);
  mbedtls_ssl_config_free(&tls->configuration);
  tls->is_started = false;
}

int32_t mote_tls_save_session(mote_tls *tls, uint8_t *bytes, size_t capacity) {
  mbedtls_ssl_session session;
  size_t used = 0;
  if (tls->ssl.session == NULL) return 0;
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
  // In TLS 1.3 only tickets resume, and they come after the handshake.
  bool has_ticket = tls->ssl.session->ticket != NULL;
  if (mbedtls_ssl_get_version_number(&tls->ssl) == MBEDTLS_SSL_VERSION_TLS1_3 && !has_ticket) return 0;
#endif
  mbedtls_ssl_session_init(&session);
  int result = mbedtls_ssl_get_session(&tls->ssl, &session);
  if (result == 0) result = mbedtls_ssl_session_save(&session, bytes, capacity, &used);
  mbedtls_ssl_session_free(&session);
  return result == 0 ? (int32_t)used : -1;
}

// --- What is known ----------------------------------------------------------------------------------------------

const char *mote_tls_version(const mote_tls *tls) { return mbedtls_ssl_get_version(&tls->ssl); }
bool mote_tls_is_resumed(const mote_tls *tls) { return tls->is_resumed; }
int64_t mote_tls_valid_from(const mote_tls *tls) { return tls->valid_from; }
int32_t mote_tls_failure(const mote_tls *tls) { return tls->failure; }
int32_t mote_tls_error(const mote_tls *tls) { return tls->error; }
int32_t mote_tls_alert(const mote_tls *tls) { return tls->alert; }
uint32_t mote_tls_certificate_flags(const mote_tls *tls) { return tls->flags; }

const char *mote_tls_cause(const mote_tls *tls) {
  const uint32_t usage = MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
  const uint32_t weak = MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY;
  if (tls->failure == MOTE_TLS_FAILURE_NO_RANDOMNESS) return "no-randomness-yet";
  if (tls->flags & usage) return "not-for-servers";
  if (tls->flags & weak) return "weak-certificate";
  // Without the part below that a certificate's parser adds.
  switch (-(-tls->error & 0xff80)) {
    case MBEDTLS_ERR_PK_INVALID_PUBKEY:
    case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
    case MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE: return "key-unsupported";
    case MBEDTLS_ERR_X509_FATAL_ERROR: return "chain-too-long";
    case MBEDTLS_ERR_SSL_INVALID_RECORD: return "not-tls";
    // What mbedTLS says where more is asked of its buffer than fits.
    case MBEDTLS_ERR_SSL_BAD_INPUT_DATA: return "message-too-large";
    default: return NULL;
  }
}

const char *mote_tls_alert_name(const mote_tls *tls) {
  switch (tls->alert) {
    case 40: return "handshake-failure";
    case 42: return "bad-certificate";
    case 47: return "illegal-parameter";
    case 48: return "unknown-ca";
    case 49: return "access-denied";
    case 70: return "protocol-version";
    case 71: return "insufficient-security";
    case 80: return "internal-error";
    case 112: return "unrecognized-name";
    case 116: return "certificate-required";
    default: return NULL;
  }
}

const char *mote_tls_subject(const mote_tls *tls) { return tls->subject; }
const char *mote_tls_issuer(const mote_tls *tls) { return tls->issuer; }
