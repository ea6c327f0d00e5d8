"""Modbus against pymodbus, over TCP and a pair of terminals."""

import os
import pathlib
import select
import socket
import subprocess
import threading
import tty

import pytest

from harness.configuration import status
from harness.waiting import DEADLINE, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build/tools/modbus/bin/python"
SERVER = ROOT / "Tests/EndToEnd/harness/modbus_server.py"
# What stands behind the unit, and the value.
NUMBERS = {
    "plain": ("holding=100", 555), "signed": ("holding=101 type=s16", -1), "float": ("holding=102 type=f32", 123.456),
    "swapped": ("holding=104 type=f32 order=cdab", 123.456), "long": ("holding=106 type=s32", -123456),
    "longest": ("holding=108 type=u64", 1234567890123), "input": ("input=1 type=f32", 236.24573),
    "coil": ("coil=2", 1), "discrete": ("discrete=0", 0)}


class Server:
    def __init__(self, kind, place):
        assert PYTHON.exists(), f"{PYTHON} is missing; Scripts/setup test installs it"
        self._process = subprocess.Popen([PYTHON, "-B", SERVER, kind, str(place)], stdout=subprocess.PIPE, text=True)
        self.requests = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self.requests.append(line.strip())

    def close(self):
        self._process.kill()
        self._process.wait()


class Line:
    """Two terminals with a line between them that echoes what one side sends, behind some noise, as RS-485 may."""

    def __init__(self):
        self._ends = [os.openpty(), os.openpty()]
        for master, slave in self._ends:
            tty.setraw(master)
            tty.setraw(slave)
        self.paths = [os.ttyname(slave) for _, slave in self._ends]
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self):
        (ours, _), (theirs, _) = self._ends
        while True:
            ready, _, _ = select.select([ours, theirs, self._stop], [], [])
            if self._stop in ready:
                return
            if ours in ready:
                request = os.read(ours, 1024)
                os.write(ours, b"\x00\xff" + request)
                os.write(theirs, request)
            if theirs in ready:
                os.write(ours, os.read(theirs, 1024))

    def close(self):
        os.write(self._stopped, b"x")
        self._thread.join(DEADLINE)
        for descriptor in [self._stop, self._stopped, *self._ends[0], *self._ends[1]]:
            os.close(descriptor)


@pytest.fixture
def closing_all():
    made = []
    yield lambda thing: made.append(thing) or thing
    for thing in reversed(made):
        thing.close()


def serve_tcp(closing_all):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = closing_all(Server("tcp", port))

    def answers():
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False

    wait_until(answers, DEADLINE, "the server listens")
    return server, f"tcp://127.0.0.1:{port} unit=17"


def serve_line(closing_all):
    line = closing_all(Line())
    return closing_all(Server("serial", line.paths[1])), f"{line.paths[0]} unit=17 baud=19200"


@pytest.mark.parametrize("serve", [serve_tcp, serve_line])
def test_numbers_of_every_kind(broker, platform, run_agent, closing_all, serve):
    server, place = serve(closing_all)
    sensors = {name: f"modbus:{place} {words}" for name, (words, _) in NUMBERS.items()}
    run_agent(broker.port, status("4s", 1, **sensors))
    event = platform.next_event("status")
    # On one line one is asked behind the other, and what comes later is in the next event.
    for _ in range(5):
        if set(NUMBERS) <= set(event.data):
            break
        event = platform.next_event("status")
    assert {name: event.data[name] for name in NUMBERS} == {name: value for name, (_, value) in NUMBERS.items()}
    # All holding registers with one request. What the unit has told of itself may come behind the event.
    requests = {"3 100 12", "4 1 2", "1 2 1", "2 0 1"}
    wait_until(lambda: requests <= set(server.requests), DEADLINE, "all requests")
    assert requests == set(server.requests)


def test_what_a_unit_does_not_have(broker, platform, run_agent, closing_all):
    _, place = serve_tcp(closing_all)
    agent = run_agent(broker.port, {
        "agent": {"source-timeout": "500ms"},
        **status("2s", 1, there=f"modbus:{place} holding=100", beyond=f"modbus:{place} holding=5000",
                 dead=f"modbus:{place.replace('=17', '=18')} holding=100",
                 closed="modbus:tcp://127.0.0.1:1 holding=0")})
    event = platform.next_event("status")
    assert event.data == {"there": 555}
    agent.wait_log("warning", "sensor", "failed", sensor="beyond", reason="not-available")
    agent.wait_log("warning", "sensor", "failed", sensor="dead", reason="timeout")
    agent.wait_log("warning", "sensor", "failed", sensor="closed", reason="input-output-error")
