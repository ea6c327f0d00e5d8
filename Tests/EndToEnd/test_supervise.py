"""`mote supervise`: programs in slots, tried, committed and given up, with real processes and files.

The programs are small ones that write down who has started them, and say by the slot record what a
new agent says by it.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from harness import slots
from harness.files import wait_written
from harness.slots import BAD, GOOD, TRIAL, Record
from harness.waiting import DEADLINE, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
HANDED_OVER, WRONG = 80, 81
pytestmark = pytest.mark.native

# Commits as a new agent does: one write, of the copy that is not the newer one.
COMMIT = """
import pathlib, struct, sys
sys.path.insert(0, {harness!r})
import slots
folder = pathlib.Path({folder!r})
copies = {{index: slots.read_copy((folder / f"slots.{{index}}").read_bytes()) for index in (0, 1)
          if (folder / f"slots.{{index}}").exists()}}
newest = max((index for index in copies if copies[index]), key=lambda index: copies[index]["number"])
data = bytearray((folder / f"slots.{{newest}}").read_bytes())
data[8:12] = struct.pack(">I", copies[newest]["number"] + 1)
data[16], data[17] = {place} + 1, 0
data[64 + 80 * {place}] = slots.GOOD
data[252:] = struct.pack(">I", slots.crc32c(bytes(data[:252])))
(folder / f"slots.{{1 - newest}}").write_bytes(data)
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("one", "two"):
        for arguments in (["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / f"{name}.pem"],
                          ["pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub"]):
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    return folder


class Board:
    """A machine with slots and a supervisor, which starts programs that write a line for each start."""

    def __init__(self, folder, program, keys):
        self.folder, self._program, self._keys = folder, program, keys
        self.state = folder / "lib" / "mote"
        self.slots = self.state / "firmware"
        self.slots.mkdir(parents=True)
        self.starts = folder / "starts"
        self.errors = folder / "errors"
        self._processes = []

    def script(self, name, body):
        """A program's bytes."""
        return (f"#!/bin/sh\necho {name} $1 >> {self.starts}\n" + body + "\n").encode()

    def commit(self, place):
        """What a shell does to commit the slot at `place`, 0 or 1."""
        path = self.folder / f"commit-{place}.py"
        path.write_text(COMMIT.format(harness=str(ROOT / "Tests/EndToEnd/harness"), folder=str(self.slots),
                                      place=place))
        return f"{sys.executable} {path}"

    def install(self, name, image, key="one", kind="agent"):
        """Puts a program into a slot, as the agent does."""
        source, bundle = self.folder / "image", self.folder / "bundle"
        source.write_bytes(image)
        subprocess.run(
            [ROOT / "Scripts/make-bundle", source, bundle, "--kind", kind, "--version", "1.0", "--compatible", "c",
             "--machine", "0", "--key", self._keys / f"{key}.pem"], check=True, capture_output=True)
        (self.slots / f"{name}.header").write_bytes(bundle.read_bytes()[:512])
        (self.slots / name).write_bytes(image)
        (self.slots / name).chmod(0o700)

    def start(self, *prefix, words=("version",)):
        """Starts the supervisor in a process group of its own."""
        mount = f'mount --rbind {self.state.parent} /var/lib && exec "$@"'
        command = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), *prefix, "sh", "-c", mount,
                   "sh", *self._program.command, "supervise", "--key", str(self._keys / "one.pub"), *words]
        # Its descriptors are of files: no pipe of ours has to be read.
        with self.errors.open("a") as errors, (self.folder / "output").open("a") as output:
            process = subprocess.Popen(command, stderr=errors, stdout=output, start_new_session=True)
        self._processes.append(process)
        return process

    def run(self, *prefix, **options):
        """Runs it to its end; gives its status."""
        return self.start(*prefix, **options).wait(timeout=DEADLINE)

    def started(self):
        """Who was started, in order."""
        return self.starts.read_text().splitlines() if self.starts.exists() else []

    def log(self):
        return self.errors.read_text()

    def record(self):
        return slots.read_record(self.slots)

    def close(self):
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def board(tmp_path, program, keys, closing):
    made = Board(tmp_path, program, keys)
    closing.append(made)
    return made


def test_without_slots_the_packaged_program_runs(board):
    assert board.run() == 0
    assert (board.folder / "output").read_text().startswith("mote ")
    assert board.record() is None
    # It ends as its program does, and gives it all words but its own.
    assert board.run(words=("run", "--nonsense")) == 64


def test_a_good_slot_runs_and_nothing_is_counted(board):
    image = board.script("a", "exit 7")
    board.install("a", image)
    slots.write_record(board.slots, Record(active="a", a=(GOOD, image)))
    before = board.record()
    assert board.run(words=("run", "--later-option")) == 7
    assert board.started() == ["a run"]
    assert board.record() == before


def trial(board, body, old="exit 3", **options):
    """A board on which `a` is good and `b` is to be tried; gives the new program's bytes."""
    good, new = board.script("a", old), board.script("b", body)
    board.install("a", good)
    board.install("b", new)
    slots.write_record(board.slots, Record(active="a", a=(GOOD, good), b=(TRIAL, new), **options))
    return new


def test_a_new_program_that_commits_stays(board):
    trial(board, f"{board.commit(1)}; exit 5")
    assert board.run() == 5
    assert board.started() == ["b version"]
    record = board.record()
    assert (record["active"], record["b"], record["a"]) == ("b", GOOD, GOOD)
    # And whatever it does then, nothing goes back.
    assert board.run() == 5
    assert board.started() == ["b version"] * 2


@pytest.mark.parametrize("body, reason, status, starts", [
    ("exit 1", "exited", 1, 2), ("exit 0", "exited", 0, 2), ("kill -SEGV $$", "signalled", 11, 2),
    ("kill -KILL $$", "signalled", 9, 2), (f"exit {WRONG}", "wrong", WRONG, 1),
    (f"exit {HANDED_OVER}", "exited", HANDED_OVER, 2),
])
def test_a_new_program_that_ends_is_given_up(board, body, reason, status, starts):
    new = trial(board, body)
    assert board.run() == 3
    assert board.started() == ["b version"] * starts + ["a version"]
    record = board.record()
    assert (record["active"], record["a"], record["b"]) == ("a", GOOD, BAD)
    assert (record["reason"], record["status"]) == (reason, status)
    assert record["reverted"] == __import__("hashlib").sha256(new).digest()
    assert f"supervise reverted slot=b reason={reason}" in board.log()


def test_a_new_program_that_hangs_is_given_up(board):
    trial(board, "trap '' TERM; exec sleep 1000", seconds=1)
    # Two tries of a second, and as often ten more, since it heeds no SIGTERM.
    assert board.start().wait(timeout=3 * DEADLINE) == 3
    assert board.started() == ["b version"] * 2 + ["a version"]
    assert board.record()["reason"] == "timeout"


def test_a_new_program_that_gives_no_sign_of_life_has_failed(board):
    """A service manager ends by SIGABRT what does not say that it lives, and starts the supervisor again."""
    trial(board, f"trap 'exit 9' ABRT; echo > {board.folder}/up; while :; do sleep 0.1; done")
    for failures in (1, 2):
        process = board.start()
        wait_until(lambda: (board.folder / "up").exists(), DEADLINE, "the new program runs")
        process.send_signal(signal.SIGABRT)
        assert process.wait(timeout=DEADLINE) == 9
        (board.folder / "up").unlink()
        assert board.record()["failures" if failures == 1 else "reason"] == (1 if failures == 1 else "timeout")
    assert board.run() == 3
    assert board.started() == ["b version"] * 2 + ["a version"]


def test_a_new_program_that_has_committed_may_go_on(board):
    trial(board, f"{board.commit(1)}; sleep 3; exit 5", seconds=1)
    assert board.run() == 5
    assert board.started() == ["b version"]


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [
    lambda folder: flip(folder / "b", 20),
    lambda folder: os.truncate(folder / "b", 30),
    lambda folder: (folder / "b").open("ab").write(b"\n"),
    lambda folder: (folder / "b").unlink(),
    lambda folder: (folder / "b.header").unlink(),
    lambda folder: os.truncate(folder / "b.header", 511),
    lambda folder: flip(folder / "b.header", 120),
    lambda folder: flip(folder / "b.header", 360),
    lambda folder: shutil.copy(folder / "a.header", folder / "b.header"),
], ids=["bit", "short", "long", "missing", "no-header", "short-header", "version", "signature", "other-header"])
def test_what_was_not_signed_is_never_executed(board, spoil):
    trial(board, "exit 0")
    spoil(board.slots)
    assert board.run() == 3
    assert board.started() == ["a version"]
    assert (board.record()["reason"], board.record()["b"]) == ("damaged", BAD)


def test_a_stranger_s_signature_or_another_kind_is_nothing(board):
    new = trial(board, "exit 0")
    for options in ({"key": "two"}, {"kind": "file"}):
        board.install("b", new, **options)
        slots.write_record(board.slots, Record(
            active="a", a=(GOOD, (board.slots / "a").read_bytes()), b=(TRIAL, new),
            number=board.record()["number"] + 9))
        assert board.run() == 3
        assert board.record()["reason"] == "damaged"
    assert board.started() == ["a version"] * 2


def test_what_cannot_be_executed_is_given_up(board):
    trial(board, "exit 0")
    (board.slots / "b").chmod(0o600)
    assert board.run() == 3
    assert board.started() == ["a version"]
    assert board.record()["reason"] == "not-executable"
    foreign = b"\x7fELF" + bytes(100)
    board.install("b", foreign)
    slots.write_record(board.slots, Record(
        number=50, active="a", a=(GOOD, (board.slots / "a").read_bytes()), b=(TRIAL, foreign)))
    assert board.run() == 3
    assert board.record()["reason"] == "not-executable"


def test_a_good_slot_that_is_spoilt_is_passed_over(board):
    old, new = board.script("a", "exit 3"), board.script("b", "exit 4")
    board.install("a", old)
    board.install("b", new)
    slots.write_record(board.slots, Record(active="b", a=(GOOD, old), b=(GOOD, new)))
    flip(board.slots / "b", 20)
    assert board.run() == 3
    assert "supervise slot-unusable slot=b" in board.log()
    # The one of the system is the last resort.
    flip(board.slots / "a", 20)
    assert board.run() == 0
    assert board.started() == ["a version"]


def test_slots_that_change_are_looked_at_again(board):
    """The switch: a program writes that another one is to be tried, and ends."""
    new = board.script("b", f"{board.commit(1)}; exit 5")
    board.install("b", new)
    record = board.folder / "record"
    old = board.script("a", f"cp {record} {board.slots}/slots.1; exit {HANDED_OVER}")
    board.install("a", old)
    slots.write_record(board.slots, Record(active="a", a=(GOOD, old)))
    record.write_bytes(Record(number=2, active="a", a=(GOOD, old), b=(TRIAL, new)).bytes())
    assert board.run() == 5, board.started() + [board.log()]
    assert board.started() == ["a version", "b version"]
    assert board.record()["active"] == "b"


# MARK: Power

def cut(board, process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_power_cuts_are_no_failures_of_a_program(board):
    """Three tries, and one more, as the last one may have lost its commit; then the one before it comes back."""
    trial(board, f"echo > {board.folder}/up; exec sleep 1000")
    for tries in (2, 1, 0, 0):
        process = board.start()
        wait_until(lambda: (board.folder / "up").exists(), DEADLINE, "the new program runs")
        # Counted before it was started.
        assert board.record()["tries"] == tries and board.record()["failures"] == 0
        cut(board, process)
        (board.folder / "up").unlink()
    assert board.run() == 3
    assert board.started() == ["b version"] * 4 + ["a version"]
    assert (board.record()["reason"], board.record()["b"]) == ("interrupted", BAD)


def test_a_program_goes_with_its_supervisor(board):
    trial(board, f"echo $$ > {board.folder}/up; exec sleep 1000")
    process = board.start()
    pid = int(wait_written(board.folder / "up"))
    process.kill()
    process.wait()
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), DEADLINE, "the program has gone")


def test_cuts_at_any_moment_leave_what_starts(board):
    """The power fails at moments that spread over the whole of a trial; then it is left alone."""
    for place, (body, end) in enumerate([("exit 1", 3), (f"{board.commit(1)}; exit 5", 5)]):
        trial(board, body, number=100 * (place + 1))
        (board.slots / "slots.1").unlink(missing_ok=True)
        for step in range(12):
            process = board.start()
            time.sleep(step * 0.005)
            if process.poll() is None:
                cut(board, process)
            record = board.record()
            assert record["a"] == GOOD
        assert board.run() in (end, 3)
        record = board.record()
        assert record["b"] in (GOOD, BAD) and record["active"] == ("b" if record["b"] == GOOD else "a")


@pytest.mark.parametrize("left", [0, 1, 4, 12, 100, 251, 255])
def test_a_torn_copy_leaves_the_other_one(board, left):
    image = board.script("a", "exit 7")
    board.install("a", image)
    slots.write_record(board.slots, Record(number=8, active="a", a=(GOOD, image)))
    newer = Record(number=9).bytes()
    (board.slots / "slots.1").write_bytes(newer[:left] + bytes(256 - left if left % 2 else 0))
    assert board.run() == 7


def test_both_copies_torn_still_boot(board):
    image = board.script("a", "exit 7")
    board.install("a", image)
    for name in ("slots.0", "slots.1"):
        (board.slots / name).write_bytes(Record(active="a", a=(GOOD, image)).bytes()[:100])
    assert board.run() == 0
    assert "supervise record-damaged" in board.log()
    # Nothing is written where nothing was read.
    assert (board.slots / "slots.0").stat().st_size == 100


def test_what_cannot_be_counted_is_not_tried(board):
    trial(board, "exit 0")
    before = board.record()
    mount = f"mount --bind {board.slots} {board.slots} && mount -o remount,bind,ro {board.slots} && exec \"$@\""
    assert board.run("sh", "-c", mount, "sh") == 3
    assert board.started() == ["a version"]
    assert board.record() == before
    assert "supervise not-stored" in board.log()


# MARK: Signals, process 1, users

def test_signals_are_handed_on_and_are_no_failures(board):
    trial(board, f"trap 'echo hup >> {board.starts}' HUP; trap 'exit 9' TERM; echo > {board.folder}/up;"
                 " while :; do sleep 0.05; done")
    process = board.start()
    wait_until(lambda: (board.folder / "up").exists(), DEADLINE, "the new program runs")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "hup" in board.started(), DEADLINE, "it has its SIGHUP")
    process.terminate()
    assert process.wait(timeout=DEADLINE) == 9
    assert board.record()["failures"] == 0 and board.record()["b"] == TRIAL


def test_as_process_1_it_collects_and_goes_back(board):
    trial(board, "(sleep 0.1 &); (sleep 0.1 &); sleep 0.3; exit 1",
          old="[ $(ps -A -o stat= | grep -c Z) = 0 ] && exit 3")
    assert board.run("unshare", "--pid", "--fork", "--kill-child", "--mount-proc") == 3
    assert board.record()["b"] == BAD


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_root_becomes_the_owner_of_the_slots(board):
    trial(board, f"id -u > {board.folder}/user; id -G >> {board.folder}/user; {board.commit(1)}; exit 5")
    for path in [board.folder, board.state, board.slots, *board.slots.iterdir()]:
        os.chown(path, 12345, 12346)
    # The test's own folder, and what is above it.
    for path in board.folder.parents:
        if path != pathlib.Path("/") and not path.stat().st_mode & 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    board._keys.chmod(0o755)
    assert board.run() == 5
    assert (board.folder / "user").read_text().split() == ["12345", "12346"]
    assert board.record()["active"] == "b"
