#!/usr/bin/env python3
"""A file system whose files are slow, broken or never answer: `slowfiles.py MOUNTPOINT`, in FUSE's own protocol
(linux/fuse.h), so that nothing has to be installed. Prints `ready`, or `unavailable REASON`, and unmounts when its
standard input ends.

Files: `quick` answers 21500 at once; `slow1` to `slow4` after 0.3 s; `never1` to `never8` not at all, and their readers
cannot even be killed until this program ends; `broken` fails with EIO; files with the name of another error fail with
that until `wake` is read from standard input, and then hold 7; `name` never answers."""
import ctypes
import errno
import os
import stat
import struct
import sys
import threading

ERRORS = ["EAGAIN", "EBUSY", "ENODATA", "EINVAL", "EOPNOTSUPP", "ENXIO", "ENETDOWN", "ETIMEDOUT"]
FILES = ["quick", "broken", "name", *ERRORS] + [f"slow{n}" for n in range(1, 5)] + [f"never{n}" for n in range(1, 9)]
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = (
    1, 2, 3, 14, 15, 17, 18, 26, 27, 28, 29, 36, 42)


is_awake = False


def attributes(node):
    folder = node == 1
    mode = (stat.S_IFDIR | 0o755) if folder else (stat.S_IFREG | 0o644)
    return struct.pack("<QQQQQQIIIIIIIIII", node, 0 if folder else 4096, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def reply(unique, body=b"", error=0):
    try:
        os.write(device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)
    except OSError:
        pass  # the request was interrupted meanwhile


def serve():
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError:
            os._exit(0)
        _, operation, unique, node = struct.unpack("<IIQQ", request[:24])
        body = request[40:]
        if operation == INIT:
            reply(unique, struct.pack("<IIIIHHIIHHI7I", 7, 31, 65536, 0, 12, 10, 65536, 1, 1, 0, 0, *[0] * 7))
        elif operation == LOOKUP:
            name = body.split(b"\0")[0].decode()
            if name in FILES:
                found = FILES.index(name) + 2
                reply(unique, struct.pack("<QQQQII", found, 0, 0, 0, 0, 0) + attributes(found))
            else:
                reply(unique, error=errno.ENOENT)
        elif operation == GETATTR:
            reply(unique, struct.pack("<QII", 0, 0, 0) + attributes(node))
        elif operation in (OPEN, OPENDIR):
            reply(unique, struct.pack("<QII", 0, 1, 0))  # FOPEN_DIRECT_IO: no cache in between
        elif operation == READ:
            offset, = struct.unpack("<Q", body[8:16])
            name = FILES[node - 2]
            if name == "broken":
                reply(unique, error=errno.EIO)
            elif name in ERRORS and not is_awake:
                reply(unique, error=getattr(errno, name))
            elif name.startswith("never") or name == "name":
                pass
            elif offset > 0:
                reply(unique)
            elif name.startswith("slow"):
                threading.Timer(0.3, reply, (unique, b"99\n")).start()
            else:
                reply(unique, b"7\n" if name in ERRORS else b"21500\n")
        elif operation in (FORGET, BATCH_FORGET, INTERRUPT):
            pass
        elif operation == STATFS:
            reply(unique, struct.pack("<QQQQQIIII6I", 1000, 500, 400, 0, 0, 4096, 255, 4096, 0, *[0] * 6))
        elif operation in (READDIR, RELEASE, RELEASEDIR):
            reply(unique)
        else:
            reply(unique, error=errno.ENOSYS)


mount_point = sys.argv[1]
library = ctypes.CDLL(None, use_errno=True)
try:
    device = os.open("/dev/fuse", os.O_RDWR)
except OSError as failure:
    sys.exit(print("unavailable", failure))
options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
if library.mount(b"slowfiles", mount_point.encode(), b"fuse", 0, options.encode()):
    sys.exit(print("unavailable", os.strerror(ctypes.get_errno())))
threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    is_awake = line.strip() == "wake"
    print("done", flush=True)
library.umount2(mount_point.encode(), 2)  # MNT_DETACH: readers may still be stuck in it
os._exit(0)
