"""The kernel's side of a file system in FUSE's own protocol (linux/fuse.h), so that nothing has to be installed."""
import ctypes
import errno
import os
import stat
import struct
import sys
import threading

LOOKUP, FORGET, GETATTR, SETATTR, UNLINK, RENAME, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT = (
    1, 2, 3, 4, 10, 12, 14, 15, 16, 17, 18, 20, 25, 26)
OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, IOCTL, BATCH_FORGET, RENAME2 = (
    27, 28, 29, 30, 35, 36, 39, 42, 45)
ROOT = 1
DIRECT_IO = 1  # no cache in between
MNT_DETACH = 2
REQUEST_BYTES_MAX = 1 << 18

_library = ctypes.CDLL(None, use_errno=True)


def attributes(node, size, mode):
    """What stat(2) says of a file with this mode, or of the root folder."""
    kind, size = (stat.S_IFDIR | 0o755, 0) if node == ROOT else (stat.S_IFREG | mode, size)
    return struct.pack("<QQQQQQIIIIIIIIII", node, size, 0, 0, 0, 0, 0, 0, 0, kind, 1, 0, 0, 0, 4096, 0)


def entry(node, size, mode):
    """The answer to a look-up: names are asked for anew each time."""
    return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes(node, size, mode)


def status(node, size, mode):
    """The answer to GETATTR and SETATTR."""
    return struct.pack("<QII", 0, 0, 0) + attributes(node, size, mode)


def opened():
    """The answer to OPEN and OPENDIR, and what follows the entry in that to CREATE."""
    return struct.pack("<QII", 0, DIRECT_IO, 0)


class Mount:
    """A mounted file system. `handle(mount, operation, unique, node, body)` answers requests with `reply`, at once or
    later, but for those whose answers are always the same and that are not in `own`."""

    def __init__(self, handle, own=()):
        """Mounts at the first argument of the command line. Where it cannot, it says `unavailable REASON` and ends."""
        self._handle = handle
        self._own = own
        self._point = sys.argv[1].encode()
        try:
            self._device = os.open("/dev/fuse", os.O_RDWR)
        except OSError as failure:
            sys.exit(print("unavailable", failure))
        options = f"fd={self._device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if _library.mount(b"test", self._point, b"fuse", 0, options.encode()):
            sys.exit(print("unavailable", os.strerror(ctypes.get_errno())))
        threading.Thread(target=self._serve, daemon=True).start()
        print("ready", flush=True)

    def reply(self, unique, body=b"", error=0):
        try:
            os.write(self._device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)
        except OSError:
            pass  # nobody waits any more

    def end(self):
        """Unmounts and ends the program, also where readers or writers are still stuck in it."""
        _library.umount2(self._point, MNT_DETACH)
        os._exit(0)

    def _serve(self):
        while True:
            try:
                request = os.read(self._device, REQUEST_BYTES_MAX)
            except OSError:
                os._exit(0)
            _, operation, unique, node = struct.unpack("<IIQQ", request[:24])
            if operation == INIT:
                self.reply(unique, struct.pack(
                    "<IIIIHHIIHHI7I", 7, 31, 65536, 0, 12, 10, 65536, 1, 1, 0, 0, *[0] * 7))
            elif operation in self._own:
                self._handle(self, operation, unique, node, request[40:])
            elif operation in (OPEN, OPENDIR):
                self.reply(unique, opened())
            elif operation in (RELEASE, RELEASEDIR, FLUSH):
                self.reply(unique)
            elif operation == STATFS:
                self.reply(unique, struct.pack("<QQQQQIIII6I", 1000, 500, 400, 0, 0, 4096, 255, 4096, 0, *[0] * 6))
            elif operation not in (FORGET, BATCH_FORGET, INTERRUPT):
                self._handle(self, operation, unique, node, request[40:])
