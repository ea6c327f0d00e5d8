"""How the work of starting grows with the configuration, counted by callgrind: no clock is looked at."""

import re
import shutil
import subprocess

import pytest

from harness.configuration import status
from harness.waiting import DEADLINE

pytestmark = pytest.mark.native

FEW, MANY = 50, 200


def sections(count):
    """Sensors of as many different files."""
    return {**status("1s", 0), "mqtt": {"packet-size": "64KB", "queue-size": "64KB"}, **{
        f"sensor s{number}": {"event": "status", "read": f"file:/nowhere/{number}", "scale": "0.5", "decimals": 1}
        for number in range(count)}}


@pytest.mark.parametrize("command", [["check"], ["run", "--for", "10ms"]], ids=["check", "run"])
def test_four_times_the_sensors_take_four_times_the_work(program, write_configuration, tmp_path, command):
    assert shutil.which("valgrind"), "valgrind is missing; Scripts/setup installs it"
    # Away from its symbols, whose format Debian's valgrind cannot read.
    binary = shutil.copy(program.command[0], tmp_path / "mote")

    def instructions(count):
        path = write_configuration(1, sections(count))
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary, *command, "--config", path],
            env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * DEADLINE, check=False)
        assert done.returncode == 0, done.stderr
        return int(re.search(r"Collected : (\d+)", done.stderr)[1])

    none, few, many = instructions(1), instructions(FEW), instructions(MANY)
    # A little more: one table of the agent has no index.
    assert many - none < 1.25 * MANY / FEW * (few - none), f"{none}, {few}, {many}"
