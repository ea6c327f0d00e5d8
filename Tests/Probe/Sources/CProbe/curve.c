// Curve25519 as the SDK's mbedTLS has it: the function that computes it, and the way on which TLS comes there.
#include <psa/crypto.h>
#include <stdio.h>
#include <string.h>

#include "probe.h"

void Hacl_Curve25519_crypto_scalarmult(uint8_t *product, uint8_t *scalar, uint8_t *point);

enum { KEY_BYTES = 32 };

// mbedTLS hides secrets that it works on behind random numbers, from here. These need to hide nothing.
psa_status_t mbedtls_psa_external_get_random(
    mbedtls_psa_external_random_context_t *context, uint8_t *output, size_t output_size, size_t *output_length) {
  (void)context;
  memset(output, 0xA5, output_size);
  *output_length = output_size;
  return PSA_SUCCESS;
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
}

void probe_curve25519(void) {
  uint8_t scalar[KEY_BYTES], point[KEY_BYTES], result[KEY_BYTES];
  if (psa_crypto_init() != PSA_SUCCESS) return;
  for (int number = 0; read_number(scalar) && read_number(point); number++) {
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t key;
    size_t length;
    Hacl_Curve25519_crypto_scalarmult(result, scalar, point);
    print_number("product", number, result);
    psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_MONTGOMERY));
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_DERIVE);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECDH);
    if (psa_import_key(&attributes, scalar, sizeof(scalar), &key) != PSA_SUCCESS) continue;
    if (psa_export_public_key(key, result, sizeof(result), &length) == PSA_SUCCESS && length == KEY_BYTES) {
      print_number("public", number, result);
    }
    if (psa_raw_key_agreement(PSA_ALG_ECDH, key, point, sizeof(point), result, sizeof(result), &length) == PSA_SUCCESS
        && length == KEY_BYTES) {
      print_number("secret", number, result);
    }
    psa_destroy_key(key);
  }
}
