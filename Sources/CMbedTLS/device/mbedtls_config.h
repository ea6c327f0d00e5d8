// mbedTLS 3.6 for a TLS client on a small board. In a device build this file stands in for mbedTLS's own
// `mbedtls/mbedtls_config.h`, and `crypto_config.h` beside it for `psa/crypto_config.h`: what is not here is not
// compiled. The host build uses the distribution's mbedTLS and none of this.
#pragma once

// --- Platform ---------------------------------------------------------------------------------------------------
// Assembler in the big-number code: shorter than what the compiler makes of it on ARM, and quicker.
#define MBEDTLS_HAVE_ASM
// Ages of sessions and tickets. Certificates are not checked against this clock (HAVE_TIME_DATE): a board without a
// battery starts in 1970, and the agent, which knows better, judges their validity itself. That saves a calendar,
// too.
#define MBEDTLS_HAVE_TIME
#define MBEDTLS_PLATFORM_C
// Random numbers come from the kernel by our own function (`mbedtls_psa_external_get_random`), for PSA and, as the
// `f_rng` argument, for everything else: no generator to seed and keep in memory. This leaves out ENTROPY_C and
// CTR_DRBG_C.
#define MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG
#define MBEDTLS_DEPRECATED_REMOVED
// Left out on purpose: FS_IO (the agent reads files), NET_C and TIMING_C (the agent does I/O), ERROR_C, DEBUG_C and
// VERSION_C (text), SELF_TEST, THREADING_C (one thread).

// --- TLS --------------------------------------------------------------------------------------------------------
#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_PROTO_TLS1_3
// Some middle boxes cut a TLS 1.3 connection that does not look like TLS 1.2 resumed.
#define MBEDTLS_SSL_TLS1_3_COMPATIBILITY_MODE
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ENABLED
// Resumption in TLS 1.3: with a fresh key exchange (what most servers choose) or without (cheaper).
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL_ENABLED
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_ENABLED
#define MBEDTLS_SSL_SESSION_TICKETS
// In TLS 1.2 the platform's documented suites. RSA key exchange has no forward secrecy, but is all that some old
// services offer.
#define MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED
#define MBEDTLS_KEY_EXCHANGE_ECDHE_RSA_ENABLED
#define MBEDTLS_KEY_EXCHANGE_RSA_ENABLED
// All suites that there are, in mbedTLS's own order: without this it looks for them among two hundred (0.9 KB).
#define MBEDTLS_SSL_CIPHERSUITES                                                                                    \
  MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384, MBEDTLS_TLS1_3_AES_128_GCM_SHA256,     \
      MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,    \
      MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,                \
      MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,                \
      MBEDTLS_TLS_RSA_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_RSA_WITH_AES_128_GCM_SHA256
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET
#define MBEDTLS_SSL_SERVER_NAME_INDICATION
#define MBEDTLS_SSL_ALL_ALERT_MESSAGES
// TLS 1.3 insists on it.
#define MBEDTLS_SSL_KEEP_PEER_CERTIFICATE

// A server may send records of 16 KB, so there must be room for one. The agent never sends more than 4 KB at once.
// MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH is not for us: when the send buffer is smaller than the receive buffer, 3.6
// shrinks the latter after the handshake to the size of the former without having negotiated that, and the first record
// of more than 4 KB ends the connection. It would save little: pages of a buffer that nothing was written to cost
// nothing.
#define MBEDTLS_SSL_IN_CONTENT_LEN 16384
#define MBEDTLS_SSL_OUT_CONTENT_LEN 4096

// --- Certificates -----------------------------------------------------------------------------------------------
#define MBEDTLS_X509_USE_C
#define MBEDTLS_X509_CRT_PARSE_C
#define MBEDTLS_X509_RSASSA_PSS_SUPPORT
// One trusted root is looked up and parsed when a handshake asks for it; a bundle of a hundred is never held in memory.
#define MBEDTLS_X509_TRUSTED_CERTIFICATE_CALLBACK
#define MBEDTLS_X509_REMOVE_INFO
#define MBEDTLS_ASN1_PARSE_C
#define MBEDTLS_ASN1_WRITE_C
#define MBEDTLS_OID_C
// Client certificates and their keys, in PEM or DER, not encrypted: nobody is there to type a password.
#define MBEDTLS_PEM_PARSE_C
#define MBEDTLS_BASE64_C
#define MBEDTLS_PK_C
#define MBEDTLS_PK_PARSE_C

// --- Ciphers and hashes -----------------------------------------------------------------------------------------
// The legacy interface (not MBEDTLS_USE_PSA_CRYPTO) encrypts records in place, without an allocation per record.
#define MBEDTLS_CIPHER_C
#define MBEDTLS_AES_C
#define MBEDTLS_GCM_C
// GCM only ever encrypts blocks. Tables: constants in the file, and one instead of four (6 KB), because pages that are
// only read cost less than tables computed into memory.
#define MBEDTLS_BLOCK_CIPHER_NO_DECRYPT
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
// The processor's own instructions where it has them (x86_64, most of aarch64), which it is asked for at run time: a
// tenth of the work for each record, and no table whose cache lines tell of the key. Nothing on 32-bit ARM.
#define MBEDTLS_AESNI_C
#define MBEDTLS_AESCE_C
// Faster than AES where there are no AES instructions, which is most boards. 3 KB.
#define MBEDTLS_CHACHA20_C
#define MBEDTLS_POLY1305_C
#define MBEDTLS_CHACHAPOLY_C
#define MBEDTLS_MD_C
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA384_C
#define MBEDTLS_SHA512_C
#define MBEDTLS_SHA256_SMALLER
// Half of the work of a resumed handshake that is not key exchange is SHA-384. Unrolled it takes a seventh less, for
// 1 KB on 64-bit machines; on 32-bit ARM it would be 2 KB.
#if defined(__arm__)
#define MBEDTLS_SHA512_SMALLER
#endif

// --- Public keys ------------------------------------------------------------------------------------------------
#define MBEDTLS_BIGNUM_C
#define MBEDTLS_RSA_C
#define MBEDTLS_PKCS1_V15
#define MBEDTLS_PKCS1_V21
#define MBEDTLS_ECP_C
#define MBEDTLS_ECDH_C
#define MBEDTLS_ECDSA_C
#define MBEDTLS_ECP_DP_SECP256R1_ENABLED
#define MBEDTLS_ECP_DP_SECP384R1_ENABLED
#define MBEDTLS_ECP_DP_CURVE25519_ENABLED
// Reduction made for the NIST primes: 2 KB for a handshake four times as fast.
#define MBEDTLS_ECP_NIST_OPTIM
// No precomputed multiples of the base points (6 KB), and small windows: the handshake is the peak of memory use.
#define MBEDTLS_ECP_FIXED_POINT_OPTIM 0
#define MBEDTLS_ECP_WINDOW_SIZE 3
// RSA up to 4096 bits. This bounds buffers on the stack.
#define MBEDTLS_MPI_MAX_SIZE 512
#define MBEDTLS_MPI_WINDOW_SIZE 2

// --- PSA, which TLS 1.3 is built on -----------------------------------------------------------------------------
#define MBEDTLS_PSA_CRYPTO_C
#define MBEDTLS_PSA_CRYPTO_CONFIG
#define MBEDTLS_HKDF_C
// The keys of one handshake, in slots of fixed size and number instead of a growing heap.
#define MBEDTLS_PSA_STATIC_KEY_SLOTS
#define MBEDTLS_PSA_KEY_SLOT_COUNT 8
#define MBEDTLS_PSA_STATIC_KEY_SLOT_BUFFER_SIZE 128
// Our buffers are not shared with another process: no defensive copies of them.
#define MBEDTLS_PSA_ASSUME_EXCLUSIVE_BUFFERS
