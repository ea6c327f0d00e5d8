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
}


class Board:
    """A board of a kind, with a disk that outlives its power."""

    def __init__(self, kind, folder, ports):
        self.model, self.folder, self._ports = MODELS[kind], pathlib.Path(folder), ports
        self.disk = self.folder / "disk"
        self.events, self._console, self._process, self._threads, self._qmp = [], [], None, [], None
        make_disk(self.disk)
        self.root = Initramfs()
        self._build_root()

    def _build_root(self):
        """BusyBox, its init, and the program. What is special about a test it adds itself."""
        model, root = self.model, self.root
        root.add_program("bin/busybox", (FETCHED / f"programs-{model.debian}/bin/busybox").read_bytes())
        for name in ("init", "sbin/init", "bin/sh"):
            root.add_link(name, "/bin/busybox")
        for name in ("proc", "sys", "dev", "run", "tmp", "mnt", "sbin", "usr/sbin"):
            root.add_folder(name)
        root.add_folder("var/lib")
        root.add_program("usr/bin/mote", (ROOT / "build" / model.architecture / "mote").read_bytes())
        root.add_modules(model.kernel, model.modules)
        script = (ROOT / "Tests/Boards/emulated/rc").read_text()
        root.add_program("etc/rc", f"#!/bin/sh\nDISK={model.disk}\nINTERFACE={model.interface}\n{script}")

    # Power.

    def power_on(self):
        """Gives it power."""
        model, folder = self.model, self.folder
        image = FETCHED / f"kernel-{model.kernel}/kernel"
        if model.address:
            unpacked, image = image.read_bytes(), folder / "kernel"
            image.write_bytes(as_uimage(unpacked, model.address))
        (folder / "initramfs").write_bytes(self.root.bytes())
        program = shutil.which(model.qemu[0])
        assert program, f"{model.qemu[0]} is missing; Scripts/setup boards installs it"
        forwards = "".join(f",guestfwd=tcp:{SERVER}:{inner}-cmd:busybox nc 127.0.0.1 {outer}"
                           for inner, outer in self._ports.items())
        description = ["-dtb", FETCHED / f"kernel-{model.kernel}" / model.description] if model.description else []
        line = [program, *model.qemu[1:], "-display", "none", "-serial", "stdio", "-kernel", image, *description,
                "-initrd", folder / "initramfs", "-append", f"console={model.console} quiet panic=-1 {model.append}",
                # Nothing is reached but these two ports.
                "-netdev", f"user,id=n0,restrict=on{forwards}", *model.network,
                *[word.format(disk=self.disk) for word in model.storage],
                "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
        self._process = subprocess.Popen([str(word) for word in line], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._start(self._read_console)
        self._qmp = wait_until(self._connect, DEADLINE * PATIENCE, "QEMU runs")
        self._start(self._read_events)
        self._command("qmp_capabilities")

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

    def close(self):
        if self._process and self._process.poll() is None:
            self.cut_power()

    # What can be seen of it.

    @property
    def console(self):
        """All that it has written to its console."""
        return "\n".join(list(self._console))

    story = console

    def wait_console(self, text, count=1, timeout=DEADLINE):
        """Waits until a text has been on the console so often."""
        def look():
            assert self._process.poll() is None, f"QEMU has ended\n{self.console}"
            return self.console.count(text) >= count
        try:
            wait_until(look, timeout * PATIENCE, f"{text} ×{count}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nconsole:\n{self.console}") from None

    def wait_restart(self, count=1):
        """Waits until it has restarted itself so often since it got its power."""
        def restarts():
            return [event for event in self.events if event["event"] == "RESET" and event["data"]["guest"]]
        wait_until(lambda: len(restarts()) >= count, DEADLINE * PATIENCE, f"{count} restarts")
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

    def _command(self, name, **arguments):
        self._qmp.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")

    def _read_events(self):
        self.events = []
        with self._qmp.makefile() as lines:
            for line in lines:
                said = json.loads(line)
                if "event" in said:
                    self.events.append(said)
