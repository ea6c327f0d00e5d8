// Programs, and the processes that look after them: one for each program, and one for the agent itself where it is
// the one who must collect what others leave behind (process 1 of a container or a tiny system).

// For pipe2, memfd_create and the like; musl shows most of it anyway.
#define _GNU_SOURCE
#include "children.h"
#include "mote_machine.h"

#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

// The descriptors of a keeper, and of a program until it is executed. The keeper never looks at the first three.
enum { REPORT = 3, OUTPUT = 4, SIGNALS = 5, KEEPER_DESCRIPTORS };
// The kernel's set of signals, smaller than the C library's.
enum { KERNEL_SIGNAL_SET_BYTES = 8 };
// How long a keeper goes on ending what a program has left, in milliseconds. What is stuck in the kernel takes longer.
enum { END_MS_MAX = 1000, END_ROUND_MS = 10 };
// How often it throws away output, 4096 bytes each, before it looks for signals: a full pipe, no more.
enum { CHUNKS_MAX = 16 };

// MARK: Files and pipes

// Before Linux 3.17: a file without a name, in memory where there is a file system for that.
static int nameless_file(void) {
  char path[][32] = {"/dev/shm/mote-", "/tmp/mote-"};
  for (size_t place = 0; place < sizeof path / sizeof *path; place++) {
    // The number of the process makes the name ours; what has it all the same is left alone.
    char *end = path[place] + strlen(path[place]);
    for (unsigned number = (unsigned)getpid(); number > 0; number /= 10) *end++ = (char)('0' + number % 10);
    *end = 0;
    int file = open(path[place], O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file >= 0) {
      unlink(path[place]);
      return file;
    }
  }
  return -1;
}

int mote_memory_file(const void *bytes, size_t byte_count) {
  int file = (int)syscall(SYS_memfd_create, "mote-input", 1U /* MFD_CLOEXEC */);
  if (file < 0 && errno == ENOSYS) file = nameless_file();
  if (file < 0) return -1;
  size_t written = 0;
  while (written < byte_count) {
    // Writing at a position leaves the file's own position at the beginning, where the program will read.
    ssize_t count = pwrite(file, (const char *)bytes + written, byte_count - written, (off_t)written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      int write_errno = count < 0 ? errno : ENOSPC;
      close(file);
      errno = write_errno;
      return -1;
    }
    written += (size_t)count;
  }
  return file;
}

int mote_output_pipe(int *reading, int *writing) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  // Only at our end: programs do not expect their output to be non-blocking.
  if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
    close(ends[0]);
    close(ends[1]);
    return -1;
  }
  *reading = ends[0];
  *writing = ends[1];
  return 0;
}

// MARK: Keepers

// No handler of ours; what was blocked stays so.
static void reset_handlers(void) {
  for (int number = 1; number < 32; number++) {
    if (number != SIGKILL && number != SIGSTOP) signal(number, SIG_DFL);
  }
}

static void unblock_signals(void) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

// Ends as the child has ended that had this status.
static _Noreturn void end_like(int status) {
  if (WIFEXITED(status)) _exit(WEXITSTATUS(status));
  // The child has left a core file if it may; another one would tell nothing.
  prctl(PR_SET_DUMPABLE, 0);
  unblock_signals();
  kill(getpid(), WTERMSIG(status));
  // Process 1 cannot end itself by a signal: as a shell tells it.
  _exit(128 + WTERMSIG(status));
}

// A descriptor that is readable when a signal has come; all of them are blocked.
static int open_signals(void) {
  sigset_t all;
  sigfillset(&all);
  return (int)syscall(SYS_signalfd4, -1, &all, KERNEL_SIGNAL_SET_BYTES, SFD_CLOEXEC | SFD_NONBLOCK);
}

// Collects the children that have ended. Returns whether `child` is one of them, with its status; with `group`, what is
// left of its process group has been killed then: the group keeps its number while the child has not been collected.
static int collect_children(pid_t child, int is_group, int *status) {
  siginfo_t ended;
  for (;;) {
    ended.si_pid = 0;
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) < 0 || ended.si_pid == 0) return 0;
    if (ended.si_pid == child && is_group) kill(-child, SIGKILL);
    int ended_status;
    if (waitpid(ended.si_pid, &ended_status, 0) == child) {
      *status = ended_status;
      return 1;
    }
  }
}

// The number at the beginning of a text.
static pid_t number_in(const char *text) {
  pid_t number = 0;
  while (*text >= '0' && *text <= '9') number = number * 10 + (*text++ - '0');
  return number;
}

// The parent of process `name`, a number; 0 where that cannot be told.
static pid_t parent_of(const char *name) {
  char path[32] = "/proc/";
  char text[256];
  size_t length = strnlen(name, 16);
  memcpy(path + 6, name, length);
  memcpy(path + 6 + length, "/stat", sizeof "/stat");
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t count = read(file, text, sizeof text - 1);
  close(file);
  if (count <= 0) return 0;
  text[count] = 0;
  // PID (NAME) STATE PARENT; a name may have anything in it, what follows has no parenthesis.
  while (count > 0 && text[count] != ')') count--;
  return strlen(text + count) > 4 ? number_in(text + count + 4) : 0;
}

// Kills all children. What they leave are children then, too.
static void kill_children(void) {
  char entries[1024];
  pid_t self = getpid();
  // It may count for another namespace, and then tells nothing of ours.
  ssize_t length = readlink("/proc/self", entries, 16);
  entries[length > 0 ? length : 0] = 0;
  if (number_in(entries) != self) return;
  int folder = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ssize_t count;
  // struct linux_dirent64: the record's length at 16, the name at 19.
  while ((count = mote_read_directory(folder, entries, sizeof entries)) > 0) {
    for (ssize_t start = 0; start < count;) {
      unsigned short record;
      memcpy(&record, entries + start + 16, sizeof record);
      const char *name = entries + start + 19;
      pid_t process = number_in(name);
      if (process > 0 && parent_of(name) == self) kill(process, SIGKILL);
      start += record;
    }
  }
  close(folder);
}

// Ends all that the program has left: in other groups, in sessions of their own, and whatever those start meanwhile.
static void end_children(void) {
  uint64_t end = mote_now_ms() + END_MS_MAX;
  while (mote_now_ms() < end) {
    pid_t ended;
    while ((ended = waitpid(-1, NULL, WNOHANG)) > 0) {
    }
    // There is none any more.
    if (ended < 0) return;
    kill_children();
    struct signalfd_siginfo signal;
    struct pollfd wait = {.fd = SIGNALS, .events = POLLIN};
    poll(&wait, 1, END_ROUND_MS);
    while (read(SIGNALS, &signal, sizeof signal) == sizeof signal) {
    }
  }
}

// Does what the agent says by a signal. Returns whether output is to be thrown away from now on.
static int obey(pid_t program) {
  struct signalfd_siginfo signal;
  int is_discarding = 0;
  while (read(SIGNALS, &signal, sizeof signal) == sizeof signal) {
    int number = signal.ssi_signo == MOTE_PROGRAM_STOP ? SIGTERM : signal.ssi_signo == MOTE_PROGRAM_KILL ? SIGKILL : 0;
    // Its group is its own since before it was executed; one whose execution takes long may not have come that far.
    if (number && kill(-program, number) != 0) kill(program, number);
    if (signal.ssi_signo == MOTE_PROGRAM_DISCARD) is_discarding = 1;
  }
  return is_discarding;
}

// Looks after a program: hands it signals, throws away output that nobody wants any more, and when it has ended, ends
// what it has left and ends like it. Orphans below a keeper become its children, and so can be found.
static _Noreturn void keep(pid_t program) {
  char unwanted[4096];
  int status = 0;
  struct pollfd waits[2] = {{.fd = SIGNALS, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
  while (!collect_children(program, 1, &status)) {
    poll(waits, 2, -1);
    if (obey(program)) waits[1].fd = OUTPUT;
    if (waits[1].revents == 0) continue;
    ssize_t count = 1;
    for (int chunk = 0; chunk < CHUNKS_MAX && count > 0; chunk++) count = read(OUTPUT, unwanted, sizeof unwanted);
    if (count == 0) waits[1].fd = -1;
  }
  end_children();
  end_like(status);
}

void mote_keep_agent(void) {
  int is_reaper = 0;
  if (getpid() != 1 && (prctl(PR_GET_CHILD_SUBREAPER, &is_reaper) < 0 || !is_reaper)) return;
  sigset_t all, saved;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &saved);
  pid_t agent = mote_fork();
  // Without room for another process it goes on alone.
  if (agent <= 0) {
    if (agent == 0) prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigprocmask(SIG_SETMASK, &saved, NULL);
    return;
  }
  reset_handlers();
  struct pollfd wait = {.fd = open_signals(), .events = POLLIN};
  int status = 0;
  while (!collect_children(agent, 0, &status)) {
    struct signalfd_siginfo signal;
    // Without a descriptor it collects from time to time.
    poll(&wait, 1, wait.fd < 0 ? END_MS_MAX : -1);
    while (read(wait.fd, &signal, sizeof signal) == sizeof signal) {
      // What comes from a terminal, comes to the agent, too.
      if (signal.ssi_signo != SIGCHLD && signal.ssi_code != SI_KERNEL) kill(agent, (int)signal.ssi_signo);
    }
  }
  end_like(status);
}

// MARK: Supervising

extern char **environ;

int mote_take_all_signals(void) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  reset_handlers();
  return open_signals();
}

int mote_become_owner(const char *path) {
  struct stat status;
  if (geteuid() != 0 || stat(path, &status) < 0 || status.st_uid == 0) return 0;
  // The C library's own concern all threads, of which there is one. The first numbers are for those that have two.
#ifdef SYS_setuid32
  enum { SET_GROUPS = SYS_setgroups32, SET_GROUP = SYS_setgid32, SET_USER = SYS_setuid32 };
#else
  enum { SET_GROUPS = SYS_setgroups, SET_GROUP = SYS_setgid, SET_USER = SYS_setuid };
#endif
  gid_t group = status.st_gid;
  if (syscall(SET_GROUPS, 1, &group) < 0 || syscall(SET_GROUP, group) < 0) return -1;
  return (int)syscall(SET_USER, status.st_uid);
}

// In a child of a supervisor. More variables than have room are left out.
static void execute_supervised(const char *path, char **arguments, int home) {
  enum { VARIABLES_MAX = 250 };
  char own[] = "MOTE_SUPERVISOR=\0\0\0\0\0\0\0\0\0\0";
  char *variables[VARIABLES_MAX + 2];
  size_t count = 0;
  char *end = own + strlen(own);
  int power = 1;
  for (int number = (int)getppid(); number / power >= 10;) power *= 10;
  for (; power > 0; power /= 10) *end++ = (char)('0' + getppid() / power % 10);
  for (char **variable = environ; *variable && count < VARIABLES_MAX; variable++) {
    if (strncmp(*variable, own, sizeof "MOTE_SUPERVISOR=" - 1) != 0) variables[count++] = *variable;
  }
  variables[count++] = own;
  variables[count] = NULL;
  if (fchdir(home) < 0) return;
  unblock_signals();
  arguments[0] = (char *)path;
  execve(path, arguments, variables);
}

pid_t mote_start_supervised(const char *path, char **arguments, int home) {
  int ends[2];
  int32_t failure = 0;
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  pid_t supervisor = getpid();
  pid_t child = mote_fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == supervisor) execute_supervised(path, arguments, home);
    failure = errno;
    if (write(ends[1], &failure, sizeof failure) < 0) {
    }
    _exit(126);
  }
  int saved = errno;
  close(ends[1]);
  // It ends as soon as it is executed, or has failed: nobody else has the other end.
  if (child > 0 && read(ends[0], &failure, sizeof failure) == sizeof failure) {
    waitpid(child, NULL, 0);
    child = -1;
    saved = failure;
  }
  close(ends[0]);
  errno = saved;
  return child;
}

int mote_wait_supervised(int signals, pid_t child, int milliseconds, int *status, int *is_asked) {
  uint64_t end = mote_now_ms() + (uint64_t)milliseconds;
  struct pollfd wait = {.fd = signals, .events = POLLIN};
  while (!collect_children(child, 0, status)) {
    uint64_t now = mote_now_ms();
    if (milliseconds >= 0 && now >= end) return 0;
    struct signalfd_siginfo signal;
    poll(&wait, 1, milliseconds < 0 ? -1 : (int)(end - now));
    while (read(signals, &signal, sizeof signal) == sizeof signal) {
      if (signal.ssi_signo == SIGCHLD) continue;
      if (signal.ssi_signo == SIGTERM || signal.ssi_signo == SIGINT) *is_asked = 1;
      if (signal.ssi_signo == SIGABRT) *is_asked = MOTE_GIVEN_UP;
      // What comes from a terminal, comes to the program, too.
      if (signal.ssi_code != SI_KERNEL) kill(child, (int)signal.ssi_signo);
    }
  }
  return 1;
}

void mote_end_like(int status) { end_like(status); }

// MARK: Programs

static const char search_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Tells the agent that there is no program, and why.
static _Noreturn void report_failure(void) {
  int32_t failure = errno;
  if (write(REPORT, &failure, sizeof failure) < 0) {
  }
  // What shells use for "found, but not executable".
  _exit(126);
}

// In a child of a keeper.
static _Noreturn void execute(const char *path, const char *variable, const char *more) {
  // Should the keeper be killed, nobody would be left to end it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  unblock_signals();
  if (chdir("/") == 0) {
    const char *const arguments[] = {path, NULL};
    const char *environment[2 + MOTE_VARIABLES_MAX + 1] = {search_path, variable};
    for (int count = 2; more && *more && count < 2 + MOTE_VARIABLES_MAX; more += strlen(more) + 1) {
      environment[count++] = more;
    }
    // What we may do to the machine is not for whatever a command is.
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    execve(path, (char *const *)arguments, (char *const *)environment);
  }
  report_failure();
}

static _Noreturn void run_program(const char *path, const char *variable, const char *more,
                                  int descriptors[KEEPER_DESCRIPTORS], pid_t agent) {
  reset_handlers();
  prctl(PR_SET_NAME, "mote-command");
  // The program does not outlive the agent, however that ends. It may have ended before this.
  prctl(PR_SET_PDEATHSIG, MOTE_PROGRAM_KILL);
  if (getppid() != agent) _exit(126);
  // Before Linux 3.4 a child in a session of its own escapes.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  // Out of the way of their new numbers first, whatever numbers they have.
  int is_ready = 1;
  for (int number = 0; number < SIGNALS; number++) {
    descriptors[number] = fcntl(descriptors[number], F_DUPFD_CLOEXEC, 10);
  }
  for (int number = 0; number < SIGNALS; number++) is_ready &= dup2(descriptors[number], number) == number;
  fcntl(REPORT, F_SETFD, FD_CLOEXEC);
  fcntl(OUTPUT, F_SETFD, FD_CLOEXEC);
  mote_close_from(SIGNALS);
  pid_t program = -1;
  if (is_ready && open_signals() == SIGNALS) program = mote_fork();
  if (program == 0) execute(path, variable, more);
  if (program > 0) {
    for (int number = 0; number < OUTPUT; number++) close(number);
    mote_forget_own_memory(NULL, 0);
    keep(program);
  }
  report_failure();
}

pid_t mote_start_program(const char *path, const char *variable, const char *more, int input, int reading, int writing,
                         int *report) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return -1;
  pid_t agent = getpid();
  pid_t keeper = mote_fork_quietly();
  if (keeper == 0) {
    int descriptors[KEEPER_DESCRIPTORS] = {input, writing, writing, ends[1], reading};
    run_program(path, variable, more, descriptors, agent);
  }
  int failure = errno;
  close(ends[1]);
  if (keeper < 0) {
    close(ends[0]);
  } else {
    *report = ends[0];
  }
  errno = failure;
  return keeper;
}

int mote_take_report(int report) {
  int32_t failure = 0;
  ssize_t count = read(report, &failure, sizeof failure);
  close(report);
  return count == sizeof failure ? failure : 0;
}

// MARK: Actions upon the machine

int mote_may_reboot(void) {
  // linux/capability.h, version 3: which thread, then two sets of three words each.
  struct {
    uint32_t version;
    int thread;
  } header = {0x20080522, 0};
  uint32_t sets[2][3] = {{0}};
  if (syscall(SYS_capget, &header, sets) < 0) return 0;
  return sets[0][0] >> 22 & 1;  // CAP_SYS_BOOT
}

int mote_reboot(void) { return reboot(RB_AUTOBOOT) < 0 ? errno : 0; }

// In a child: a session of its own, and nothing inherited but `output`, unless that is negative.
static void detach(int output) {
  reset_handlers();
  // It may outlive us, and must not be ended with us: it has no keeper.
  setsid();
  int nothing = open("/dev/null", O_RDWR);
  for (int descriptor = 0; descriptor <= 2; descriptor++) {
    if (dup2(descriptor > 0 && output >= 0 ? output : nothing, descriptor) < 0) _exit(126);
  }
  mote_close_from(3);
}

pid_t mote_start_installer(
    const char *path, const char *argument, const char *slot, const char *variable, int output) {
  pid_t process = mote_fork_quietly();
  if (process != 0) return process;
  // Out of the way of the numbers that it gets.
  detach(fcntl(output, F_DUPFD_CLOEXEC, 10));
  unblock_signals();
  if (chdir("/") < 0) _exit(126);
  const char *const arguments[] = {path, argument, slot, NULL};
  const char *const environment[] = {search_path, variable, NULL};
  execve(path, (char *const *)arguments, (char *const *)environment);
  _exit(126);
}

pid_t mote_start_action(const char *path) {
  pid_t process = mote_fork_quietly();
  if (process != 0) return process;
  detach(-1);
  unblock_signals();
  if (!*path) {
    sync();
    _exit(mote_reboot());
  }
  if (chdir("/") < 0) _exit(126);
  const char *const arguments[] = {path, NULL};
  const char *const environment[] = {search_path, NULL};
  execve(path, (char *const *)arguments, (char *const *)environment);
  _exit(126);
}
