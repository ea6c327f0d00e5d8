// What must not be read from outside: by default the environment that a process was started with, and all of its
// memory, are open to every other process of the same user, the programs of commands included.
#define _GNU_SOURCE
#include "mote_machine.h"

#include <sys/prctl.h>

extern char **environ;

// Variables that hold secrets begin with one of these.
static int is_secret(const char *variable) {
  return strncmp(variable, "WIOTP_AUTH_", 11) == 0 || strncmp(variable, "WIOTP_API_", 10) == 0;
}

void mote_hide_secrets(void) {
  // Also no core file, and nobody else's ptrace(2) or /proc/PID/mem. A program that is executed begins anew.
  prctl(PR_SET_DUMPABLE, 0);
  for (char **variable = environ; variable && *variable; variable++) {
    if (!is_secret(*variable)) continue;
    size_t size = strlen(*variable) + 1;
    // It is asked for again at each reload. /proc/PID/environ shows where it has been, and this is elsewhere.
    char *copy = mote_map_memory(size);
    if (!copy) continue;
    memcpy(copy, *variable, size);
    explicit_bzero(*variable, size);
    *variable = copy;
  }
}
