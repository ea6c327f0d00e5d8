"""What a peer can cause fills no board: lines are counted instead of written, and a log that is a file is bounded."""

import subprocess

import pytest

from harness import packets
from harness.configuration import configuration, status
from harness.waiting import DEADLINE, end_process

pytestmark = pytest.mark.native
BURST = 256
FLOOD = 20_000
BOUND = 16 * 1024


def flood(connection, count):
    """Sends so many commands with nothing in them, and waits until the agent has taken them."""
    connection.expect(packets.SUBSCRIBE)
    connection.send(packets.publish("iot-2/cmd/nothing/fmt/json", b"") * count)
    connection.send(packets.publish("iot-2/cmd/nothing/fmt/json", b"", 1, 7))
    connection.expect(packets.PUBACK)


def test_a_flood_of_commands_is_a_burst_and_a_count(start_peer, run_agent):
    peer = start_peer()
    agent = run_agent(peer.port, {**status("1h", 0, a="constant:1"), "command other": {"run": "/bin/true"}})
    flood(peer.accept(), FLOOD)
    # Other kinds of lines are not held back, and the account is given at the end at the latest.
    assert agent.stop() == 0
    assert agent.find("info", "agent", "stopping") and agent.find("info", "agent", "stopped")
    written = len(agent.find("warning", "command", "finished"))
    accounts = agent.find("warning", "log", "lines-left-out", line="command finished")
    assert written + sum(int(line.fields["count"]) for line in accounts) == FLOOD + 1
    assert BURST <= written <= BURST + 10


@pytest.mark.parametrize("mode", ["ab", "wb"], ids=["appending", "from-the-beginning"])
def test_a_log_that_is_a_file_stays_small(start_peer, program, write_configuration, tmp_path, mode):
    peer = start_peer()
    path = write_configuration(configuration(peer.port, status("1h", 0, a="constant:1")))
    log = tmp_path / "mote.log"
    with log.open(mode) as file:
        process = subprocess.Popen(
            [*program.command, "run", "--config", path, "--log-level", "debug", "--log-size", f"{BOUND // 1024}KB"],
            env={}, stdin=subprocess.DEVNULL, stderr=file)
    try:
        flood(peer.accept(), FLOOD)
        process.terminate()
        assert process.wait(DEADLINE) == 0
    finally:
        end_process(process)
    assert BOUND // 2 <= log.stat().st_size <= BOUND
    lines = log.read_text().splitlines()
    assert lines[-2].startswith("warning log lines-left-out") and lines[-1].startswith("info agent stopped")
    assert all(line.split(" ")[0] in ("info", "warning", "debug") for line in lines), "each line is whole"
