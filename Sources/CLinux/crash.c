// The last words of a program that has broken one of its own rules.
//
// A failed precondition is an illegal instruction and says nothing by itself. Whoever finds a board restarted wants to
// know where that was: the offset is what `addr2line -e mote.debug` and a disassembler ask for.

// Names of registers are an extension.
#define _GNU_SOURCE
#include "mote_linux.h"
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

// Where the file was loaded: the linker's name for its first byte.
extern const char __ehdr_start[] __attribute__((weak, visibility("hidden")));

static uintptr_t program_counter(const ucontext_t *context) {
#if defined(__x86_64__)
  return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
  return (uintptr_t)context->uc_mcontext.pc;
#elif defined(__arm__)
  return (uintptr_t)context->uc_mcontext.arm_pc;
#else
  (void)context;
  return 0;
#endif
}

// Texts rather than their addresses, which would be written when the program starts.
static const char *name_of(int signal) {
  static const char names[][8] = {"SIGILL", "SIGTRAP", "SIGBUS", "SIGFPE", "SIGSEGV"};
  static const uint8_t numbers[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE};
  size_t index = 0;
  while (index < sizeof numbers && numbers[index] != signal) index++;
  return names[index];
}

// Only what is safe in a handler: no formatting, no memory, one write.
static void report_crash(int signal, siginfo_t *info, void *context) {
  (void)info;
  char line[96];
  size_t count = 0;
  const char *parts[] = {"error agent crashed signal=", name_of(signal), " at=0x"};
  for (size_t index = 0; index < sizeof parts / sizeof *parts; index++) {
    size_t length = strlen(parts[index]);
    memcpy(line + count, parts[index], length);
    count += length;
  }
  uintptr_t offset = program_counter(context) - (uintptr_t)__ehdr_start;
  int shift = (int)sizeof offset * 8 - 4;
  while (shift > 0 && offset >> shift == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) line[count++] = "0123456789abcdef"[offset >> shift & 15];
  line[count++] = '\n';
  // Nothing is left to do about a reader that is gone; one that does not read must not keep a board from its restart.
  struct pollfd reader = {2, POLLOUT, 0};
  if (poll(&reader, 1, 100) > 0 && write(2, line, count) < 0) count = 0;
  // The handler is gone (SA_RESETHAND): this ends the process as it would have ended without one.
  raise(signal);
}

void mote_report_crashes(void) {
  // A stack that has run over cannot be used for saying so.
  static char stack[16384];
  stack_t alternative;
  memset(&alternative, 0, sizeof alternative);
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, NULL);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = report_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
  const int signals[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV};
  for (size_t index = 0; index < sizeof signals / sizeof *signals; index++) sigaction(signals[index], &action, NULL);
}
