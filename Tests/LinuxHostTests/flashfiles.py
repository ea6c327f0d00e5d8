#!/usr/bin/env python3
"""A folder that can be written to and whose flash is dying: `flashfiles.py MOUNTPOINT`. Prints `ready`, or
`unavailable REASON`, and unmounts when its standard input ends. Lines of standard input, each answered by `ok`:

`fail N`: the next N calls of fsync fail with EIO. `hold`: from now on, or for `hold SECONDS`, fsync does not answer,
and who waits for it cannot even be killed. `release`: it does again. `count`: the answer is how often it was called."""
import errno
import stat
import struct
import sys
import threading

import fuse

SIZE_VALID = 1 << 3
MODE = 0o600

names = {}  # what a name stands for
contents = {fuse.ROOT: b""}  # of a node
lock = threading.Lock()
flash = {"failures": 0, "is_holding": False, "held": [], "count": 0}


def facts(node):
    return node, len(contents[node]), MODE


def flush(mount, unique):
    flash["count"] += 1
    if flash["is_holding"]:
        flash["held"].append(unique)
    elif flash["failures"] > 0:
        flash["failures"] -= 1
        mount.reply(unique, error=errno.EIO)
    else:
        mount.reply(unique)


def list_names(offset):
    body = b""
    for index, name in enumerate(sorted(names)):
        if index >= offset:
            text = name.encode()
            body += struct.pack("<QQII", names[name], index + 1, len(text), stat.S_IFREG >> 12) + text
            body += b"\0" * (-len(body) % 8)
    return body


def rename(mount, unique, texts):
    old, new = (text.decode() for text in texts.split(b"\0")[:2])
    if old not in names:
        return mount.reply(unique, error=errno.ENOENT)
    names[new] = names.pop(old)
    return mount.reply(unique)


def handle_name(mount, operation, unique, body):
    """The operations on a name in the folder."""
    if operation == fuse.CREATE:
        name = body[16:].split(b"\0")[0].decode()
        names[name] = node = max(contents) + 1
        contents[node] = bytearray()
        mount.reply(unique, fuse.entry(*facts(node)) + fuse.opened())
    elif operation == fuse.RENAME:
        rename(mount, unique, body[8:])
    elif operation == fuse.RENAME2:
        rename(mount, unique, body[16:])
    else:
        name = body.split(b"\0")[0].decode()
        if name not in names:
            mount.reply(unique, error=errno.ENOENT)
        elif operation == fuse.LOOKUP:
            mount.reply(unique, fuse.entry(*facts(names[name])))
        else:
            del names[name]
            mount.reply(unique)


def handle_content(mount, operation, unique, node, body):
    """All other operations."""
    if operation in (fuse.GETATTR, fuse.SETATTR):
        valid, _, _, size = struct.unpack("<IIQQ", body[:24].ljust(24, b"\0"))
        if operation == fuse.SETATTR and valid & SIZE_VALID:
            contents[node] = contents[node][:size].ljust(size, b"\0")
        mount.reply(unique, fuse.status(*facts(node)))
    elif operation in (fuse.READ, fuse.READDIR):
        offset, size = struct.unpack("<QI", body[8:20])
        is_folder = operation == fuse.READDIR
        mount.reply(unique, list_names(offset) if is_folder else bytes(contents[node][offset:offset + size]))
    elif operation == fuse.WRITE:
        offset, size = struct.unpack("<QI", body[8:20])
        contents[node][offset:offset + size] = body[40:40 + size]
        mount.reply(unique, struct.pack("<II", size, 0))
    elif operation in (fuse.FSYNC, fuse.FSYNCDIR):
        flush(mount, unique)
    else:
        mount.reply(unique, error=errno.ENOSYS)


def handle(mount, operation, unique, node, body):
    with lock:
        if operation in (fuse.CREATE, fuse.RENAME, fuse.RENAME2, fuse.LOOKUP, fuse.UNLINK):
            handle_name(mount, operation, unique, body)
        else:
            handle_content(mount, operation, unique, node, body)


def release():
    with lock:
        flash["is_holding"] = False
        for unique in flash["held"]:
            mounted.reply(unique)
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


mounted = fuse.Mount(handle)
for line in sys.stdin:
    obey(line.split())
release()
mounted.end()
