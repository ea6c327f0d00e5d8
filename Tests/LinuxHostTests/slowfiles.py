#!/usr/bin/env python3
"""A file system whose files are slow, broken or never answer: `slowfiles.py MOUNTPOINT`. Prints `ready`, or
`unavailable REASON`, and unmounts when its standard input ends.

Files: `quick` answers 21500 at once; `slow1` to `slow4` after 0.3 s; `never1` to `never8` not at all, and their readers
cannot even be killed until this program ends; `broken` fails with EIO; files with the name of another error fail with
that until `wake` is read from standard input, and then hold 7; `name` never answers."""
import errno
import struct
import sys
import threading

import fuse

ERRORS = ["EAGAIN", "EBUSY", "ENODATA", "EINVAL", "EOPNOTSUPP", "ENXIO", "ENETDOWN", "ETIMEDOUT"]
FILES = ["quick", "broken", "name", *ERRORS] + [f"slow{n}" for n in range(1, 5)] + [f"never{n}" for n in range(1, 9)]
LIKE_FILES_OF_SYSFS = (4096, 0o644)

is_awake = False


def handle(mount, operation, unique, node, body):
    if operation == fuse.LOOKUP:
        name = body.split(b"\0")[0].decode()
        if name in FILES:
            mount.reply(unique, fuse.entry(FILES.index(name) + 2, *LIKE_FILES_OF_SYSFS))
        else:
            mount.reply(unique, error=errno.ENOENT)
    elif operation == fuse.GETATTR:
        mount.reply(unique, fuse.status(node, *LIKE_FILES_OF_SYSFS))
    elif operation == fuse.READ:
        read(mount, unique, FILES[node - 2], *struct.unpack("<Q", body[8:16]))
    elif operation == fuse.READDIR:
        mount.reply(unique)
    else:
        mount.reply(unique, error=errno.ENOSYS)


def read(mount, unique, name, offset):
    if name == "broken":
        mount.reply(unique, error=errno.EIO)
    elif name in ERRORS and not is_awake:
        mount.reply(unique, error=getattr(errno, name))
    elif name.startswith("never") or name == "name":
        pass
    elif offset > 0:
        mount.reply(unique)
    elif name.startswith("slow"):
        threading.Timer(0.3, mount.reply, (unique, b"99\n")).start()
    else:
        mount.reply(unique, b"7\n" if name in ERRORS else b"21500\n")


mounted = fuse.Mount(handle)
for line in sys.stdin:
    is_awake = line.strip() == "wake"
    print("done", flush=True)
mounted.end()
