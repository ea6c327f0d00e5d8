"""The commands of the README, word for word."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.native

ROOT = pathlib.Path(__file__).resolve().parents[2]
EVENT = re.compile(r"^\d{4}-\d\d-\d\dT\S+ mote \S+ status json \{\"d\":\{.*\}", re.MULTILINE)
LINK = re.compile(r"http://127\.0\.0\.1:\d+/quickstart/#/device/mote-[0-9a-f]{8}$", re.MULTILINE)


def script(name, *arguments, timeout=140):
    return subprocess.run([ROOT / "Scripts" / name, *arguments], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, check=False)


def children_of(group):
    """Processes of a session."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == group and "Z" != (folder / "stat").read_text().rsplit(")", 1)[1][1]:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


def test_quickstart_stops_by_itself_after_events_with_numbers():
    done = script("quickstart", "--for", "8s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(EVENT.findall(done.stdout)) >= 2, done.stdout
    assert len(LINK.findall(done.stdout)) == 1, done.stdout
    assert "info mqtt connected" in done.stderr


def test_quickstart_stops_everything_on_control_c():
    process = subprocess.Popen([ROOT / "Scripts/quickstart"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, stdin=subprocess.DEVNULL, start_new_session=True)
    for line in process.stdout:
        if EVENT.match(line):
            break
    else:
        raise AssertionError("no event came")
    # A terminal sends the signal to all of its foreground processes.
    os.killpg(process.pid, signal.SIGINT)
    process.stdout.read()
    assert process.wait(DEADLINE) == 130
    wait_until(lambda: not children_of(process.pid), DEADLINE, "everything it started has ended")


@pytest.mark.parametrize("arguments", [("--for",), ("--for", "20"), ("--port", "1")], ids=" ".join)
def test_quickstart_tells_wrong_usage(arguments):
    done = script("quickstart", *arguments)
    assert done.returncode != 0 and arguments[0] in done.stderr


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "Scripts").iterdir())
                                  if path.is_file() and os.access(path, os.X_OK)])
def test_every_script_explains_itself(name):
    done = script(name, "--help")
    assert done.returncode == 0 and f"Scripts/{name}" in done.stdout, done.stdout + done.stderr


def test_a_second_setup_does_nothing():
    assert script("setup").returncode == 0
    done = script("setup")
    # Whatever it does takes time, and is told: fetching, unpacking, installing, making.
    assert done.returncode == 0 and all(" ready" in line for line in done.stdout.splitlines()), done.stdout


def test_lint_finds_what_it_looks_for():
    planted = ROOT / "Sources/Bytes/Planted.swift"
    wrong = ["import CLinux", "public class Wrong { var text: String = \"\" }", "func f() { print(1); g() as! Int }",
             "let path = \"/ro" + "ot/x\"", "// DEVIATION" + "(unknown): none", "x" * 121, "let a: Double = 0"]
    try:
        planted.write_text("\n".join(wrong) + "\n")
        done = script("lint")
    finally:
        planted.unlink()
    assert done.returncode == 1
    for number in range(1, len(wrong) + 1):
        assert f"Sources/Bytes/Planted.swift:{number}:" in done.stdout, f"line {number} was not found\n{done.stdout}"
