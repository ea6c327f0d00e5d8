// struct ucred.
#define _GNU_SOURCE
#include "mote_control.h"

#include "mote_net.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// What is bound, for its removal: there is one at a time.
static struct {
  struct sockaddr_un address;
  dev_t device;
  ino_t inode;
} bound;

static int set_address(struct sockaddr_un *address, const char *path) {
  size_t length = strlen(path);
  if (length >= sizeof address->sun_path) return ENAMETOOLONG;
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, path, length);
  return 0;
}

static int connect_to(int descriptor, const struct sockaddr_un *address) {
  return connect(descriptor, (const struct sockaddr *)address, sizeof *address);
}

// Whether what has the name is a socket of somebody who is gone: 0, or a number of errno.h.
static int check_abandoned(const struct sockaddr_un *address) {
  struct stat status;
  if (lstat(address->sun_path, &status) != 0) return errno == ENOENT ? 0 : errno;
  if (!S_ISSOCK(status.st_mode)) return EEXIST;
  int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return errno;
  int error = EADDRINUSE;
  if (connect_to(descriptor, address) == 0) {
    // Children of a killed agent may hold its socket for a while. It is that of the process that has called listen(2).
    struct ucred listener = {0};
    socklen_t size = sizeof listener;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &listener, &size) == 0 && listener.pid > 0
        && kill(listener.pid, 0) != 0 && errno == ESRCH) {
      error = 0;
    }
  } else if (errno == ECONNREFUSED) {
    error = 0;
  }
  (void)close(descriptor);
  return error;
}

// Keeps others from doing the same in this folder at the same time, until the descriptor is closed; -1 where it cannot
// be had, or a file system does not know how.
static int lock_folder(struct sockaddr_un address, int *is_locked) {
  char *slash = strrchr(address.sun_path, '/');
  if (slash == NULL) return -1;
  slash[slash == address.sun_path] = 0;
  int folder = open(address.sun_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0 && flock(folder, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) *is_locked = 1;
  return folder;
}

static int bind_and_listen(int descriptor, int64_t owner, int64_t group) {
  const struct sockaddr_un *address = &bound.address;
  mode_t mask = umask(0177);
  int result = bind(descriptor, (const struct sockaddr *)address, sizeof *address);
  if (result != 0 && errno == EADDRINUSE) {
    int error = check_abandoned(address);
    if (error != 0) {
      (void)umask(mask);
      return error;
    }
    (void)unlink(address->sun_path);
    result = bind(descriptor, (const struct sockaddr *)address, sizeof *address);
  }
  (void)umask(mask);
  if (result != 0) return errno;
  struct stat status;
  if (((owner >= 0 || group >= 0) && chown(address->sun_path, (uid_t)owner, (gid_t)group) != 0)
      || (group >= 0 && chmod(address->sun_path, 0660) != 0) || listen(descriptor, MOTE_CONTROL_WAITING_MAX) != 0
      || lstat(address->sun_path, &status) != 0) {
    int error = errno;
    (void)unlink(address->sun_path);
    return error;
  }
  bound.device = status.st_dev;
  bound.inode = status.st_ino;
  return 0;
}

int mote_open_control(const char *path, int64_t owner, int64_t group, int *listener) {
  int is_locked = 0;
  int error = set_address(&bound.address, path);
  if (error != 0) return error;
  int folder = lock_folder(bound.address, &is_locked);
  int descriptor = is_locked ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) {
    error = is_locked ? EADDRINUSE : errno;
  } else {
    error = bind_and_listen(descriptor, owner, group);
    if (error == 0) *listener = descriptor; else (void)close(descriptor);
  }
  if (folder >= 0) (void)close(folder);
  return error;
}

void mote_close_control(int listener) {
  struct stat status;
  if (lstat(bound.address.sun_path, &status) == 0 && status.st_dev == bound.device && status.st_ino == bound.inode) {
    (void)unlink(bound.address.sun_path);
  }
  (void)close(listener);
}

int mote_accept_control(int listener) {
  int descriptor = accept(listener, NULL, NULL);
  if (descriptor >= 0) {
    (void)fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    (void)fcntl(descriptor, F_SETFL, O_NONBLOCK);
  }
  return descriptor;
}

ssize_t mote_ask_control(const char *path, const void *request, size_t request_count, void *answer, size_t answer_max,
                         int seconds) {
  struct sockaddr_un address;
  struct timeval time = {.tv_sec = seconds};
  ssize_t received = -1;
  size_t count = 0;
  int error = set_address(&address, path);
  int descriptor = error == 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
  if (descriptor < 0) return -1;
  (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  (void)setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  if (connect_to(descriptor, &address) != 0) {
    error = errno;
  } else if (mote_send(descriptor, request, request_count) == (ssize_t)request_count) {
    (void)shutdown(descriptor, SHUT_WR);
    while ((received = recv(descriptor, (char *)answer + count, answer_max - count, 0)) > 0) count += (size_t)received;
  }
  (void)close(descriptor);
  errno = error;
  return error != 0 || received != 0 ? -1 : (ssize_t)count;
}

// MARK: Service manager

static char *append_digits(char *end, uint32_t value, uint32_t power) {
  for (; power > 0; power /= 10) *end++ = (char)('0' + value / power % 10);
  return end;
}

void mote_tell_manager(const void *words, size_t word_count, int has_time, int milliseconds) {
  struct sockaddr_un address;
  char message[MOTE_NEWS_BYTES_MAX + 20];
  const char *path = getenv("NOTIFY_SOCKET");
  if (path == NULL || (path[0] != '/' && path[0] != '@') || set_address(&address, path) != 0) return;
  // An abstract name is as long as it is said to be.
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
  if (path[0] == '@') address.sun_path[0] = 0;
  memcpy(message, words, word_count);
  char *end = message + word_count;
  if (has_time) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    uint32_t power = 1;
    // No zeros in front: they would make it octal.
    while ((uint32_t)time.tv_sec / power >= 10) power *= 10;
    end = append_digits(append_digits(end, (uint32_t)time.tv_sec, power), (uint32_t)time.tv_nsec / 1000, 100000);
  }
  struct pollfd wait = {.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .events = POLLOUT};
  if (wait.fd < 0) return;
  // Only a connected socket knows whether its peer has room.
  if (connect(wait.fd, (const struct sockaddr *)&address, size) == 0
      && send(wait.fd, message, (size_t)(end - message), MSG_NOSIGNAL) < 0 && errno == EAGAIN
      && poll(&wait, 1, milliseconds) > 0) {
    (void)send(wait.fd, message, (size_t)(end - message), MSG_NOSIGNAL);
  }
  (void)close(wait.fd);
}
