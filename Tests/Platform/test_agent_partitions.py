"""A whole system that is updated in the one of two slots that it does not run from, by Mote's agent and an operator."""

import subprocess

import pytest

from harness.waiting import DEADLINE, wait_until
from operating import MAKE_BUNDLE
from rest import api
from test_agent_management import (  # fixtures, too
    machine, operator, ran, start_mote, updating)

__all__ = ["machine", "operator", "start_mote", "updating"]

SLOT_BYTES = 400_000

# A boot loader's variables are files here; `broken` says what fails and what only pretends to be done.
PROGRAM = """#!/bin/sh
cd {folder} || exit 1
echo "$*" >> calls
case "$(cat broken)" in
    "$1 fails") echo "fw_setenv: not found"; exit 127 ;;
    "$1 pretends") exit 0 ;;
esac
case $1 in
    state) echo "$(cat running) $(cat standard)" ;;
    try) echo "$2" > next ;;
    commit) echo "$2" > standard ;;
esac
"""


class Partitioned:
    """A machine with two slots, a boot loader and an agent."""

    def __init__(self, updating, start, machine, folder):
        self.updating, self._start, self._machine, self.folder = updating, start, machine, folder
        self.loader = folder / "loader"
        self.loader.mkdir()
        for name, text in (("running", "a"), ("standard", "a"), ("broken", ""), ("calls", "")):
            (self.loader / name).write_text(text + "\n")
        self.program = folder / "slots"
        self.program.write_text(PROGRAM.format(folder=self.loader))
        self.program.chmod(0o755)
        for slot in "ab":
            (folder / f"slot-{slot}").write_bytes(b"system 1.4.0".ljust(SLOT_BYTES, b"\0"))
        self.private, self.public = folder / "private.pem", folder / "public.pem"
        for arguments in (["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.private],
                          ["pkey", "-in", self.private, "-pubout", "-out", self.public]):
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
        self.agent = None

    def read(self, name):
        return (self.loader / name).read_text().strip()

    def slot(self, letter):
        return (self.folder / f"slot-{letter}").read_bytes()

    def start(self):
        """Starts the agent of the system in the slot that runs."""
        version = self.slot(self.read("running"))[:12].split()[1].decode()
        self.agent = self._start(management={"firmware-version": version}, **{
            "firmware": {"installer": "partition", "run": self.program, "slot-a": self.folder / "slot-a",
                         "slot-b": self.folder / "slot-b", "key-file": self.public, "compatible": "acme-e7"},
            "event status": {"interval": "5s"},
            "sensor limit": {"event": "status", "read": "file:/proc/sys/kernel/pid_max"}})
        return self.agent

    def restart(self, works=True):
        """The machine restarts, as the boot loader has it; a system that does not work never gets to its agent."""
        if self.agent.process.poll() is None:
            self.agent.process.kill()
            self.agent.wait_end()
        following = self.loader / "next"
        slot = following.read_text().strip() if following.exists() and works else self.read("standard")
        following.unlink(missing_ok=True)
        (self.loader / "running").write_text(slot + "\n")
        self._machine.restart()
        return self.start()

    def wait_restart(self, count):
        wait_until(lambda: len(ran(self.folder)) == count, DEADLINE, "the machine is to restart")

    def bundle(self, version, size=300_000):
        image, path = self.folder / "image", self.folder / f"system-{version}.bundle"
        image.write_bytes(f"system {version} ".encode().ljust(size, version[-1].encode()))
        subprocess.run([MAKE_BUNDLE, image, path, "--kind", "slot", "--version", version, "--compatible", "acme-e7",
                        "--key", self.private], check=True, capture_output=True)
        return path

    def download(self, version, **options):
        return self.updating.ended(self.updating.request(self.bundle(version, **options), version))


@pytest.fixture
def partitioned(updating, start_mote, machine, tmp_path):
    return Partitioned(updating, start_mote, machine, tmp_path)


@pytest.mark.core
@pytest.mark.seconds(90)
def test_systems_one_after_the_other(partitioned):
    """Each goes into the slot that does not run, is tried, proves itself and stays; one that does not is given up."""
    partitioned.start()
    for count, (version, slot) in enumerate((("1.5.0", "b"), ("1.6.0", "a")), 1):
        other = "ab".replace(slot, "")
        before = partitioned.slot(other)
        ended = partitioned.download(version)
        assert ended["status"] == 0, ended
        written = partitioned.slot(slot)
        assert written.startswith(f"system {version}".encode()) and len(written) == SLOT_BYTES
        assert partitioned.slot(other) == before
        identifier = partitioned.updating.ask("firmware/update")
        partitioned.wait_restart(count)
        agent = partitioned.restart()
        assert partitioned.read("running") == slot and partitioned.read("standard") == other
        agent.wait_log("info", "firmware", "on-trial")
        ended = partitioned.updating.ended(identifier)
        assert ended["status"] == 0, ended
        assert partitioned.read("standard") == slot
        partitioned.updating.wait_version(version)
    # Its kernel panics.
    assert partitioned.download("1.7.0")["status"] == 0
    identifier = partitioned.updating.ask("firmware/update")
    partitioned.wait_restart(3)
    agent = partitioned.restart(works=False)
    agent.wait_log("error", "firmware", "update-failed", reason="not-started", status="5")
    ended = partitioned.updating.ended(identifier)
    assert ended["status"] != 0, ended
    assert partitioned.updating.version() == "1.6.0" and partitioned.read("standard") == "a"
    # It is not taken again, and its successor is.
    assert partitioned.download("1.7.0")["status"] != 0
    agent.wait_log("error", "firmware", "download-failed", reason="reverted", status="5")
    assert partitioned.download("1.8.0")["status"] == 0


@pytest.mark.parametrize("broken, reason, restarts", [
    ("try fails", "not-switched", 0), ("try pretends", "not-started", 1), ("commit fails", "not-committed", 1),
    ("commit pretends", "not-committed", 1)])
@pytest.mark.seconds(60)
def test_a_boot_loader_that_cannot_be_told(partitioned, broken, reason, restarts):
    """The operator learns that the update has failed, and the old system runs in the end."""
    agent = partitioned.start()
    (partitioned.loader / "broken").write_text(broken)
    assert partitioned.download("1.5.0")["status"] == 0
    identifier = partitioned.updating.ask("firmware/update")
    if restarts:
        partitioned.wait_restart(1)
        agent = partitioned.restart()
    agent.wait_log("error", "firmware", "update-failed", reason=reason, status="5", timeout=3 * DEADLINE)
    ended = partitioned.updating.ended(identifier)
    assert ended["status"] != 0, ended
    if partitioned.read("running") != "a":
        partitioned.wait_restart(2)
        partitioned.restart()
    assert (partitioned.read("running"), partitioned.read("standard")) == ("a", "a")
    partitioned.updating.wait_version("1.4.0")


@pytest.mark.seconds(60)
@pytest.mark.parametrize("broken, standard, reason", [
    ("state fails", "a", "the slot that runs is not known"),
    ("", "b", "the slot that runs is not the one that is started")])
def test_what_is_not_known_is_not_written(partitioned, service, broken, standard, reason):
    """The platform is told that there is no firmware, until that has changed."""
    (partitioned.loader / "broken").write_text(broken)
    (partitioned.loader / "standard").write_text(standard)
    agent = partitioned.start()
    agent.wait_log("error", "firmware", "unavailable", reason=reason)

    def is_supported():
        management = api(service, "GET", "/device/types/edge/devices/e1/mgmt").json
        return management["supports"]["firmwareActions"]

    assert not is_supported()
    (partitioned.loader / "broken").write_text("")
    (partitioned.loader / "standard").write_text("a")
    # It asks again every half a minute.
    wait_until(is_supported, 3 * DEADLINE, "firmware is supported")
    assert partitioned.download("1.5.0")["status"] == 0


def test_an_image_that_is_too_large_for_its_slot(partitioned):
    agent = partitioned.start()
    assert partitioned.download("1.5.0", size=SLOT_BYTES + 1)["status"] != 0
    agent.wait_log("error", "firmware", "download-failed", reason="no-space", status="2")
