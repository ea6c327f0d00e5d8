"""What a board starts from: kernels, file systems in memory, disks."""

import gzip
import pathlib
import shutil
import stat
import struct
import subprocess
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
FETCHED = ROOT / "build/boards"
# include/image.h of U-Boot.
UIMAGE_MAGIC, UIMAGE_LINUX, UIMAGE_ARM, UIMAGE_KERNEL = 0x27051956, 5, 2, 2


def as_uimage(kernel, address):
    """A kernel for 32-bit ARM with a header that has QEMU put it where it is to run, uncompressed."""
    def header(checksum):
        return struct.pack(">7I4B32s", UIMAGE_MAGIC, checksum, 0, len(kernel), address, address, zlib.crc32(kernel),
                           UIMAGE_LINUX, UIMAGE_ARM, UIMAGE_KERNEL, 0, b"linux")
    return header(zlib.crc32(header(0))) + kernel


class Initramfs:
    """A file system in memory, as Documentation/driver-api/early-userspace/buffer-format.rst has it."""

    def __init__(self):
        self._entries = {}

    def add(self, path, content, mode=0o644):
        """Adds a file, and the folders above it."""
        self._put(path, stat.S_IFREG | mode, content.encode() if isinstance(content, str) else content)

    def add_program(self, path, content):
        self.add(path, content, 0o755)

    def add_folder(self, path):
        self._put(path, stat.S_IFDIR | 0o755, b"")

    def add_link(self, path, target):
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def add_tree(self, source, path=""):
        """Adds all that is below a folder."""
        for found in sorted(source.rglob("*")):
            name = f"{path}/{found.relative_to(source)}"
            if found.is_symlink():
                self.add_link(name, str(found.readlink()))
            elif found.is_dir():
                self.add_folder(name)
            else:
                self.add(name, found.read_bytes(), found.stat().st_mode & 0o777)

    def add_modules(self, kernel, names):
        """Adds modules with all that they need, and `order`, in which order they are to be loaded."""
        folder = FETCHED / f"kernel-{kernel}" / "modules"
        needs = dict(line.split(":") for line in (folder / "depends").read_text().splitlines())
        order = []

        def visit(name):
            for need in needs[name].split():
                visit(need)
            if name not in order and (folder / f"{name}.ko").exists():
                order.append(name)
                self.add(f"lib/modules/{name}.ko", (folder / f"{name}.ko").read_bytes())

        for name in names:
            visit(name.replace("-", "_"))
        self.add("lib/modules/order", "".join(f"{name}\n" for name in order))

    def _put(self, path, mode, content):
        path = path.strip("/")
        parent = path.rpartition("/")[0]
        if parent and parent not in self._entries:
            self.add_folder(parent)
        self._entries[path] = (mode, content)

    def bytes(self):
        """All of it, compressed a little."""
        chunks = []
        for number, (path, (mode, content)) in enumerate([*self._entries.items(), ("TRAILER!!!", (0, b""))], 1):
            name = path.encode() + b"\0"
            fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
            head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
            chunks += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
        return gzip.compress(b"".join(chunks), 1)


def make_disk(path, megabytes=32):
    """Makes a disk that is one ext4 file system, with a folder `mote` in it."""
    tree = path.with_suffix(".tree")
    (tree / "mote").mkdir(parents=True)
    (tree / "mote").chmod(0o700)
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    options = ["-O", "^metadata_csum", "-E", "root_owner=0:0", "-d", tree]
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-F", *options, path], check=True, capture_output=True)
    shutil.rmtree(tree)
