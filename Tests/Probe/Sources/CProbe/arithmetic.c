// What the device's C library has of our own on 32-bit ARM: division and copying. Too many results to print each.
#include "probe.h"

#include <string.h>

enum { DIVISIONS = 20000, ROOM = 96, LENGTH_MAX = 40 };

static uint64_t mixed(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x100000001B3; }

// Numbers of all lengths: the test makes the same ones.
static uint64_t next(uint64_t *state) {
  *state = *state * 6364136223846793005 + 1442695040888963407;
  return *state >> (*state >> 7) % 64;
}

void probe_divisions(void) {
  uint64_t state = 1, wide = 0, narrow = 0;
  for (int index = 0; index < DIVISIONS; index++) {
    uint64_t dividend = next(&state), divisor = next(&state);
    uint32_t low = (uint32_t)dividend, other = (uint32_t)divisor;
    if (divisor != 0) wide = mixed(mixed(wide, dividend / divisor), dividend % divisor);
    if (divisor != 0 && !(dividend == 1ULL << 63 && divisor == ~0ULL)) {
      wide = mixed(mixed(wide, (uint64_t)((int64_t)dividend / (int64_t)divisor)),
                   (uint64_t)((int64_t)dividend % (int64_t)divisor));
    }
    if (other != 0) narrow = mixed(mixed(narrow, low / other), low % other);
    if (other != 0 && !(low == 1U << 31 && other == ~0U)) {
      narrow = mixed(mixed(narrow, (uint64_t)((int32_t)low / (int32_t)other)),
                     (uint64_t)((int32_t)low % (int32_t)other));
    }
  }
  probe_print("divisions", wide);
  probe_print("divisions-32", narrow);
}

static void fill(uint8_t *bytes) {
  for (int index = 0; index < ROOM; index++) bytes[index] = (uint8_t)(index * 7 + 1);
}

void probe_copies(void) {
  // So that nothing is known of them where the functions are called.
  static void *(*volatile copy)(void *, const void *, size_t) = memcpy;
  static void *(*volatile move)(void *, const void *, size_t) = memmove;
  uint8_t wanted[ROOM], bytes[ROOM], before[ROOM];
  uint64_t count = 0, wrong = 0;
  fill(before);
  for (int length = 0; length <= LENGTH_MAX; length++) {
    for (int from = 0; from + length <= ROOM; from++) {
      for (int to = 0; to + length <= ROOM; to++) {
        for (int index = 0; index < ROOM; index++) {
          wanted[index] = before[index >= to && index < to + length ? index - to + from : index];
        }
        int is_apart = to >= from + length || from >= to + length;
        for (int kind = 0; kind <= is_apart; kind++) {
          fill(bytes);
          void *target = (kind == 1 ? copy : move)(bytes + to, bytes + from, (size_t)length);
          wrong += target != bytes + to || memcmp(bytes, wanted, ROOM) != 0;
          count++;
        }
      }
    }
  }
  probe_print("copies", count);
  probe_print("copies-wrong", wrong);
}
