// Curve25519 as the SDK's mbedTLS has it: the function that computes it, and the way on which TLS comes there.
#include <mbedtls/ecdh.h>
#include <stdio.h>
#include <string.h>

#include "probe.h"

enum { KEY_BYTES = 32 };

// mbedTLS hides secrets that it works on behind random numbers, from here. These need to hide nothing.
static int fill(void *unused, unsigned char *output, size_t size) {
  (void)unused;
  memset(output, 0xA5, size);
  return 0;
}

static int read_number(uint8_t *bytes) {
  for (int index = 0; index < KEY_BYTES; index++) {
    unsigned value;
    if (scanf("%2x", &value) != 1) return 0;
    bytes[index] = (uint8_t)value;
  }
  return 1;
}

static void print_number(const char *name, int number, const uint8_t *bytes) {
  printf("%s-%d ", name, number);
  for (int index = 0; index < KEY_BYTES; index++) printf("%02x", bytes[index]);
  printf("\n");
  fflush(stdout);
}

void Hacl_Curve25519_crypto_scalarmult(uint8_t *product, uint8_t *scalar, uint8_t *point);

void probe_curve25519(void) {
  uint8_t scalar[KEY_BYTES], point[KEY_BYTES], result[KEY_BYTES];
  for (int number = 0; read_number(scalar) && read_number(point); number++) {
    mbedtls_ecp_keypair own;
    mbedtls_ecp_point peer;
    mbedtls_mpi secret;
    size_t length;
    Hacl_Curve25519_crypto_scalarmult(result, scalar, point);
    print_number("product", number, result);
    mbedtls_ecp_keypair_init(&own);
    mbedtls_ecp_point_init(&peer);
    mbedtls_mpi_init(&secret);
    if (mbedtls_ecp_read_key(MBEDTLS_ECP_DP_CURVE25519, &own, scalar, KEY_BYTES) == 0) {
      mbedtls_ecp_group *group = &own.MBEDTLS_PRIVATE(grp);
      if (mbedtls_ecp_mul(group, &own.MBEDTLS_PRIVATE(Q), &own.MBEDTLS_PRIVATE(d), &group->G, fill, NULL) == 0
          && mbedtls_ecp_point_write_binary(
                 group, &own.MBEDTLS_PRIVATE(Q), MBEDTLS_ECP_PF_UNCOMPRESSED, &length, result, KEY_BYTES) == 0) {
        print_number("public", number, result);
      }
      if (mbedtls_ecp_point_read_binary(group, &peer, point, KEY_BYTES) == 0
          && mbedtls_ecdh_compute_shared(group, &secret, &peer, &own.MBEDTLS_PRIVATE(d), fill, NULL) == 0
          && mbedtls_mpi_write_binary_le(&secret, result, KEY_BYTES) == 0) {
        print_number("secret", number, result);
      }
    }
    mbedtls_mpi_free(&secret);
    mbedtls_ecp_point_free(&peer);
    mbedtls_ecp_keypair_free(&own);
  }
}
