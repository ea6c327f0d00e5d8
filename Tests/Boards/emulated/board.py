"""A board in QEMU: its power, its console, what it does to itself. It sees two ports of this machine's loopback."""

import dataclasses
import json
import pathlib
import shutil
import socket
import subprocess
import threading
import time

from harness.waiting import DEADLINE, wait_until

from .files import FETCHED, ROOT, Initramfs, as_uimage, make_disk

# Emulated, and beside others that want a processor: every wait is multiplied by this.
PATIENCE = 4
# Where a board finds this machine's servers.
SERVER, MQTT_PORT, HTTP_PORT = "10.0.2.100", 1883, 8080
VIRTIO = ["virtio_mmio", "virtio_net", "virtio_blk", "ext4", "crc32c_generic"]
VIRTIO_NET = ["-device", "virtio-net-device,netdev=n0"]
VIRTIO_DISK = ["-drive", "if=none,id=d0,format=raw,file={disk}", "-device", "virtio-blk-device,drive=d0"]


@dataclasses.dataclass
class Model:
    """A kind of board."""

    # The program's architecture, and Debian's name of one whose programs run there.
    architecture: str
    debian: str
    kernel: str
    qemu: list
    console: str
    modules: list
    network: list
    storage: list
    disk: str = "/dev/vda"
    interface: str = "eth0"
    # Where a kernel for 32-bit ARM is put, which is then unpacked already.
    address: int = 0
    append: str = ""
    description: str = ""


MODELS = {
    "armv7": Model("armv7", "armel", "armmp", ["qemu-system-arm", "-M", "virt", "-cpu", "cortex-a15", "-m", "256"],
                   "ttyAMA0", VIRTIO, VIRTIO_NET, VIRTIO_DISK, address=0x40208000),
    "aarch64": Model("aarch64", "arm64", "arm64",
                     ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-m", "256"],
                     "ttyAMA0", VIRTIO, VIRTIO_NET, VIRTIO_DISK),
    # The driver of the power controller waits for what QEMU does not have.
    "armv6": Model("armv6", "armel", "rpi", ["qemu-system-arm", "-M", "raspi0"], "ttyAMA0,115200",
                   ["rndis_host", "cdc_ether", "bcm2835", "sdhci_iproc", "ext4", "crc32c_generic"],
                   ["-device", "usb-net,netdev=n0"], ["-drive", "if=sd,format=raw,file={disk}"], disk="/dev/mmcblk0",
                   interface="usb0", address=0x8000, append="initcall_blacklist=bcm2835_power_driver_init",
                   description="bcm2835-rpi-zero.dtb"),
    # A controller of servers, whose Cortex-A7 has no NEON, with a sensor of temperature on one of its I2C buses. It
    # keeps nothing.
    "ast2600": Model("armv7", "armel", "armmp", ["qemu-system-arm", "-M", "ast2600-evb", "-device",
                                                 "tmp105,bus=aspeed.i2c.bus.8,address=0x48,id=sensor"],
                     "ttyS4,115200n8", ["i2c_aspeed", "lm75", "mdio_aspeed", "ftgmac100"],
                     ["-net", "nic,netdev=n0"], [], disk="", address=0x80208000,
                     description="aspeed-ast2600-evb.dtb"),
}


class Board:
    """A board of a kind, with a disk that outlives its power."""

    def __init__(self, kind, folder, ports):
        self.model, self.folder, self._ports = MODELS[kind], pathlib.Path(folder), ports
        self.disk = self.folder / "disk"
        self.events, self._console, self._process, self._threads, self._qmp = [], [], None, [], None
        self._make_disk()
        self.root = Initramfs()
        self._build_root()

    def _make_disk(self):
        if self.model.storage:
            make_disk(self.disk)

    def _build_root(self):
        """BusyBox, its init, and the program. What is special about a test it adds itself."""
        model, root = self.model, self.root
        root.add_program("bin/busybox", (FETCHED / f"busybox-{model.debian}/bin/busybox").read_bytes())
        for name in ("init", "sbin/init", "bin/sh"):
            root.add_link(name, "/bin/busybox")
        for name in ("proc", "sys", "dev", "run", "tmp", "mnt", "sbin", "usr/sbin"):
            root.add_folder(name)
        root.add_folder("var/lib")
        root.add_program("usr/bin/mote", (ROOT / "build" / model.architecture / "mote").read_bytes())
        root.add_modules(model.kernel, model.modules)
        script = (ROOT / "Tests/Boards/emulated/rc").read_text()
        root.add("etc/passwd", "root:x:0:0:root:/:/bin/sh\nmote:x:100:100:mote:/:/bin/false\n")
        root.add("etc/group", "root:x:0:\nuucp:x:10:\nmote:x:100:\n")
        root.add_link("var/run", "/run")
        root.add_program("etc/rc", f"#!/bin/sh\nDISK={model.disk}\nINTERFACE={model.interface}\n{script}")

    # Power.

    def power_on(self):
        """Gives it power."""
        model, folder = self.model, self.folder
        program = shutil.which(model.qemu[0])
        assert program, f"{model.qemu[0]} is missing; Scripts/setup boards installs it"
        forwards = "".join(f",guestfwd=tcp:{SERVER}:{inner}-cmd:busybox nc 127.0.0.1 {outer}"
                           for inner, outer in self._ports.items())
        line = [program, *model.qemu[1:], "-display", "none", "-serial", "stdio", *self._start_options(),
                # Nothing is reached but these two ports.
                "-netdev", f"user,id=n0,restrict=on{forwards}", *model.network,
                *[word.format(disk=self.disk) for word in model.storage],
                "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
        self._process = subprocess.Popen([str(word) for word in line], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT)
        self._start(self._read_console)
        self._qmp = wait_until(self._connect, DEADLINE * PATIENCE, "QEMU runs")
        self._start(self._read_events)
        self._command("qmp_capabilities")

    @property
    def kernel(self):
        """The kernel's file."""
        return FETCHED / f"kernel-{self.model.kernel}/kernel"

    @property
    def kernel_arguments(self):
        return f"console={self.model.console} quiet panic=-1 {self.model.append}".strip()

    def _start_options(self):
        """What tells QEMU what to start: here the kernel itself."""
        image, initramfs = self.kernel, self.folder / "initramfs"
        if self.model.address:
            image = self.folder / "kernel"
            image.write_bytes(as_uimage(self.kernel.read_bytes(), self.model.address))
        initramfs.write_bytes(self.root.bytes())
        description = self.model.description
        return ["-kernel", image, "-initrd", initramfs, "-append", self.kernel_arguments,
                *(["-dtb", self.kernel.parent / description] if description else [])]

    def cut_power(self):
        """Takes its power away, whatever it does."""
        self._console.append("(the power is cut)")
        self._process.kill()
        self._end()

    def _end(self):
        self._process.wait()
        self._qmp.close()
        for thread in self._threads:
            thread.join(DEADLINE)
        self._threads.clear()
        self._process.stdout.close()
        self._process.stdin.close()

    def close(self):
        if self._process and self._process.poll() is None:
            self.cut_power()

    def type(self, line):
        """Types a line for the shell on its console."""
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    # What can be seen of it.

    @property
    def console(self):
        """All that it has written to its console."""
        return "\n".join(list(self._console))

    story = console

    def wait(self, condition, what):
        """Waits until a condition gives something true, and gives that; a failure shows the console."""
        def look():
            assert self._process.poll() is None, "QEMU has ended"
            return condition()
        try:
            return wait_until(look, DEADLINE * PATIENCE, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\nconsole:\n{self.console}") from None

    def wait_console(self, text, count=1):
        """Waits until a text has been on the console so often."""
        self.wait(lambda: self.console.count(text) >= count, f"{text} ×{count}")

    def wait_restart(self, count=1):
        """Waits until it has restarted itself so often since it got its power."""
        def restarts():
            return [event for event in self.events if event["event"] == "RESET" and event["data"]["guest"]]
        self.wait(lambda: len(restarts()) >= count, f"{count} restarts")
        return restarts()

    def _start(self, function):
        self._threads.append(threading.Thread(target=function, daemon=True))
        self._threads[-1].start()

    def _read_console(self):
        begin = time.monotonic()
        for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip()
            self._console.append(f"{time.monotonic() - begin:7.2f} {text}")

    def _connect(self):
        assert self._process.poll() is None, f"QEMU has ended\n{self.console}"
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.folder / "qmp"))
            return connection
        except OSError:
            connection.close()
            return None

    def set(self, device, name, value):
        """Changes what a device of the board senses."""
        self._command("qom-set", path=f"/machine/peripheral/{device}", property=name, value=value)

    def _command(self, name, **arguments):
        self._qmp.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")

    def _read_events(self):
        self.events = []
        with self._qmp.makefile() as lines:
            for line in lines:
                said = json.loads(line)
                if "event" in said:
                    self.events.append(said)
