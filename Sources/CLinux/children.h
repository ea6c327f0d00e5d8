// What all children of the process have in common.
#pragma once
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

// Not what musl does besides for threads, which there are none of.
#if defined(MOTE_DEVICE)
#define mote_fork _Fork
#else
#define mote_fork fork
#endif

// Forks with all signals blocked, and they stay so in the child: no handler of ours ever runs there.
pid_t mote_fork_quietly(void);

// Closes every descriptor from `first` on. Ours all close on exec, but a reader does not exec, and whoever started us
// may have left some open.
void mote_close_from(int first);

// A clock that only goes forward.
uint64_t mote_now_ms(void);
