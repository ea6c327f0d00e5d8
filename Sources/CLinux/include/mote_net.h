// What the link needs of C: name look-up, and the socket calls whose constants and structures each C library spells
// differently.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

// MARK: Addresses

// How many addresses of a name are used, of either family: more than fit into a datagram.
enum { MOTE_ADDRESSES_MAX = 48 };

// An IPv4 or IPv6 address.
struct mote_address {
  // In network order; IPv4 uses the first four.
  uint8_t bytes[16];
  // 4 or 16.
  uint32_t byte_count;
  // The interface of an IPv6 link-local address, otherwise 0.
  uint32_t scope;
};

// What a look-up answers.
struct mote_lookup_answer {
  // Which of the children answers; see `mote_start_lookup`.
  uint32_t child;
  // How many addresses there are, or a negative EAI_… number.
  int32_t count;
  struct mote_address addresses[MOTE_ADDRESSES_MAX];
};

// Understands a numeric address, without any look-up. `answer->count` is 1 or negative.
void mote_parse_address(const char *_Nonnull text, struct mote_lookup_answer *_Nonnull answer);

// Which child looks for which addresses.
enum { MOTE_LOOKUP_IPV6 = 0, MOTE_LOOKUP_IPV4 = 1, MOTE_LOOKUPS = 2 };

// Starts a child process for each family, which looks `host` up and writes one `mote_lookup_answer` to the pipe whose
// other, non-blocking end becomes `*pipe_end`. A child ends by itself after `seconds_max`. Returns 0, or -1 with errno
// and no child.
int mote_start_lookup(const char *_Nonnull host, unsigned seconds_max, int *_Nonnull pipe_end,
                      pid_t children[_Nonnull MOTE_LOOKUPS]);

// getaddrinfo's "the name exists but has no address", where the C library knows it.
static inline int mote_eai_no_data(void) {
#ifdef EAI_NODATA
  return EAI_NODATA;
#else
  return EAI_NONAME;
#endif
}

// MARK: Files

// open(2) is variadic: a new or emptied file for writing, closed on exec.
static inline int mote_create(const char *_Nonnull path) {
  return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
}

// MARK: Sockets

// A non-blocking TCP socket for addresses of `byte_count` 4 or 16, closed on exec; -1 with errno.
int mote_open_socket(uint32_t byte_count);

// connect(2): 0, or -1 with errno.
int mote_connect(int descriptor, const struct mote_address *_Nonnull address, uint16_t port);

// Sends each write at once instead of waiting for more (TCP_NODELAY): 0, or -1 with errno.
int mote_set_no_delay(int descriptor);

// send(2) without SIGPIPE.
static inline ssize_t mote_send(int descriptor, const void *_Nullable bytes, size_t count) {
  return send(descriptor, bytes, count, MSG_NOSIGNAL);
}

// shutdown(2) of the sending side.
static inline int mote_shut_down_sending(int descriptor) { return shutdown(descriptor, SHUT_WR); }

// The error that a finished connection attempt left behind (SO_ERROR); 0 for none.
int mote_socket_error(int descriptor);
