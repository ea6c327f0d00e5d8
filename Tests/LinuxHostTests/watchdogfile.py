#!/usr/bin/env python3
"""A file system with a file `watchdog` that behaves as the kernel's watchdogs do (Documentation/watchdog): one opener,
timeouts that it rounds, magic close. `watchdogfile.py MOUNTPOINT [OPTION…]`; prints `ready`, or `unavailable REASON`,
and unmounts when its standard input ends.

It prints a line for all that is done to it, and `bite` when its timeout has passed. Options: `mute` knows no timeouts,
`nowayout` cannot be stopped."""
import errno
import struct
import sys
import threading
import time

import fuse

SETTIMEOUT, GETTIMEOUT = 0xC0045706, 0x80045707
options = sys.argv[2:]
is_open = is_stopping = False
timeout, fed = 60, None


def tell(*words):
    print(*words, flush=True)


def handle(mount, operation, unique, node, body):
    global is_open, is_stopping, timeout, fed
    if operation == fuse.LOOKUP:
        name = body.split(b"\0")[0].decode()
        mount.reply(unique, *([fuse.entry(2, 0, 0o600)] if name == "watchdog" else []),
                    error=0 if name == "watchdog" else errno.ENOENT)
    elif operation == fuse.GETATTR:
        mount.reply(unique, fuse.status(node, 0, 0o600))
    elif operation == fuse.OPEN and is_open:
        tell("busy")
        mount.reply(unique, error=errno.EBUSY)
    elif operation == fuse.OPEN:
        is_open, is_stopping, fed = True, False, time.monotonic()
        tell("open")
        mount.reply(unique, fuse.opened())
    elif operation == fuse.IOCTL:
        command, = struct.unpack("<I", body[12:16])
        if "mute" in options or command not in (SETTIMEOUT, GETTIMEOUT):
            mount.reply(unique, error=errno.ENOTTY)
            return
        if command == SETTIMEOUT:
            asked, = struct.unpack("<i", body[32:36])
            timeout = asked // 2 * 2
            tell("set", asked)
        mount.reply(unique, struct.pack("<iIIIi", 0, 0, 0, 0, timeout))
    elif operation == fuse.WRITE:
        fed, is_stopping = time.monotonic(), b"V" in body[40:]
        tell("magic" if is_stopping else "feed")
        mount.reply(unique, struct.pack("<II", len(body) - 40, 0))
    elif operation == fuse.RELEASE:
        is_open = False
        fed = None if is_stopping and "nowayout" not in options else time.monotonic()
        tell("close")
        mount.reply(unique)
    elif operation == fuse.READDIR:
        mount.reply(unique)
    else:
        mount.reply(unique, error=errno.ENOSYS)


def watch():
    global fed
    while True:
        time.sleep(0.02)
        if fed is not None and time.monotonic() - fed > timeout:
            fed = None
            tell("bite")


mounted = fuse.Mount(handle, own=(fuse.OPEN, fuse.RELEASE))
threading.Thread(target=watch, daemon=True).start()
sys.stdin.read()
mounted.end()
