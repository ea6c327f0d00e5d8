"""What the agent leaves to the system: its orphans where it is process 1, the programs of one that was killed, and its
start where the system refuses something."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from harness.configuration import status, tls
from harness.files import wait_written
from harness.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.native

def stat_of(pid):
    """A process's state, parent and name; None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    start, rest = text.split("(", 1)
    name, fields = rest.rsplit(")", 1)
    return fields.split()[0], int(fields.split()[1]), name


def children(pid):
    """The children of a process, as (pid, state, name)."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := stat_of(entry.name)) and stat[1] == pid:
            found.append((int(entry.name), stat[0], stat[2]))
    return found


def is_gone(pid):
    stat = stat_of(pid)
    return stat is None or stat[0] == "Z"


@pytest.fixture
def script(tmp_path):
    """Writes an executable shell script and gives its path."""
    def write(name, body):
        path = tmp_path / name
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)
        return path
    return write


@pytest.fixture
def first_process(broker, run_agent):
    """Starts an agent that is process 1; gives it, its process 1, and the process that does the agent's work."""
    keepers = []

    def run(sections):
        agent = run_agent(broker.port, sections, prefix=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
        agent.wait_connected()
        keeper = wait_until(lambda: [pid for pid, _, name in children(agent.pid) if name == "mote"], DEADLINE, "1")[0]
        worker = wait_until(lambda: [pid for pid, _, name in children(keeper) if name == "mote"], DEADLINE, "2")[0]
        keepers.append(keeper)
        return agent, keeper, worker
    yield run
    # unshare(1) itself heeds no SIGTERM.
    for keeper in keepers:
        if not is_gone(keeper):
            os.kill(keeper, signal.SIGKILL)


def test_orphans_are_collected_where_the_agent_is_process_1(first_process, tmp_path):
    _, keeper, worker = first_process(status("1h", 0, a="constant:1"))
    orphans = f"(sh -c 'echo $$ > {tmp_path / 'orphan'}; sleep 0.2' &) ; (sleep 0.1 &) ; exit 0"
    subprocess.run(["nsenter", "-t", str(keeper), "-p", "-m", "sh", "-c", orphans], check=True)
    assert wait_written(tmp_path / "orphan")
    # Neither run nor wait for anyone.
    wait_until(lambda: [pid for pid, _, _ in children(keeper)] == [worker], DEADLINE, "nothing is left of the orphans")


def test_process_1_is_told_what_the_agent_is_told(first_process):
    agent, keeper, worker = first_process(status("1h", 0, a="constant:1"))
    os.kill(keeper, signal.SIGHUP)
    agent.wait_log("info", "agent", "reloaded")
    os.kill(keeper, signal.SIGTERM)
    agent.wait_log("info", "agent", "stopping", reason="SIGTERM")
    assert agent.wait_end() == 0
    assert is_gone(keeper) and is_gone(worker)


def test_process_1_ends_like_the_agent(first_process):
    agent, _, worker = first_process(status("1h", 0, a="constant:1"))
    os.kill(worker, signal.SIGILL)
    agent.wait_log("error", "agent", "crashed", signal="SIGILL")
    # As a shell tells it: process 1 cannot be ended by a signal of its own.
    assert agent.wait_end() == 128 + signal.SIGILL


def descendants(pid):
    return [below for child, _, _ in children(pid) for below in (child, *descendants(child))]


def test_programs_end_with_an_agent_that_is_killed(broker, platform, run_agent, script, tmp_path):
    ready = tmp_path / "ready"
    body = f"trap '' TERM\nsetsid sh -c 'setsid sleep 1000 & echo x > {ready}; sleep 1000' &\nsleep 1000\n"
    agent = run_agent(broker.port, {"command long": {"run": script("long", body)}, **status("1h", 0, a="constant:1")})
    agent.wait_connected()
    broker.wait_subscribed()
    platform.command("long")
    wait_written(ready)
    # The keeper, the program, and what it has started.
    below = wait_until(lambda: len(found := descendants(agent.pid)) >= 5 and found, DEADLINE, "all of it runs")
    agent.signal(signal.SIGKILL)
    wait_until(lambda: all(map(is_gone, below)), DEADLINE, "all of it is ended")


@pytest.mark.parametrize("rights", ["all", "none"])
def test_secrets_of_the_environment_are_closed_to_commands(broker, platform, run_agent, script, tmp_path, rights):
    # The token as some give it, and a key of another program.
    secrets = {"WIOTP_AUTH_TOKEN": "the t0ken", "WIOTP_API_KEY": "the k3y"}
    body = 'cat "/proc/$(cat)/environ" | tr "\\0" "\\n"; cat /proc/$PPID/environ; echo read\n'
    # Without capabilities even root is a user like any other; with them only what is not there cannot be read.
    prefix = {"all": (), "none": ("setpriv", "--bounding-set=-all", "--inh-caps=-all")}[rights]
    agent = run_agent(
        broker.port, {"command look": {"run": script("look", body)}, **status("1h", 0, a="constant:1"),
                      "device": {"auth-token": None}},
        environment={**secrets, "OTHER": "thing"}, prefix=prefix)
    agent.wait_connected()
    broker.wait_subscribed()
    platform.command("look", str(agent.pid))
    output = platform.outcome("look")["output"]
    assert "read" in output and not any(secret in output for secret in secrets.values())
    assert ("OTHER=thing" in output) == (rights == "all")
    assert (output.count("ermission denied") == 2) == (rights == "none")
    # It is still there for a reload.
    agent.reload()
    agent.wait_log("info", "agent", "reloaded")
    assert not agent.find("error", "agent", "reload-refused")


# What README.md says is needed.
STACK_BYTES, ADDRESS_BYTES = 128 << 10, 6 << 20


def test_little_stack_and_address_space_are_enough(
        tls_broker, authority, join_platform, run_agent, script):
    platform = join_platform(tls_broker)
    sections = {**status("500ms", 1, a="loadavg:1", b="disk:/total"), **tls(tls_broker.port, authority),
                "command echo": {"run": script("echo", "cat\n")}}
    prefix = ("prlimit", f"--stack={STACK_BYTES}", f"--as={ADDRESS_BYTES}")
    agent = run_agent(tls_broker.port, sections, prefix=prefix)
    agent.wait_connected()
    tls_broker.wait_subscribed()
    assert platform.next_event("status", where=lambda event: "b" in event.data)
    platform.command("echo", "input")
    assert platform.outcome("echo")["output"] == "input"
    agent.reload()
    agent.wait_log("info", "agent", "reloaded")
    assert agent.stop() == 0


@pytest.mark.parametrize("command", ["quickstart", "check", "sensors", "version"])
@pytest.mark.parametrize(("limit", "words"), [
    (f"--stack={STACK_BYTES - 1}", "the stack is too small"), ("--stack=24576", "the stack is too small"),
    ("--stack=12288", "the stack is too small"), ("--as=1200000", "the system refuses memory")])
def test_an_end_for_want_of_something_says_of_what(program, limit, words, command):
    check_refusal(program, limit, words, command)


def test_an_end_for_want_of_descriptors_says_so(program):
    check_refusal(program, "--nofile=3", "file descriptors", "quickstart")


def check_refusal(program, limit, words, command):
    done = subprocess.run(
        ["prlimit", limit, *program.command, command], env={}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 71 and words in done.stderr and len(done.stderr.splitlines()) == 1, done


def test_output_that_nobody_takes_is_said(program):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*program.command, "version"], env={}, stdin=subprocess.DEVNULL, stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
    assert (done.returncode, done.stderr) == (74, "mote: standard output cannot be written\n")


@pytest.mark.parametrize("kind", ["ifb", "veth", "bridge"])
def test_no_made_up_address_names_the_machine(program, write_configuration, kind):
    path = write_configuration(1, {**status("1h", 0, a="constant:1"), "device": {"id": None}})
    script = f"mount -t sysfs none /sys && ip link add first0 type {kind} && exec \"$@\""
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", script, "-", *program.command, "check", "--config", path],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 78, done
    assert "id is missing; expected id = NAME in [device], as no network device has a permanent address" in done.stderr


def test_a_missing_mount_is_not_the_file_system_above_it(broker, platform, run_agent, tmp_path):
    """Mounts of a namespace of their own: one that fstab names, one that goes while the agent runs, and no mount."""
    folders = [tmp_path / name for name in ("data disk", "card", "plain")]
    for folder in folders:
        folder.mkdir()
    in_table = str(folders[0]).replace(" ", "\\040")
    table = tmp_path / "fstab"
    table.write_text(f"# {folders[2]} is none\n/dev/sda1\t{in_table}  ext4 defaults 0 2\n")
    script = f"mount --bind {table} /etc/fstab && mount -t tmpfs -o size=1m tmpfs {folders[1]} && exec \"$@\""
    agent = run_agent(
        broker.port, status("200ms", 1, **{name: {"read": f"disk:{folder}/total"} for name, folder in
                                           zip(("data", "card", "plain"), folders)}),
        prefix=("unshare", "--mount", "sh", "-c", script, "-"))
    agent.wait_log("warning", "sensor", "failed", sensor="data", reason="not-mounted")
    event = platform.next_event("status", where=lambda event: "card" in event.data and "plain" in event.data)
    assert event.data["card"] == 1 << 20 and "data" not in event.data

    def inside(*command):
        subprocess.run(["nsenter", "-t", str(agent.pid), "-m", *command], check=True)

    # By now it is read in place.
    for _ in range(5):
        platform.next_event("status", where=lambda event: "card" in event.data)
    inside("umount", folders[1])
    agent.wait_log("warning", "sensor", "failed", sensor="card", reason="not-mounted")
    inside("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folders[1])
    inside("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folders[0])
    event = platform.next_event("status", where=lambda event: "card" in event.data and "data" in event.data)
    assert (event.data["card"], event.data["data"]) == (2 << 20, 3 << 20) and "plain" in event.data
    assert not agent.find("warning", "sensor", "failed", sensor="plain")


# Has one system call fail with ENOSYS, as an old kernel does, and executes what follows.
WITHOUT_CALL = """
import ctypes, os, struct, sys
number, (program, *arguments) = int(sys.argv[1]), sys.argv[2:]
libc = ctypes.CDLL(None, use_errno=True)
filter = b"".join(struct.pack("=HBBI", *line) for line in [
    (0x20, 0, 0, 0),                   # the call's number
    (0x15, 0, 1, number),              # is it this one?
    (0x06, 0, 0, 0x00050000 | 38),     # ENOSYS
    (0x06, 0, 0, 0x7fff0000)])         # anything else is allowed
memory = ctypes.create_string_buffer(filter)
description = struct.pack("=HxxxxxxQ", len(filter) // 8, ctypes.addressof(memory))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, description) == 0, ctypes.get_errno()
os.execv(program, [program, *arguments])
"""
MEMFD_CREATE = {"x86_64": 319, "aarch64": 279}


def test_commands_run_where_there_are_no_files_in_memory(broker, platform, run_agent, script, tmp_path):
    # Before Linux 3.17.
    prefix = (sys.executable, "-c", WITHOUT_CALL, str(MEMFD_CREATE[os.uname().machine]))
    agent = run_agent(
        broker.port, {"command echo": {"run": script("echo", "cat\n")}, **status("1h", 0, a="constant:1")},
        prefix=prefix)
    agent.wait_connected()
    broker.wait_subscribed()
    platform.command("echo", "input " + "x" * 500)
    outcome = platform.outcome("echo")
    assert (outcome["outcome"], outcome["output"]) == ("ok", "input " + "x" * 500)
    # Other tests have folders there whose names begin likewise.
    left = [path for folder in ("/dev/shm", "/run", "/tmp") for path in pathlib.Path(folder).glob("mote-*")
            if re.fullmatch(r"mote-\d+", path.name)]
    assert not left
