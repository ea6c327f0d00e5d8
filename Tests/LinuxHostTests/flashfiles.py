#!/usr/bin/env python3
"""A folder that can be written to and whose flash is dying: `flashfiles.py MOUNTPOINT`, in FUSE's own protocol
(linux/fuse.h), so that nothing has to be installed. Prints `ready`, or `unavailable REASON`, and unmounts when its
standard input ends. Lines of standard input, each answered by `ok`:

`fail N`: the next N calls of fsync fail with EIO. `hold`: from now on, or for `hold SECONDS`, fsync does not answer,
and who waits for it cannot even be killed. `release`: it does again. `count`: the answer is how often it was called."""
import ctypes
import errno
import os
import stat
import struct
import sys
import threading

LOOKUP, FORGET, GETATTR, SETATTR, UNLINK, RENAME, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT = (
    1, 2, 3, 4, 10, 12, 14, 15, 16, 17, 18, 20, 25, 26)
OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, BATCH_FORGET, RENAME2 = 27, 28, 29, 30, 35, 36, 42, 45
ROOT, SIZE_VALID, DIRECT_IO = 1, 1 << 3, 1

names = {}  # what a name stands for
contents = {}  # of a node
lock = threading.Lock()
flash = {"failures": 0, "is_holding": False, "held": [], "count": 0}


def attributes(node):
    mode = (stat.S_IFDIR | 0o755) if node == ROOT else (stat.S_IFREG | 0o600)
    size = 0 if node == ROOT else len(contents[node])
    return struct.pack("<QQQQQQIIIIIIIIII", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def entry(node):
    return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes(node)


def reply(unique, body=b"", error=0):
    try:
        os.write(device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)
    except OSError:
        pass  # nobody waits any more


def flush(unique):
    flash["count"] += 1
    if flash["is_holding"]:
        flash["held"].append(unique)
    elif flash["failures"] > 0:
        flash["failures"] -= 1
        reply(unique, error=errno.EIO)
    else:
        reply(unique)


def list_names(offset):
    body = b""
    for index, name in enumerate(sorted(names)):
        if index >= offset:
            text = name.encode()
            body += struct.pack("<QQII", names[name], index + 1, len(text), stat.S_IFREG >> 12) + text
            body += b"\0" * (-len(body) % 8)
    return body


def rename(unique, texts):
    old, new = (text.decode() for text in texts.split(b"\0")[:2])
    if old not in names:
        return reply(unique, error=errno.ENOENT)
    names[new] = names.pop(old)
    return reply(unique)


def handle_name(operation, unique, body):
    """The operations on a name in the folder."""
    if operation == CREATE:
        name = body[16:].split(b"\0")[0].decode()
        names[name] = node = max(contents, default=ROOT) + 1
        contents[node] = bytearray()
        reply(unique, entry(node) + struct.pack("<QII", 0, DIRECT_IO, 0))
    elif operation == RENAME:
        rename(unique, body[8:])
    elif operation == RENAME2:
        rename(unique, body[16:])
    else:
        name = body.split(b"\0")[0].decode()
        if name not in names:
            reply(unique, error=errno.ENOENT)
        elif operation == LOOKUP:
            reply(unique, entry(names[name]))
        else:
            del names[name]
            reply(unique)


def handle(operation, unique, node, body):
    """All other operations."""
    if operation == INIT:
        reply(unique, struct.pack("<IIIIHHIIHHI7I", 7, 31, 65536, 0, 12, 10, 65536, 1, 1, 0, 0, *[0] * 7))
    elif operation in (GETATTR, SETATTR):
        valid, _, _, size = struct.unpack("<IIQQ", body[:24].ljust(24, b"\0"))
        if operation == SETATTR and valid & SIZE_VALID:
            contents[node] = contents[node][:size].ljust(size, b"\0")
        reply(unique, struct.pack("<QII", 0, 0, 0) + attributes(node))
    elif operation in (OPEN, OPENDIR):
        reply(unique, struct.pack("<QII", 0, DIRECT_IO, 0))
    elif operation in (READ, READDIR):
        offset, size = struct.unpack("<QI", body[8:20])
        reply(unique, list_names(offset) if operation == READDIR else bytes(contents[node][offset:offset + size]))
    elif operation == WRITE:
        offset, size = struct.unpack("<QI", body[8:20])
        contents[node][offset:offset + size] = body[40:40 + size]
        reply(unique, struct.pack("<II", size, 0))
    elif operation in (FSYNC, FSYNCDIR):
        flush(unique)
    elif operation == STATFS:
        reply(unique, struct.pack("<QQQQQIIII6I", 1000, 500, 400, 0, 0, 4096, 255, 4096, 0, *[0] * 6))
    elif operation in (RELEASE, RELEASEDIR, FLUSH):
        reply(unique)
    elif operation not in (FORGET, BATCH_FORGET, INTERRUPT):
        reply(unique, error=errno.ENOSYS)


def serve():
    while True:
        try:
            request = os.read(device, 1 << 18)
        except OSError:
            os._exit(0)
        _, operation, unique, node = struct.unpack("<IIQQ", request[:24])
        with lock:
            if operation in (CREATE, RENAME, RENAME2, LOOKUP, UNLINK):
                handle_name(operation, unique, request[40:])
            else:
                handle(operation, unique, node, request[40:])


def release():
    with lock:
        flash["is_holding"] = False
        for unique in flash["held"]:
            reply(unique)
        flash["held"] = []


def obey(words):
    if words[0] == "release":
        release()
    elif words[0] == "fail":
        flash["failures"] = int(words[1])
    elif words[0] == "hold":
        flash["is_holding"] = True
        if words[1:]:
            threading.Timer(float(words[1]), release).start()
    print(flash["count"] if words[0] == "count" else "ok", flush=True)


mount_point = sys.argv[1]
library = ctypes.CDLL(None, use_errno=True)
try:
    device = os.open("/dev/fuse", os.O_RDWR)
except OSError as failure:
    sys.exit(print("unavailable", failure))
options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
if library.mount(b"flashfiles", mount_point.encode(), b"fuse", 0, options.encode()):
    sys.exit(print("unavailable", os.strerror(ctypes.get_errno())))
threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    obey(line.split())
release()
library.umount2(mount_point.encode(), 2)  # MNT_DETACH: writers may still be stuck in it
os._exit(0)
