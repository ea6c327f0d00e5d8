#include "mote_random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/random.h>
#include <unistd.h>

#include <psa/crypto.h>

// Linux before 3.17 has no getrandom. Its /dev/urandom does not say whether it has been seeded; boards that old save a
// seed at shutdown.
static int read_urandom(unsigned char *bytes, size_t count) {
  int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return -1;
  while (count > 0) {
    ssize_t got = read(file, bytes, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    bytes += got;
    count -= (size_t)got;
  }
  close(file);
  return count == 0 ? 0 : -1;
}

int mote_random(void *unused, unsigned char *bytes, size_t count) {
  (void)unused;
  while (count > 0) {
    // Without waiting: a handshake that fails is tried again later, an agent that hangs is not.
    ssize_t got = getrandom(bytes, count, GRND_NONBLOCK);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ENOSYS) return read_urandom(bytes, count);
    if (got <= 0) return -1;
    bytes += got;
    count -= (size_t)got;
  }
  return 0;
}

// Only the device build's mbedTLS is configured to ask for this.
#ifdef MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG
psa_status_t mbedtls_psa_external_get_random(
    mbedtls_psa_external_random_context_t *context, uint8_t *output, size_t output_size, size_t *output_length) {
  (void)context;
  if (mote_random(NULL, output, output_size) != 0) return PSA_ERROR_INSUFFICIENT_ENTROPY;
  *output_length = output_size;
  return PSA_SUCCESS;
}
#endif
