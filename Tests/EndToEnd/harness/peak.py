"""Runs a program and tells the most memory that it ever had for itself: `peak.py FILE PROGRAM ARGUMENT…`.

The kernel's own account (VmHWM) also counts pages of the program's file, of which it maps more or fewer along, as they
are in its cache or not. Pages of its own a program gets by touching them and gives back by system calls only: so what
it has at its system calls is all that it ever has. FILE gets the most so far, in KiB, whenever that rises."""

import ctypes
import os
import pathlib
import re
import signal
import sys

PTRACE_TRACEME, PTRACE_SYSCALL, PTRACE_SETOPTIONS = 0, 24, 0x4200
PTRACE_O_TRACESYSGOOD, PTRACE_O_EXITKILL = 1, 0x100000


def own_kib(process):
    """What the process has for itself at present, as exact as its page tables."""
    try:
        text = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(r"^Anonymous: +(\d+)", text, re.MULTILINE)[1])


def main(file, *command):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    process = os.fork()
    if process == 0:
        libc.ptrace(PTRACE_TRACEME, 0, 0, 0)
        os.execv(command[0], command)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(process, number))
    most, passed_on = 0, 0
    os.waitpid(process, 0)
    libc.ptrace(PTRACE_SETOPTIONS, process, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)
    while True:
        libc.ptrace(PTRACE_SYSCALL, process, 0, passed_on)
        _, status = os.waitpid(process, 0)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        is_call = os.WSTOPSIG(status) == signal.SIGTRAP | 0x80
        passed_on = 0 if is_call else os.WSTOPSIG(status)
        if is_call and own_kib(process) > most:
            most = own_kib(process)
            pathlib.Path(file).write_text(f"{most}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
