"""The proof that nothing allocates after start-up: callgrind counts calls of allocators in the real static binary."""

import pathlib
import re
import shutil
import subprocess

import pytest

from harness.agent import Agent, Program
from harness.configuration import seldom, status, tls
from harness.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.native

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Callgrind takes some fifty times as long.
PATIENCE = 4
COMMANDS, EVENTS_PER_COMMAND = 1000, 11
# Every name under which musl, mbedTLS and Swift's runtime take memory, system calls included.
ALLOCATOR = re.compile(
    r"(^|_)(malloc|calloc|realloc|reallocarray|aligned_alloc|memalign|posix_memalign|alloc_meta|alloc_slot|brk|sbrk"
    r"|expand_heap)(_impl|_default)?$|^(__)?(mmap|mremap)|swift_(slowAlloc|allocObject|allocBox)|allocateObject")


def calls(dump):
    """How often each function was called, from a file in callgrind's format."""
    names, counts, callee = {}, {}, None
    for line in dump.read_text().splitlines():
        if found := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?$", line):
            if found[3]:
                names[found[2]] = re.sub(r"'\d+$", "", found[3])
            callee = names[found[2]] if found[1] else callee
        elif found := re.match(r"calls=(\d+)", line):
            counts[callee] = counts.get(callee, 0) + int(found[1])
    return counts


class Counter:
    """An agent under callgrind, whose counts can be read at any moment."""

    def __init__(self, agent, folder):
        self.agent = agent
        self.folder = folder

    def tell(self, *words):
        done = subprocess.run(
            ["vgdb", f"--vgdb-prefix={self.folder}/vgdb", f"--pid={self.agent.pid}", "--wait=10", *words],
            capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"vgdb {words}: {done.stdout}{done.stderr}"

    def take(self):
        """Calls since the last time; counting starts anew."""
        before = set(self.folder.glob("calls.*"))
        self.tell("dump")
        (dump,) = wait_until(lambda: set(self.folder.glob("calls.*")) - before, DEADLINE, "callgrind writes its dump")
        wait_until(lambda: "totals:" in dump.read_text(), DEADLINE, "the dump is complete")
        return calls(dump)


def machine_code(binary, folder):
    """The bytes of a binary's code."""
    subprocess.run(["objcopy", "-O", "binary", "--only-section=.text", binary, folder / "text"], check=True)
    return (folder / "text").read_bytes()


@pytest.fixture
def program_with_names(program, architecture, tmp_path):
    """The program under test with its functions' names, but without DWARF 5, which Debian's valgrind cannot read."""
    assert len(program.command) == 1, "callgrind cannot look into an emulator"
    linked, named = ROOT / "build/scratch" / architecture / "release/mote", tmp_path / "mote"
    subprocess.run(["objcopy", "--strip-debug", linked, named], check=True)
    assert machine_code(named, tmp_path) == machine_code(program.command[0], tmp_path), "another program"
    return Program([str(named)], PATIENCE)


@pytest.fixture
def count_calls(closing, program_with_names, write_configuration, tmp_path):
    """Starts an agent under callgrind."""
    assert shutil.which("valgrind"), "valgrind is missing; Scripts/setup installs it"

    def start(port, sections):
        prefix = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={tmp_path}/calls",
                  f"--vgdb-prefix={tmp_path}/vgdb"]
        path = write_configuration(port, sections)
        agent = Agent(program_with_names, "run", "--config", path, prefix=prefix)
        closing.append(agent)
        return Counter(agent, tmp_path)
    return start


def drive(platform, count):
    """Sends `count` commands, each of which makes the agent send all its events."""
    for _ in range(count):
        # One after the other: two that arrive together make each event due once, and so does one that arrives while the
        # event with files still waits for its readers, as it does on a busy machine.
        platform.command("publish", "{}")
        assert platform.outcome("publish")["outcome"] == "ok"
        platform.next_event("status")


def many_events(folder):
    """Events with sensors of every kind, all of them due on command only."""
    (folder / "value").write_text("21.5\n")
    sections = status(seldom(), 1, load="loadavg:1", free="memory:available", usage="cpu:usage", disk="disk:/free",
                      text={"read": "constant:a \"quoted\" text", "type": "text"},
                      value={"read": f"file:{folder / 'value'}", "scale": "0.805664", "offset": "-12"})
    for number in range(1, EVENTS_PER_COMMAND):
        sections[f"event e{number}"] = {"interval": seldom(), "qos": number % 2}
        sections[f"sensor a{number}"] = {"event": f"e{number}", "read": "uptime"}
        sections[f"sensor b{number}"] = {"event": f"e{number}", "read": "network:lo/rx-bytes"}
    return sections


def events_sent(platform):
    return len([event for event in list(platform.events) if event.name != "command"])


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_nothing_is_allocated_for_events_and_commands(
        broker, tls_broker, join_platform, count_calls, authority, tmp_path, secured):
    server = tls_broker if secured else broker
    platform = join_platform(server)
    sections = many_events(tmp_path)
    if secured:
        sections.update(tls(server.port, authority))
    counter = count_calls(server.port, sections)
    counter.agent.wait_connected(timeout=2 * DEADLINE)
    platform.next_event("status", timeout=2 * DEADLINE)
    drive(platform, 20)

    before = counter.take()
    # The names are those of the program under test, and a handshake is seen to allocate.
    assert any("poll" in name for name in before), sorted(before)[:50]
    if secured:
        assert sum(count for name, count in before.items() if ALLOCATOR.search(name)) > 10

    events = events_sent(platform)
    drive(platform, COMMANDS)
    wait_until(lambda: events_sent(platform) - events >= COMMANDS * EVENTS_PER_COMMAND, DEADLINE, "all events")
    after = counter.take()
    assert sum(count for name, count in after.items() if "poll" in name) >= COMMANDS
    allocated = {name: count for name, count in after.items() if ALLOCATOR.search(name)}
    assert not allocated, f"allocations during {COMMANDS} commands: {allocated}"
