// What the machine's side of LinuxHost needs of C: macros and variadic functions that Swift cannot import, and the code
// that runs in a forked child. Between fork and exec or exit only async-signal-safe functions may be called, which C
// can promise and Swift cannot, so those few lines are C.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// `open` is variadic.
static inline int mote_open(const char *_Nonnull path, int flags) { return open(path, flags); }

// MAP_FAILED is a cast, and so is no constant for Swift.
static inline void *_Nullable mote_map_memory(size_t byte_count) {
  void *start = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return start == MAP_FAILED ? NULL : start;
}

// The results of waitpid are taken apart by macros.
static inline int mote_has_exited(int status) { return WIFEXITED(status); }
static inline int mote_exit_status(int status) { return WEXITSTATUS(status); }
static inline int mote_end_signal(int status) { return WTERMSIG(status); }

// MARK: Signals

// Which signals have come since they were last taken.
enum {
  MOTE_SIGNAL_TERMINATE = 1,
  MOTE_SIGNAL_INTERRUPT = 2,
  MOTE_SIGNAL_RELOAD = 4,
  MOTE_SIGNAL_CHILD = 8,
};

// Installs the handlers, ignores SIGPIPE, and makes file descriptors 0, 1 and 2 valid. Returns a descriptor that is
// readable when a signal has come, or -1 with errno.
int mote_install_signals(void);

// The signals that have come since the last call, as a set of MOTE_SIGNAL_*.
unsigned mote_take_signals(int wakeup);

// Gives the signals back their default actions and closes `wakeup`. With `hold`, signals wait from now on until
// handlers are installed again.
void mote_remove_signals(int wakeup, int hold);

// MARK: Programs

// Variables that a program's environment has room for besides its usual ones.
enum { MOTE_VARIABLES_MAX = 32 };

// What a program's keeper is told by signals.
enum {
  // The program's process group is asked to end.
  MOTE_PROGRAM_STOP = SIGTERM,
  // The group is killed.
  MOTE_PROGRAM_KILL = SIGUSR1,
  // Nobody reads the output any more: it is thrown away from now on.
  MOTE_PROGRAM_DISCARD = SIGUSR2,
};

// Starts a keeper, a process that looks after a program: it starts the program at an absolute path, without arguments,
// in a session of its own, ends all that the program has left when it has ended, and then ends like it. All of them end
// when this process ends. The program's environment is PATH, `variable` and at most MOTE_VARIABLES_MAX that stand one
// behind the other at `more`, each ended by a zero, and all of them by another; `input` becomes its standard input,
// `writing` its standard output and error; `reading` is the other end of that. Nothing is waited for: `*report` tells
// at the end whether the program could be executed. Returns the keeper's process id, or -1 with errno.
pid_t mote_start_program(const char *_Nonnull path, const char *_Nonnull variable, const char *_Nullable more,
                         int input, int reading, int writing, int *_Nonnull report);

// Closes the `report` of a keeper that has ended. Returns 0, or the errno of what kept the program from being executed.
int mote_take_report(int report);

// Where this process has to collect what others leave behind (process 1, PR_SET_CHILD_SUBREAPER), it goes on in a
// child, while the one that began hands it signals, collects, and ends like it.
void mote_keep_agent(void);

// A pipe for a program's output: reading never blocks, writing does.
int mote_output_pipe(int *_Nonnull reading, int *_Nonnull writing);

// A file in memory with these bytes, to be read from its beginning; -1 with errno.
int mote_memory_file(const void *_Nullable bytes, size_t byte_count);

// MARK: Supervising

// Takes all signals for `mote_wait_supervised`; returns a descriptor for it, or -1 with errno.
int mote_take_all_signals(void);

// Where this process is root's, makes it that of the owner of the folder at `path`, for good: 0, or -1 with errno.
int mote_become_owner(const char *_Nonnull path);

// Executes `path` in a child, with all words of `arguments` but the first one, which becomes `path`, in the folder that
// `home` is open on. Its environment has MOTE_SUPERVISOR besides, this process's number. It ends with this process.
// Returns its process id, or -1 with errno, also where it could not be executed.
pid_t mote_start_supervised(const char *_Nonnull path, char *_Nullable *_Nonnull arguments, int home);

// Waits until `child` has ended, at most `milliseconds`, -1 for as long as it takes; meanwhile collects all other
// children, and hands on signals. Returns 1 with the child's status, or 0. `*is_asked` becomes 1 where it was asked to
// end, MOTE_GIVEN_UP where that was for want of signs of life: by SIGABRT, as service managers do.
enum { MOTE_GIVEN_UP = 2 };
int mote_wait_supervised(int signals, pid_t child, int milliseconds, int *_Nonnull status, int *_Nonnull is_asked);

// Ends as a child has ended that had this status.
_Noreturn void mote_end_like(int status);

// MARK: Secrets

// Moves the variables of the environment that hold secrets to where /proc/PID/environ does not show them, and closes
// the memory of this process to other processes of its user.
void mote_hide_secrets(void);

// MARK: Power

// Whether this process may restart the machine: CAP_SYS_BOOT is in effect.
int mote_may_reboot(void);

// Restarts the machine at once; returns only where that failed, with errno.
int mote_reboot(void);

// Starts the program at an absolute path without arguments and without input, in a session of its own; its environment
// is PATH. Where it cannot be executed it ends with status 126. An empty path: writes all file systems and restarts the
// machine; ends with errno where that failed. Returns its process id, or -1 with errno.
pid_t mote_start_action(const char *_Nonnull path);

// The same with `argument`, with `variable` besides in its environment, and with `output` as its standard output and
// error.
pid_t mote_start_installer(const char *_Nonnull path, const char *_Nonnull argument, const char *_Nullable slot,
                           const char *_Nonnull variable, int output);

// MARK: Watchdog

// Opens a watchdog, which starts it, and asks for a timeout. `*seconds` becomes what it has, 0 where it does not say.
// Returns a descriptor, or -1 with errno.
int mote_open_watchdog(const char *_Nonnull path, int *_Nonnull seconds);

// Writes a byte to it: 0, or -1 with errno.
static inline int mote_feed_watchdog(int watchdog, char byte) { return write(watchdog, &byte, 1) == 1 ? 0 : -1; }

// MARK: Readers

enum {
  // How a reader looks at a path.
  MOTE_READ_FILE = 0,
  MOTE_READ_DISK = 1,
};

// What a reader answers before the text.
struct mote_answer {
  // 0, or the errno of what failed.
  int32_t failure;
  // How long it took, in milliseconds.
  uint32_t milliseconds;
  // The file system's number of statfs(2), and whether the file is a regular one.
  uint64_t file_system;
  uint64_t is_regular;
  // Of the file system, for MOTE_READ_DISK: total, free and available bytes.
  uint64_t disk_bytes[3];
  // Its device number, and whether the path is where it is mounted, as far as that has been looked for.
  uint64_t device;
  uint64_t is_mounted;
  // What the numbers of the text are, as the child found out: see SourceNumbers.
  int32_t exponent;
  int32_t are_temperatures;
  int64_t offset, scale;
  int32_t offset_exponent, scale_exponent;
};

// The longest text that a child reads, in bytes.
#define MOTE_READ_BYTES_MAX 4096

// Forks a child that finds out what is to be read, as looking for it may block like reading itself, and ends with
// `mote_read_and_answer`. In it the call returns 0. `*answer` becomes the descriptor to receive from. Returns its
// process id, or -1 with errno.
pid_t mote_fork_reader(int *_Nonnull answer);

// In the child: answers with text, or with `failure`, and ends.
_Noreturn void mote_answer_text(int failure, const void *_Nullable text, size_t count);

// In the child: reads up to `byte_count_max` bytes of `path`, at most MOTE_READ_BYTES_MAX, answers once, and ends. With
// a failure in `*known`, which has what is known before, nothing is read. `was_mounted` is what an earlier answer said.
_Noreturn void mote_read_and_answer(const char *_Nonnull path, int what, size_t byte_count_max, int was_mounted,
                                    const struct mote_answer *_Nonnull known);

// Receives a reader's answer without waiting. `*file` becomes a descriptor of the file that was read, or -1. Returns
// how many bytes of text came, or -1 with errno (EPIPE when the reader died).
ssize_t mote_receive_answer(int descriptor, struct mote_answer *_Nonnull answer, void *_Nullable text,
                            size_t room, int *_Nonnull file);

// MARK: Files

// Sizes of the file system that holds `path`, in the same form as a reader's answer. Fails with ENOMEDIUM where nothing
// is mounted there although something was, or /etc/fstab says that something should be; that is looked at only where
// the device is not the one in `*answer`. 0 or -1 with errno.
int mote_disk_sizes(const char *_Nonnull path, int was_mounted, struct mote_answer *_Nonnull answer);

// Reads entries of a directory into `buffer`; returns bytes, 0 at the end, -1 with errno. Unlike readdir it needs no
// heap.
ssize_t mote_read_directory(int descriptor, void *_Nullable buffer, size_t room);

// MARK: Children that take their time

// From now on such children let go of their copies of these pages, by the function below: what this process writes
// meanwhile would be in memory twice.
void mote_note_own_memory(void *_Nonnull start, size_t byte_count);

// In a child: lets go of its copies, but for the pages of what is `kept`. Nothing else there may be used any more.
void mote_forget_own_memory(const void *_Nullable kept, size_t byte_count);

// MARK: Storage

// Forks a child that touches the flash for this process. In it the call returns 0; `reply` (for -1, /dev/null) is open
// as its standard descriptors, and no other is. It dies with its parent. Returns its process id, or -1 with errno.
pid_t mote_fork_for_storage(int reply);

// Two connected sockets that keep messages apart (SOCK_SEQPACKET); 0, or -1 with errno.
int mote_message_sockets(int *_Nonnull ours, int *_Nonnull theirs);

// The flags of the file system that holds `path`, as statvfs(3) has them; 0 where that cannot be told.
long mote_file_system_flags(const char *_Nonnull path);

// Makes a folder in the present one if need be, and goes there: 0, or -1 with errno. With `keep`, its name is durable.
int mote_enter_folder(const char *_Nonnull name, int keep);

// Opens the present folder. A literal in Swift would be a String on its way here.
static inline int mote_open_folder(void) { return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

// open(2) of a file in the present folder: no link is followed, no writer waited for, no terminal taken.
static inline int mote_open_in_folder(const char *_Nonnull name, int flags) {
  return open(name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
}

// Opens the slot of a system, a block device or a file, which must not be the one at `other`, nor in use (EBUSY), and
// must have room for `byte_count` bytes (ENOSPC). Returns a descriptor, or -1 with errno.
int mote_open_slot(const char *_Nonnull path, const char *_Nonnull other, int64_t byte_count, int for_writing);

// MARK: Clock

// Whether the kernel says that its clock follows a reference.
int mote_is_time_synchronised(void);

// MARK: Log

// Writes prefix, line and a line feed at once without waiting for the reader. `is_socket` says what `descriptor` is.
// Returns bytes written, or -1 with errno.
ssize_t mote_write_line(int descriptor, int is_socket, const void *_Nullable prefix, size_t prefix_count,
                        const void *_Nullable line, size_t line_count);

// A second, non-blocking way to write to what `descriptor` is open on, when the system offers one; otherwise -1. The
// flag must not be set on `descriptor` itself: a shell shares it with us.
int mote_reopen_for_log(int descriptor);

// Cuts the file that `descriptor` is open on down to its newer half, from the beginning of a line on, if it has more
// than `bytes_max` bytes.
void mote_bound_log(int descriptor, ssize_t bytes_max);

// MARK: Lines and buses

// ioctl(2) with a structure; what it returns, or -1 with errno.
int mote_control_device(int device, uint32_t request, void *_Nonnull structure);

// A set of descriptors that is ready when one of them is; -1 with errno.
int mote_make_watch(void);

// Has the set watch for something to read at `descriptor`, known as `number`: for good, or but once. From then on
// reading it never waits.
int mote_watch(int set, int descriptor, uint32_t number, int is_once);

// The same once more for one that was ready.
int mote_watch_again(int set, int descriptor, uint32_t number);

// One of those that are ready, or -1.
int64_t mote_next_watched(int set);

// poll(2) of one descriptor; what it returns, and not interrupted.
int mote_await(int descriptor, int events, int milliseconds);

// A serial line of eight bits, raw, with what has come thrown away: `parity` 0 none, 1 even, 2 odd. Waits until no
// other process has it that asks for it like this. -1 with errno: EINVAL where it cannot be set so.
int mote_open_line(const char *_Nonnull path, uint32_t baud, int parity);
