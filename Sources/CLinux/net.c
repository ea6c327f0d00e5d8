// pipe2.
#define _GNU_SOURCE
#include "children.h"
#include "resolver.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

// --- Addresses --------------------------------------------------------------------------------------------------

// On a device by our own resolver, elsewhere by the C library's, which knows what else a machine has for that.
#if defined(MOTE_DEVICE)

static void look_up(const char *host, int family, unsigned seconds_max, struct mote_lookup_answer *answer) {
  memset(answer, 0, sizeof(*answer));
  answer->count = mote_resolve(host, family, seconds_max, answer->addresses);
}

void mote_parse_address(const char *text, struct mote_lookup_answer *answer) {
  memset(answer, 0, sizeof(*answer));
  answer->count = mote_read_address(text, AF_UNSPEC, &answer->addresses[0]) ? 1 : EAI_NONAME;
}

#else

static void ask_library(const char *host, int flags, int family, struct mote_lookup_answer *answer) {
  struct addrinfo hints = {.ai_flags = flags, .ai_family = family, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;
  memset(answer, 0, sizeof(*answer));
  int result = getaddrinfo(host, NULL, &hints, &list);
  if (result != 0) {
    answer->count = result < 0 ? result : EAI_FAIL;
    return;
  }
  for (const struct addrinfo *item = list; item != NULL && answer->count < MOTE_ADDRESSES_MAX; item = item->ai_next) {
    struct mote_address *address = &answer->addresses[answer->count];
    if (item->ai_family == AF_INET) {
      const struct sockaddr_in *socket_address = (const struct sockaddr_in *)item->ai_addr;
      address->byte_count = 4;
      memcpy(address->bytes, &socket_address->sin_addr, 4);
    } else if (item->ai_family == AF_INET6) {
      const struct sockaddr_in6 *socket_address = (const struct sockaddr_in6 *)item->ai_addr;
      address->byte_count = 16;
      memcpy(address->bytes, &socket_address->sin6_addr, 16);
      address->scope = socket_address->sin6_scope_id;
    } else {
      continue;
    }
    answer->count++;
  }
  freeaddrinfo(list);
  if (answer->count == 0) answer->count = EAI_NONAME;
}

// A child's time is its alarm's.
static void look_up(const char *host, int family, unsigned seconds_max, struct mote_lookup_answer *answer) {
  (void)seconds_max;
  ask_library(host, 0, family, answer);
}

void mote_parse_address(const char *text, struct mote_lookup_answer *answer) {
  struct mote_address *first = &answer->addresses[0];
  memset(answer, 0, sizeof(*answer));
  // The most common kind without getaddrinfo, for which alone the heap would begin.
  if (inet_pton(AF_INET, text, first->bytes) == 1) {
    first->byte_count = 4;
    answer->count = 1;
  } else {
    ask_library(text, AI_NUMERICHOST, AF_UNSPEC, answer);
  }
}

#endif

// --- The child that looks up ------------------------------------------------------------------------------------

// getaddrinfo is not async-signal-safe, but this process has one thread, so no lock can be held by another at the fork.
static _Noreturn void run_child(const char *host, unsigned seconds_max, int pipe_end, int child) {
  struct mote_lookup_answer answer;
  sigset_t none;
  // The parent's handlers would wake the parent through a pipe that both share.
  for (int number = 1; number < 32; number++) (void)signal(number, SIG_DFL);
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)alarm(seconds_max);
  look_up(host, child == MOTE_LOOKUP_IPV4 ? AF_INET : AF_INET6, seconds_max, &answer);
  answer.child = (uint32_t)child;
  // Smaller than PIPE_BUF, into an empty pipe: whole or not at all.
  ssize_t written = write(pipe_end, &answer, sizeof(answer));
  _exit(written == (ssize_t)sizeof(answer) ? 0 : 1);
}

int mote_start_lookup(const char *host, unsigned seconds_max, int *pipe_end, pid_t children[MOTE_LOOKUPS]) {
  int ends[2];
  int started = 0, error = 0;
  sigset_t all, before;
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
  // No handler of the parent may run in a child before the child has dropped them.
  sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, &before);
  for (; started < MOTE_LOOKUPS; started++) {
    children[started] = mote_fork();
    if (children[started] == 0) run_child(host, seconds_max, ends[1], started);
    if (children[started] < 0) {
      error = errno;
      break;
    }
  }
  (void)sigprocmask(SIG_SETMASK, &before, NULL);
  (void)close(ends[1]);
  if (error == 0) {
    *pipe_end = ends[0];
    return 0;
  }
  (void)close(ends[0]);
  while (started-- > 0) {
    (void)kill(children[started], SIGKILL);
    (void)waitpid(children[started], NULL, 0);
  }
  errno = error;
  return -1;
}

// --- Sockets ----------------------------------------------------------------------------------------------------

int mote_open_socket(uint32_t byte_count) {
  return socket(byte_count == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int mote_connect(int descriptor, const struct mote_address *address, uint16_t port) {
  if (address->byte_count == 4) {
    struct sockaddr_in socket_address = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&socket_address.sin_addr, address->bytes, 4);
    return connect(descriptor, (const struct sockaddr *)&socket_address, sizeof(socket_address));
  }
  struct sockaddr_in6 socket_address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  memcpy(&socket_address.sin6_addr, address->bytes, 16);
  socket_address.sin6_scope_id = address->scope;
  return connect(descriptor, (const struct sockaddr *)&socket_address, sizeof(socket_address));
}

int mote_set_no_delay(int descriptor) {
  int on = 1;
  return setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int mote_socket_error(int descriptor) {
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}
