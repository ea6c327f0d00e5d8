#pragma once
#include <stddef.h>

/// Fills `bytes` from the kernel's random number generator. Returns 0, or -1 when the kernel cannot say yet (a board
/// that has just started) or at all. Never blocks. Has the form of mbedTLS's `f_rng`; `unused` is ignored.
int mote_random(void *unused, unsigned char *bytes, size_t count);
