// Hashes and signatures of firmware. Like mote_tls.h this hides mbedTLS's versions and types.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How many bytes, zeroed and aligned for any integer, a SHA-256 computation needs. It may be moved between two calls.
enum { MOTE_SHA256_BYTES_MAX = 128 };

// SHA-256 (FIPS 180-4) of bytes that come in pieces. `context` has MOTE_SHA256_BYTES_MAX bytes.
void mote_sha256_start(void *_Nonnull context);
void mote_sha256_add(void *_Nonnull context, const uint8_t *_Nonnull bytes, size_t count);
// Writes the digest of all that was added. Nothing may be added then.
void mote_sha256_finish(void *_Nonnull context, uint8_t digest[_Nonnull 32]);

// Takes up a computation that had come to `byte_count` bytes, a multiple of 64, with the state `words`, or tells the
// state of one that has come to such a number.
void mote_sha256_resume(void *_Nonnull context, const uint32_t words[_Nonnull 8], uint64_t byte_count);
void mote_sha256_state(const void *_Nonnull context, uint32_t words[_Nonnull 8]);

// Whether `signature`, DER, is one of ECDSA with P-256 (FIPS 186-5 6.4) of the message with this SHA-256 `digest`, by
// the key whose public point is `point` (X9.62 uncompressed: 4, x, y). Takes memory of the heap while it works.
bool mote_is_signed_p256(
  const uint8_t point[_Nonnull 65], const uint8_t digest[_Nonnull 32], const uint8_t *_Nonnull signature, size_t count);
