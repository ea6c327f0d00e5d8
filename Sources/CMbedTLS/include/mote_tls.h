// One TLS client connection over a socket that the caller owns. This is the only place that knows mbedTLS: its
// versions (the distributions' 2.28 and 3.x, the device build's 3.6), its error numbers and its types stay behind it.
//
// Nothing here opens, reads or writes a file or a socket, and nothing keeps a clock: the caller does both through the
// options. One thread per connection; all memory but `struct mote_tls` itself is mbedTLS's own.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A connection. It must not move between `mote_tls_start` and `mote_tls_stop`.
typedef struct mote_tls mote_tls;
// Certificates being collected while a chain is checked.
typedef struct mote_tls_certificates mote_tls_certificates;

// How many bytes, zeroed and aligned for any integer, a `mote_tls` needs.
size_t mote_tls_byte_count(void);

// What transfers and the handshake answer; numbers of bytes are positive.
enum {
  MOTE_TLS_DONE = 0,
  MOTE_TLS_WANTS_INPUT = -1,
  MOTE_TLS_WANTS_OUTPUT = -2,
  // The peer said goodbye (close_notify, RFC 8446 6.1) or just closed.
  MOTE_TLS_ENDED = -3,
  // See `mote_tls_failure` and `mote_tls_error`. The connection is dead.
  MOTE_TLS_FAILED = -4,
  // From `mote_tls_read` only: a ticket has come, `mote_tls_save_session` has something new; read again.
  MOTE_TLS_NEW_SESSION = -5,
};

// What the caller's `receive` and `send` answer instead of a number of bytes; 0 from `receive` is the end of the
// stream.
enum { MOTE_TLS_IO_BLOCKED = -1, MOTE_TLS_IO_BROKEN = -2 };

// Why a connection failed.
enum {
  MOTE_TLS_FAILURE_OTHER = 0,
  MOTE_TLS_FAILURE_UNKNOWN_ISSUER,
  MOTE_TLS_FAILURE_WRONG_NAME,
  MOTE_TLS_FAILURE_EXPIRED,
  MOTE_TLS_FAILURE_NOT_YET_VALID,
  // The peer sent a fatal alert; see `mote_tls_alert`.
  MOTE_TLS_FAILURE_REFUSED,
  // `receive` or `send` answered MOTE_TLS_IO_BROKEN.
  MOTE_TLS_FAILURE_BROKEN,
  // The kernel's random numbers are not ready yet: early boot.
  MOTE_TLS_FAILURE_NO_RANDOMNESS,
};

typedef struct {
  // Sent as SNI, and what the certificate must be for; NULL when the server is known by address only.
  const char *_Nullable server_name;
  // The server's address where `server_name` is NULL (RFC 6066 3 forbids addresses in SNI): 4 or 16 bytes that the
  // certificate must name.
  uint8_t address[16];
  size_t address_count;
  // Whether the certificate is checked at all.
  bool is_verified;
  // The time that certificates are checked against, in seconds since 1970.
  int64_t time;
  // The socket. Called with `io_context`; both may block the handshake but never the thread.
  int32_t (*_Nonnull receive)(void *_Nonnull io_context, uint8_t *_Nonnull bytes, size_t count);
  int32_t (*_Nonnull send)(void *_Nonnull io_context, const uint8_t *_Nonnull bytes, size_t count);
  void *_Nonnull io_context;
  // Calls `mote_tls_add_certificate` with each trusted certificate whose subject is `issuer` (a DER Name). A result
  // other than 0 ends the handshake.
  int32_t (*_Nonnull find_trusted)(
    void *_Nonnull trust_context, const uint8_t *_Nonnull issuer, size_t issuer_count,
    mote_tls_certificates *_Nonnull found);
  void *_Nonnull trust_context;
  // A session that `mote_tls_save_session` wrote earlier, for the same server and the same trust; NULL for none.
  const uint8_t *_Nullable session;
  size_t session_count;
} mote_tls_options;

// Prepares a connection; `options` is copied, what it points to must stay until `mote_tls_stop` (`session` only for the
// call). DONE or FAILED. A session that is not understood is not offered, and that is no failure.
int32_t mote_tls_start(mote_tls *_Nonnull tls, const mote_tls_options *_Nonnull options);

// Moves the handshake forward as far as input and output allow. DONE, WANTS_INPUT, WANTS_OUTPUT, ENDED or FAILED.
int32_t mote_tls_shake_hands(mote_tls *_Nonnull tls);

// Receives up to `count` > 0 bytes. A positive number or any of the codes above. No memory is allocated but for
// tickets.
int32_t mote_tls_read(mote_tls *_Nonnull tls, uint8_t *_Nonnull bytes, size_t count);

// Sends up to `count` > 0 bytes in one record, and answers how many. After WANTS_OUTPUT that many are in a record
// already: call again with the same bytes, of which `count` may be more but not fewer than before.
int32_t mote_tls_write(mote_tls *_Nonnull tls, const uint8_t *_Nonnull bytes, size_t count);

// Tells the peer about the end if that can be done at once, and frees everything. Failure, error, alert and names stay
// readable until the next start. Harmless when nothing was started.
void mote_tls_stop(mote_tls *_Nonnull tls);

// Writes the session to `bytes` and answers its size. 0: there is none, `bytes` is as it was. -1: it does not fit,
// `bytes` is spoilt.
int32_t mote_tls_save_session(mote_tls *_Nonnull tls, uint8_t *_Nonnull bytes, size_t capacity);

// "TLSv1.2", "TLSv1.3"; after the handshake only.
const char *_Nonnull mote_tls_version(const mote_tls *_Nonnull tls);
// Whether the handshake resumed the session it was given, so that no certificate was presented.
bool mote_tls_is_resumed(const mote_tls *_Nonnull tls);

// The latest beginning of validity in the chain that was checked, in seconds since 1970; 0 without a check.
int64_t mote_tls_valid_from(const mote_tls *_Nonnull tls);

// About the last failure: its kind, mbedTLS's own number (negative), the alert's number (RFC 8446 6; -1 for none), and
// what was wrong with the certificate as mbedTLS's MBEDTLS_X509_BADCERT_… bits.
int32_t mote_tls_failure(const mote_tls *_Nonnull tls);
int32_t mote_tls_error(const mote_tls *_Nonnull tls);
int32_t mote_tls_alert(const mote_tls *_Nonnull tls);
uint32_t mote_tls_certificate_flags(const mote_tls *_Nonnull tls);
// That failure in a word, for what mbedTLS or a certificate's flags name it by; NULL where there is only the number.
const char *_Nullable mote_tls_cause(const mote_tls *_Nonnull tls);
// An alert in a word, as RFC 8446 6 names it; NULL for those that servers hardly send.
const char *_Nullable mote_tls_alert_name(const mote_tls *_Nonnull tls);
// Organisation and common name of the certificate presented, and of the issuer that its chain leads to: printable ASCII
// without quotes and backslashes, possibly shortened, empty if no certificate was looked at.
const char *_Nonnull mote_tls_subject(const mote_tls *_Nonnull tls);
const char *_Nonnull mote_tls_issuer(const mote_tls *_Nonnull tls);

// Parses one DER certificate into the collection. Answers whether it could.
bool mote_tls_add_certificate(mote_tls_certificates *_Nonnull found, const uint8_t *_Nonnull der, size_t count);
