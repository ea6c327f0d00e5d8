// Copying on 32-bit ARM, a word at a time: most copies are short. musl's memcpy moves up to eight registers at once, in
// 0.9 KB of code. Words need not be aligned, or the compiler takes them apart.
#include <stdint.h>

typedef __SIZE_TYPE__ size_t;
typedef struct __attribute__((packed, may_alias)) {
  uint32_t value;
} word;

// From the first byte on, and so also where the target begins in front of an overlapping source.
static void *forward(void *to, const void *from, size_t count) {
  uint8_t *target = to;
  const uint8_t *source = from;
  for (; count >= sizeof(word); count -= sizeof(word)) {
    ((word *)target)->value = ((const word *)source)->value;
    target += sizeof(word);
    source += sizeof(word);
  }
  for (; count > 0; count--) *target++ = *source++;
  return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count) { return forward(to, from, count); }

void *memmove(void *to, const void *from, size_t count) {
  uint8_t *target = to;
  const uint8_t *source = from;
  // Forward where nothing that is still to be read is written to.
  if ((uintptr_t)target - (uintptr_t)source >= count) return forward(to, from, count);
  for (; count >= sizeof(word); count -= sizeof(word)) {
    uint32_t value = ((const word *)(source + count))[-1].value;
    ((word *)(target + count))[-1].value = value;
  }
  while (count-- > 0) target[count] = source[count];
  return to;
}
