// The control socket, and that of the service manager: system calls whose structures Swift cannot import.
#pragma once
#include <stdint.h>
#include <sys/types.h>

// How many clients wait for their turn.
enum { MOTE_CONTROL_WAITING_MAX = 8 };

// Binds a non-blocking socket to `path`, which only its owner may connect to, or its group as well where one is given,
// and listens. A socket that nobody listens at any more is replaced. `owner` and `group` are -1 for those of the
// process. Returns 0, with the socket in `*listener`, or a number of errno.h: EADDRINUSE for another agent's socket,
// EEXIST for a file that is none.
int mote_open_control(const char *_Nonnull path, int64_t owner, int64_t group, int *_Nonnull listener);

// Closes the listener, and removes its name if it still is what `mote_open_control` bound last.
void mote_close_control(int listener);

// accept(2): a non-blocking socket that closes on exec, or -1 with errno.
int mote_accept_control(int listener);

// Sends a request to the socket at `path`, and takes all that is answered until the other side closes; neither may
// pause for longer than `seconds`. Returns the length of the answer, or -1 with errno: 0 where there is no whole one.
ssize_t mote_ask_control(const char *_Nonnull path, const void *_Nonnull request, size_t request_count,
                         void *_Nonnull answer, size_t answer_max, int seconds);

// Sends `words`, at most MOTE_NEWS_BYTES_MAX, to the service manager whose socket NOTIFY_SOCKET names, the present
// moment in microseconds behind them where `has_time`. Waits at most `milliseconds` for room; what has none is lost.
// Without such a variable nothing happens.
enum { MOTE_NEWS_BYTES_MAX = 64 };
void mote_tell_manager(const void *_Nonnull words, size_t word_count, int has_time, int milliseconds);
