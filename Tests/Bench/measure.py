"""Instruments: what a process executes, calls, allocates and occupies."""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import time
import uuid

PATIENCE_SECONDS = 120
EMULATOR = ["qemu-arm-static"]
# Entries of allocators in the C libraries and in Swift's runtime.
ALLOCATOR = re.compile(
    r"^(__libc_|default_)?(malloc|calloc|realloc|reallocarray|aligned_alloc|memalign|posix_memalign)(_impl)?$"
    r"|swift_(slowAlloc|allocObject)")


def run(bench, client, prefix, qos, tls, length):
    """A whole run of a client; how many events it sent."""
    process = client.start(bench, prefix, qos, tls, length)
    try:
        process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, f"{client.name} ended with status {process.returncode}"
    time.sleep(0.5)  # until the subscriber has everything
    return client.events(bench, process, length)


def callgrind(bench, client, qos, tls, length):
    """Events, instructions and allocations of a run."""
    path = bench.folder / f"callgrind.{uuid.uuid4().hex}"
    events = run(bench, client, [*callgrind_prefix(path), *(f"--zero-before={name}" for name in client.forgotten_at)],
                 qos, tls, length)
    costs = read_callgrind(path)
    return events, collections.Counter(instructions=costs.instructions, allocations=costs.called(ALLOCATOR))


def callgrind_prefix(path):
    """How a program is run that is to be counted."""
    # `fair` gives each thread its turn; the default lets one spin.
    return ["valgrind", "-q", "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={path}"]


@dataclasses.dataclass
class Costs:
    """What callgrind has counted: instructions, those of each function itself, and how often each was called."""

    instructions: int
    own: collections.Counter
    calls: collections.Counter

    def spent(self, pattern):
        """Instructions of the functions with such names."""
        return sum(count for name, count in self.own.items() if pattern.search(name))

    def called(self, pattern):
        """Calls of functions with such names."""
        return sum(count for name, count in self.calls.items() if pattern.search(name))


def read_callgrind(path):
    """Reads a file of callgrind's."""
    costs, names, function, callee = Costs(0, collections.Counter(), collections.Counter()), {}, None, None
    for line in path.read_text().splitlines():
        if found := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?$", line):
            if found[3]:
                # Callgrind numbers the levels of a recursion: name'2.
                names[found[2]] = re.sub(r"'\d+$", "", found[3])
            if found[1]:
                callee = names[found[2]]
            else:
                function = names[found[2]]
        elif line.startswith("calls="):
            costs.calls[callee] += int(line[6:].split()[0])
        elif found := re.match(r"[+*-]?\d* (\d+)$", line):
            # The line behind a call has what the callee spent.
            if callee is None:
                costs.own[function] += int(found[1])
            callee = None
        elif line.startswith("totals:"):
            costs.instructions += int(line.split()[1])
    return costs


def emulated(bench, client, qos, tls, length):
    """Events and instructions of a run of an armv7 program: qemu tells each one, in a line that nothing keeps."""
    path = bench.folder / f"trace.{uuid.uuid4().hex}"
    os.mkfifo(path)
    counter = subprocess.Popen(["grep", "-c", "^Trace", path], stdout=subprocess.PIPE)
    try:
        events = run(bench, client, [*EMULATOR, "-singlestep", "-d", "exec,nochain", "-D", path], qos, tls, length)
        return events, collections.Counter(instructions=int(counter.communicate(timeout=PATIENCE_SECONDS)[0]))
    finally:
        counter.kill()
        counter.wait()


def strace(bench, client, qos, tls, length):
    """Events and system calls of a run, by name."""
    path = bench.folder / f"strace.{uuid.uuid4().hex}"
    events = run(bench, client, ["strace", "-f", "-c", "-U", "calls,name", "-o", path], qos, tls, length)
    lines = [line.split() for line in path.read_text().splitlines()]
    calls = {words[1]: int(words[0]) for words in lines if words[0].isdigit() and words[1] != "total"}
    return events, collections.Counter(calls)


def per_event(tool, bench, client, qos, tls):
    """What one event costs: the difference of two run lengths, so that start and end cancel."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        (few, small), (many, large) = pool.map(lambda length: tool(bench, client, qos, tls, length), client.lengths)
    assert many > few, f"{client.name}: {few} events in the short run, {many} in the long one"
    return {name: (large[name] - small[name]) / (many - few) for name in {*large, *small}}


def once(bench, client, tls):
    """Instructions of a whole run with a single message."""
    return callgrind(bench, client, 0, tls, 1)[1]["instructions"]


def memory(pid):
    """Resident memory now and at its highest, in KB."""
    fields = {}
    for name in ("smaps_rollup", "status"):
        for line in pathlib.Path(f"/proc/{pid}/{name}").read_text().splitlines():
            words = line.replace(":", "").split()
            if words[0] in ("Rss", "Pss", "VmHWM"):
                fields[words[0]] = int(words[1])
    return fields


class Sleeper:
    """Notes when a system call that waits returns, in a process or in a child of its.

    The kernel's count of voluntary context switches says something else: a process also gives its processor up for a
    page of its program that is not in memory any more, for a lock in the kernel, or for whoever traces it.
    """

    # A question mark: not every machine has all of them.
    CALLS = ("poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2", "nanosleep",
             "clock_nanosleep", "futex", "restart_syscall")
    # With -f, -ttt and -T: process, when it was called, what, and how long it took. One that has not returned has no
    # duration; one whose line another process has interrupted has it on a second line, with the time of its return.
    LINE = re.compile(r"^\d+ +(\d+\.\d+) .*<(\d+\.\d+)>$")

    def __init__(self, folder):
        self.path = folder / f"sleeper.{uuid.uuid4().hex}"
        calls = ",".join(f"?{name}" for name in self.CALLS)
        # With -D the process is ours as if it were not traced, and strace ends when it does.
        self.prefix = ["strace", "-D", "-f", "-qq", "-ttt", "-T", "-e", f"trace={calls}", "-o", self.path]

    def returns(self, begin, end):
        """How often such a call returned between two times of `time.time()`."""
        found = [self.LINE.match(line) for line in self.path.read_text().splitlines()]
        moments = [float(line[1]) + (0 if " resumed>" in line[0] else float(line[2])) for line in found if line]
        return sum(begin <= moment < end for moment in moments)


class Counter:
    """A running process under callgrind, whose counts can be taken at any moment."""

    def __init__(self, folder):
        self.path = folder / f"counter.{uuid.uuid4().hex}"
        self.prefix = [*callgrind_prefix(self.path), f"--vgdb-prefix={self.path}.vgdb"]

    def take(self, process):
        """What it has spent since the last time."""
        before = set(self.path.parent.glob(f"{self.path.name}.[0-9]*"))
        subprocess.run(["vgdb", f"--pid={process.pid}", f"--vgdb-prefix={self.path}.vgdb", "--wait=10", "dump"],
                       capture_output=True, timeout=PATIENCE_SECONDS, check=True)
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for dump in set(self.path.parent.glob(f"{self.path.name}.[0-9]*")) - before:
                if "totals:" in dump.read_text():
                    return read_callgrind(dump)
            time.sleep(0.05)
        raise AssertionError("callgrind writes no dump")
