"""A board with U-Boot, two slots with a kernel and its file system each, and a count of tries.

The disk has four partitions: the state that U-Boot and fw_setenv(1) share, slot a, slot b, and what is kept.
"""

import dataclasses
import struct
import zlib

from .board import Board
from .files import FETCHED, make_disk

SECTOR = 512
# First sector and sectors of each partition.
STATE, SLOT_A, SLOT_B, DATA = PARTITIONS = [
    (0x800, 0x800), (0x1000, 0x18000), (0x19000, 0x18000), (0x31000, 0x30000)]
STATE_BYTES = 0x4000
# What the state has, as U-Boot's doc/api/bootcount.rst names it; `slot` is what is started otherwise, `try_slot` what
# is tried.
STATE_NAMES = "slot try_slot upgrade_available bootcount"
TRIES = 3
FLASH_BYTES, FLASH_ENVIRONMENT_BYTES = 64 << 20, 0x40000

BOOT = f"""
virtio scan
setenv slot a; setenv try_slot; setenv upgrade_available 0; setenv bootcount 0
virtio read ${{scriptaddr}} {STATE[0]:#x} {STATE_BYTES // SECTOR:#x}
env import -c ${{scriptaddr}} {STATE_BYTES:#x} {STATE_NAMES}
setenv start ${{slot}}
if test ${{upgrade_available}} = 1; then setexpr bootcount ${{bootcount}} + 1; setenv start ${{try_slot}}
if test ${{bootcount}} -gt {TRIES}; then setenv try_slot; setenv upgrade_available 0; setenv bootcount 0
setenv start ${{slot}}; echo rolled back to ${{slot}}; fi
env export -c -s {STATE_BYTES:#x} ${{scriptaddr}} {STATE_NAMES}
virtio write ${{scriptaddr}} {STATE[0]:#x} {STATE_BYTES // SECTOR:#x}; fi
if test ${{start}} = a; then setenv first {SLOT_A[0]:#x}; else setenv first {SLOT_B[0]:#x}; fi
echo start=${{start}} slot=${{slot}} upgrade_available=${{upgrade_available}} bootcount=${{bootcount}}
virtio read ${{scriptaddr}} ${{first}} 1
env import -t ${{scriptaddr}} {SECTOR:#x} kernel_sectors files_sectors files_bytes
setexpr first ${{first}} + 1
virtio read ${{kernel_addr_r}} ${{first}} ${{kernel_sectors}}
setexpr first ${{first}} + ${{kernel_sectors}}
virtio read ${{ramdisk_addr_r}} ${{first}} ${{files_sectors}}
setenv bootargs ${{arguments}} mote.slot=${{start}}
booti ${{kernel_addr_r}} ${{ramdisk_addr_r}}:${{files_bytes}} ${{fdtcontroladdr}}
reset
"""


def environment(variables, count):
    """U-Boot's environment with its checksum."""
    data = b"".join(f"{name}={value}\0".encode() for name, value in variables.items()) + b"\0"
    data = data.ljust(count - 4, b"\0")
    return struct.pack("<I", zlib.crc32(data)) + data


def padded(content):
    return content + bytes(-len(content) % SECTOR)


class UBootBoard(Board):
    """It starts what is in the slot that its state names. The Initramfs of this board is that of its first slot."""

    def _make_disk(self):
        self.model = dataclasses.replace(self.model, disk=f"{self.model.disk}{PARTITIONS.index(DATA) + 1}")
        data = self.folder / "data"
        make_disk(data, DATA[1] * SECTOR >> 20)
        table = b"".join(struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", *partition)
                         for partition in PARTITIONS)
        with self.disk.open("wb") as disk:
            disk.truncate((DATA[0] + DATA[1]) * SECTOR)
            for sector, content in ((0, table.rjust(510, b"\0") + b"\x55\xaa"), (DATA[0], data.read_bytes()),
                                    (STATE[0], environment({"slot": "a", "upgrade_available": 0, "bootcount": 0},
                                                           STATE_BYTES))):
                disk.seek(sector * SECTOR)
                disk.write(content)
        data.unlink()

    def image(self):
        """What a slot holds: where what is, the kernel, its file system."""
        kernel, files = padded(self.kernel.read_bytes()), self.root.bytes()
        head = (f"kernel_sectors={len(kernel) // SECTOR:#x}\nfiles_sectors={len(padded(files)) // SECTOR:#x}\n"
                f"files_bytes={len(files):#x}\n")
        return head.encode().ljust(SECTOR, b"\0") + kernel + padded(files)

    def fill_first_slot(self):
        """What the factory does."""
        with self.disk.open("r+b") as disk:
            disk.seek(SLOT_A[0] * SECTOR)
            disk.write(self.image())

    def _start_options(self):
        flashes = []
        # What U-Boot does is in its own flash, and never changes.
        variables = {"bootdelay": "0", "scriptaddr": "0x40200000", "kernel_addr_r": "0x40400000",
                     "ramdisk_addr_r": "0x44000000", "arguments": self.kernel_arguments,
                     "bootcmd": "; ".join(BOOT.strip().split("\n")).replace("then;", "then")}
        program = (FETCHED / "uboot/usr/lib/u-boot/qemu_arm64/u-boot.bin").read_bytes()
        for name, content in (("flash0", program), ("flash1", environment(variables, FLASH_ENVIRONMENT_BYTES))):
            (self.folder / name).write_bytes(content.ljust(FLASH_BYTES, b"\xff"))
            flashes += ["-drive", f"if=pflash,format=raw,file={self.folder / name}"]
        return flashes
