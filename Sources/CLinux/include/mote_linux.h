// System headers, and the few macros and variadic functions that Swift cannot import.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "mote_net.h"

// 64 random bits; -1 instead of waiting when the kernel has none yet.
static inline int mote_random_seed(uint64_t *_Nonnull seed) {
  return getrandom(seed, sizeof *seed, GRND_NONBLOCK) == sizeof *seed ? 0 : -1;
}

// `errno` is a macro.
static inline int mote_errno(void) { return errno; }
static inline void mote_set_errno(int number) { errno = number; }

// Lets go of the pages that this process has mapped of its code and constants. They stay in the page cache, from where
// those that are still needed come back by faults.
void mote_release_code(void);

// Lets go of the pages of the stack below the caller: deep calls have left them.
void mote_release_stack(void);

// Whether the stack may grow to this size.
int mote_stack_may_have(size_t byte_count);

// From now on a signal that only a defect can raise writes a line with its place before it ends the process.
void mote_report_crashes(void);
