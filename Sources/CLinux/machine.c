// For pipe2, memfd_create, struct ucred and the like; musl shows most of it anyway.
#define _GNU_SOURCE
#include "children.h"
#include "mote_machine.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

// MARK: Signals

// Handlers know no context, and what holds for the process is its own: hence globals.
// One more than the descriptor is, so that a program at its beginning has none.
static volatile sig_atomic_t wakeup_number;
static unsigned pending_signals;

static void handle_signal(int number) {
  int saved_errno = errno;
  unsigned bit = number == SIGTERM  ? MOTE_SIGNAL_TERMINATE
                 : number == SIGINT ? MOTE_SIGNAL_INTERRUPT
                 : number == SIGHUP ? MOTE_SIGNAL_RELOAD
                                    : MOTE_SIGNAL_CHILD;
  __atomic_fetch_or(&pending_signals, bit, __ATOMIC_SEQ_CST);
  uint64_t one = 1;
  // A full counter means that a wake-up is pending already.
  if (wakeup_number > 0 && write(wakeup_number - 1, &one, sizeof one) < 0) {
  }
  errno = saved_errno;
}

static const int handled_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
enum { HANDLED_COUNT = sizeof handled_signals / sizeof handled_signals[0] };

static void set_action(int number, void (*handler)(int)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  // Only poll is interrupted, which never restarts.
  action.sa_flags = SA_RESTART | (number == SIGCHLD ? SA_NOCLDSTOP : 0);
  sigaction(number, &action, NULL);
}

// Signals held back between two pairs of handlers, and what was blocked before.
static int is_holding;
static sigset_t mask_before_holding;

static void hold_signals(void) {
  sigset_t handled;
  sigemptyset(&handled);
  for (int index = 0; index < HANDLED_COUNT; index++) sigaddset(&handled, handled_signals[index]);
  is_holding = sigprocmask(SIG_BLOCK, &handled, &mask_before_holding) == 0;
}

int mote_install_signals(void) {
  // A closed standard descriptor would be taken by the next file opened, and a log line would be written into it.
  for (int descriptor = 0; descriptor <= 2; descriptor++) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    if (open("/dev/null", O_RDWR) != descriptor) return -1;
  }
  // eventfd: a pipe to ourselves in one descriptor. What earlier handlers saw and nobody took is news.
  int wakeup = (int)syscall(SYS_eventfd2, pending_signals != 0, O_CLOEXEC | O_NONBLOCK);
  if (wakeup < 0) return -1;
  wakeup_number = wakeup + 1;
  for (int index = 0; index < HANDLED_COUNT; index++) set_action(handled_signals[index], handle_signal);
  set_action(SIGPIPE, SIG_IGN);
  if (is_holding) sigprocmask(SIG_SETMASK, &mask_before_holding, NULL);
  is_holding = 0;
  return wakeup;
}

unsigned mote_take_signals(int wakeup) {
  uint64_t count;
  // First the descriptor, then the set: a signal in between leaves the descriptor readable, and nothing is lost.
  if (read(wakeup, &count, sizeof count) < 0 && errno != EAGAIN) return 0;
  return __atomic_exchange_n(&pending_signals, 0, __ATOMIC_SEQ_CST);
}

void mote_remove_signals(int wakeup, int hold) {
  if (hold) hold_signals();
  for (int index = 0; index < HANDLED_COUNT; index++) set_action(handled_signals[index], SIG_DFL);
  wakeup_number = 0;
  close(wakeup);
}

// MARK: Children

void mote_close_from(int first) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
#endif
  // Before Linux 5.9. The agent never has more than some dozens open.
  for (int descriptor = first; descriptor < 1024; descriptor++) close(descriptor);
}

pid_t mote_fork_quietly(void) {
  sigset_t all, saved;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &saved);
  pid_t process = mote_fork();
  int fork_errno = errno;
  if (process != 0) sigprocmask(SIG_SETMASK, &saved, NULL);
  errno = fork_errno;
  return process;
}

static uintptr_t own_memory, own_memory_end;

void mote_note_own_memory(void *start, size_t byte_count) {
  own_memory = (uintptr_t)start;
  own_memory_end = own_memory + byte_count;
}

static void forget(uintptr_t start, uintptr_t end) {
  if (start < end) (void)madvise((void *)start, end - start, MADV_DONTNEED);
}

void mote_forget_own_memory(const void *kept, size_t byte_count) {
  uintptr_t page = (uintptr_t)getpagesize();
  uintptr_t start = (uintptr_t)kept & ~(page - 1);
  uintptr_t end = ((uintptr_t)kept + byte_count + page - 1) & ~(page - 1);
  if (start < own_memory || end > own_memory_end) start = end = own_memory;
  forget(own_memory, start);
  forget(end, own_memory_end);
}

// MARK: Readers

uint64_t mote_now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static uint64_t saturating_product(uint64_t left, uint64_t right) {
  uint64_t product;
  return __builtin_mul_overflow(left, right, &product) ? UINT64_MAX : product;
}

// Whether `path` is the second field of a line of `list`, a file of the form of fstab(5).
static int is_listed(const char *list, const char *path) {
  char text[512];
  int file = open(list, O_RDONLY | O_CLOEXEC);
  ssize_t count = 0;
  int field = 0, is_in_field = 0, is_found = 0, digits_left = 0, value = 0;
  // What is left of the path to be compared; none where it differs.
  const char *rest = path;
  while (!is_found && (count = read(file, text, sizeof text)) > 0) {
    for (ssize_t index = 0; index < count; index++) {
      char byte = text[index];
      if (byte == ' ' || byte == '\t' || byte == '\n') {
        if (is_in_field && field == 1 && rest && rest[strspn(rest, "/")] == 0) is_found = 1;
        field = byte == '\n' ? 0 : field + is_in_field;
        is_in_field = 0;
        continue;
      }
      if (!is_in_field) rest = path;
      // A comment has no fields.
      if (!is_in_field && field == 0 && byte == '#') field = 2;
      is_in_field = 1;
      // Blanks and the like are written as \040.
      if (byte == '\\') {
        digits_left = 3;
        value = 0;
        continue;
      }
      if (digits_left > 0) {
        value = value * 8 + (byte & 7);
        if (--digits_left > 0) continue;
        byte = (char)value;
      }
      if (rest) rest = *rest == byte ? rest + 1 : NULL;
    }
  }
  if (file >= 0) close(file);
  return is_found;
}

int mote_disk_sizes(const char *path, int was_mounted, struct mote_answer *answer) {
  struct statfs file_system;
  struct stat status;
  int result;
  do {
    result = statfs(path, &file_system);
  } while (result < 0 && errno == EINTR);
  if (result < 0 || stat(path, &status) < 0) return -1;
  uint64_t unit = (uint64_t)(file_system.f_frsize ? file_system.f_frsize : file_system.f_bsize);
  answer->file_system = (uint32_t)file_system.f_type;
  answer->disk_bytes[0] = saturating_product((uint64_t)file_system.f_blocks, unit);
  answer->disk_bytes[1] = saturating_product((uint64_t)file_system.f_bfree, unit);
  answer->disk_bytes[2] = saturating_product((uint64_t)file_system.f_bavail, unit);
  if (answer->device == (uint64_t)status.st_dev) return 0;
  answer->device = (uint64_t)status.st_dev;
  // The root is always mounted, even if the list does not say so in a container.
  answer->is_mounted = path[strspn(path, "/")] == 0 || is_listed("/proc/self/mounts", path);
  if (answer->is_mounted || (!was_mounted && !is_listed("/etc/fstab", path))) return 0;
  errno = ENOMEDIUM;
  return -1;
}

// Opens and reads a file of which nothing is known. Returns the count of bytes; the failure is in `answer`.
static size_t read_unknown_file(const char *path, struct mote_answer *answer, char *text, size_t room, int *file) {
  // Non-blocking: opening a FIFO must not wait for a writer. No controlling terminal may be got.
  *file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  struct stat status;
  struct statfs file_system;
  if (*file < 0 || fstat(*file, &status) < 0 || fstatfs(*file, &file_system) < 0) {
    answer->failure = errno;
    return 0;
  }
  answer->file_system = (uint32_t)file_system.f_type;
  answer->is_regular = S_ISREG(status.st_mode);
  size_t count = 0;
  while (count < room) {
    ssize_t piece = read(*file, text + count, room - count);
    if (piece < 0 && errno == EINTR) continue;
    if (piece < 0 && count == 0) answer->failure = errno;
    if (piece <= 0) break;
    count += (size_t)piece;
  }
  return count;
}

_Noreturn static void send_answer(struct mote_answer *answer, const void *text, size_t count, int file) {
  struct iovec pieces[2] = {{answer, sizeof *answer}, {(void *)text, count}};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr alignment;
  } control;
  memset(&control, 0, sizeof control);
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  if (file >= 0 && answer->failure == 0 && answer->is_regular) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &file, sizeof file);
  }
  _exit(sendmsg(0, &message, MSG_NOSIGNAL) < 0);
}

void mote_answer_text(int failure, const void *text, size_t count) {
  struct mote_answer answer;
  memset(&answer, 0, sizeof answer);
  answer.failure = failure;
  send_answer(&answer, text, failure ? 0 : count, -1);
}

void mote_read_and_answer(const char *path, int what, size_t byte_count_max, int was_mounted,
                          const struct mote_answer *known) {
  char text[MOTE_READ_BYTES_MAX];
  struct mote_answer answer = *known;
  int file = -1;
  size_t count = 0;
  uint64_t start = mote_now_ms();
  if (answer.failure) {
    // There is nothing to be read, or nothing that would be understood.
  } else if (what == MOTE_READ_DISK) {
    if (mote_disk_sizes(path, was_mounted, &answer) < 0) answer.failure = errno;
  } else {
    if (byte_count_max > sizeof text) byte_count_max = sizeof text;
    count = read_unknown_file(path, &answer, text, byte_count_max, &file);
  }
  answer.milliseconds = (uint32_t)(mote_now_ms() - start);
  send_answer(&answer, text, count, file);
}

pid_t mote_fork_reader(int *answer) {
  int pair[2];
  // Keeps messages apart, and tells when the other end has died.
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return -1;
  pid_t process = mote_fork_quietly();
  if (process == 0) {
    // Of all signals only this one can come.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "mote-reader");
    // Above all the connection to the server: while a stuck reader holds a copy, closing it would not end it.
    if (dup2(pair[1], 0) < 0) _exit(1);
    mote_close_from(1);
    return 0;
  }
  int failure = errno;
  close(pair[1]);
  if (process < 0) {
    close(pair[0]);
  } else {
    *answer = pair[0];
  }
  errno = failure;
  return process;
}

ssize_t mote_receive_answer(int descriptor, struct mote_answer *answer, void *text, size_t room, int *file) {
  *file = -1;
  struct iovec pieces[2] = {{answer, sizeof *answer}, {text, room}};
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr alignment;
  } control;
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  ssize_t count;
  do {
    count = recvmsg(descriptor, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return -1;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    memcpy(file, CMSG_DATA(header), sizeof *file);
  }
  if (count < (ssize_t)sizeof *answer) {
    if (*file >= 0) close(*file);
    *file = -1;
    errno = EPIPE;
    return -1;
  }
  return count - (ssize_t)sizeof *answer;
}

// MARK: Files

ssize_t mote_read_directory(int descriptor, void *buffer, size_t room) {
  return syscall(SYS_getdents64, descriptor, buffer, room);
}

// MARK: Storage

pid_t mote_fork_for_storage(int reply) {
  pid_t parent = getpid();
  pid_t process = mote_fork_quietly();
  if (process != 0) return process;
  // A write for a dead parent could meet one for its successor. It may have died before this.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(255);
  prctl(PR_SET_NAME, "mote-storage");
  if (reply < 0) reply = open("/dev/null", O_RDWR);
  // A file that took one of these numbers would get whatever is written there.
  for (int descriptor = 0; descriptor <= 2; descriptor++) {
    if (dup2(reply, descriptor) < 0) _exit(255);
  }
  mote_close_from(3);
  return 0;
}

int mote_message_sockets(int *ours, int *theirs) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -1;
  // A block of the largest size, and what the kernel counts besides; it cuts this to what it allows, which is enough.
  int room = 1 << 18;
  setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  *ours = ends[0];
  *theirs = ends[1];
  return 0;
}

long mote_file_system_flags(const char *path) {
  struct statfs sizes;
  // ST_VALID, 32, marks that the others are set; they are the same numbers as those of statvfs(3).
  return statfs(path, &sizes) == 0 ? (long)sizes.f_flags : 0;
}

int mote_enter_folder(const char *name, int keep) {
  if (keep && mkdir(name, 0700) == 0) {
    int above = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0 || fsync(above) < 0) return -1;
    close(above);
  }
  return chdir(name);
}

int mote_open_slot(const char *path, const char *other, int64_t byte_count, int for_writing) {
  // Without O_CREAT, O_EXCL is refused for a block device that is mounted, or part of one that is.
  int slot = open(path, (for_writing ? O_RDWR | O_EXCL : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  struct stat status, others;
  if (slot < 0 || fstat(slot, &status) < 0) return -1;
  int is_device = S_ISBLK(status.st_mode);
  if (!is_device && !S_ISREG(status.st_mode)) {
    errno = EINVAL;
    return -1;
  }
  int is_other = stat(other, &others) == 0 && (is_device
      ? S_ISBLK(others.st_mode) && others.st_rdev == status.st_rdev
      : others.st_dev == status.st_dev && others.st_ino == status.st_ino);
  // Of some drivers a read-only device can be opened for writing.
  int is_fixed = 0;
  if (is_device && for_writing) (void)ioctl(slot, BLKROGET, &is_fixed);
  errno = is_other ? EBUSY : is_fixed ? EROFS : ENOSPC;
  if (errno != ENOSPC || lseek(slot, 0, SEEK_END) < byte_count) return -1;
  return slot;
}

// MARK: Watchdog

int mote_open_watchdog(const char *path, int *seconds) {
  int watchdog = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (watchdog < 0) return -1;
  // WDIOC_SETTIMEOUT and WDIOC_GETTIMEOUT of linux/watchdog.h. Many round it, some refuse what they cannot do.
  (void)ioctl(watchdog, _IOWR('W', 6, int), seconds);
  if (ioctl(watchdog, _IOR('W', 7, int), seconds) < 0) *seconds = 0;
  return watchdog;
}

// MARK: Clock

int mote_is_time_synchronised(void) {
  // The C library's own converts a large structure on 32-bit machines, and no more is asked for than the result:
  // nothing is changed, as the first word says, and 5, TIME_ERROR, is "not synchronised".
  long state[64] = {0};
  long result = syscall(SYS_adjtimex, state);
  return result >= 0 && result != 5;
}

// MARK: Log

ssize_t mote_write_line(int descriptor, int is_socket, const void *prefix, size_t prefix_count, const void *line,
                        size_t line_count) {
  struct iovec pieces[3] = {{(void *)prefix, prefix_count}, {(void *)line, line_count}, {"\n", 1}};
  ssize_t count;
  do {
    if (is_socket) {
      struct msghdr message;
      memset(&message, 0, sizeof message);
      message.msg_iov = pieces;
      message.msg_iovlen = 3;
      count = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
      count = writev(descriptor, pieces, 3);
    }
  } while (count < 0 && errno == EINTR);
  return count;
}

static int reopen(int descriptor, int flags) {
  // Without printf, which would be the largest function of the whole binary.
  char path[] = "/proc/self/fd/\0\0";
  if (descriptor < 0 || descriptor > 99) return -1;
  char *end = path + sizeof "/proc/self/fd/" - 1;
  if (descriptor >= 10) *end++ = (char)('0' + descriptor / 10);
  *end = (char)('0' + descriptor % 10);
  return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int mote_reopen_for_log(int descriptor) { return reopen(descriptor, O_WRONLY); }

void mote_bound_log(int descriptor, ssize_t bytes_max) {
  struct stat status;
  if (fstat(descriptor, &status) != 0 || status.st_size <= bytes_max) return;
  off_t from = status.st_size - bytes_max / 2, to = 0;
  // Where `descriptor` appends, pwrite(2) does, too; and it need not be open for reading.
  int own = reopen(descriptor, O_RDWR);
  char chunk[1024];
  ssize_t count;
  while (own >= 0 && (count = pread(own, chunk, sizeof chunk, from)) > 0) {
    from += count;
    // The longest line is shorter than a chunk.
    char *start = to == 0 ? memchr(chunk, '\n', (size_t)count) : NULL;
    start = start != NULL ? start + 1 : chunk;
    count -= start - chunk;
    if (pwrite(own, start, (size_t)count, to) != count) break;
    to += count;
  }
  if (own >= 0) close(own);
  // Without a way to read it, all of it goes.
  if (ftruncate(descriptor, to) == 0) lseek(descriptor, 0, SEEK_END);
}
