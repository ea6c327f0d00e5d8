"""Lines of a real GPIO chip, the PL061 of QEMU's `virt`, moved from outside: edges, counters, who has what."""

import dataclasses
import json
import pathlib
import socket
import time

import pytest

from emulated import board as boards
from emulated.board import PATIENCE
from emulated.site import INITTAB
from harness.waiting import DEADLINE, wait_until

CHIP = "9030000.pl061"
DOOR = "iot-2/type/edge/id/e1/evt/door/fmt/json"
OUTCOME = "iot-2/type/edge/id/e1/evt/command/fmt/json"
COUNTS = "iot-2/type/edge/id/e1/evt/counts/fmt/json"
LINES = {
    "event door": {"interval": "1h"},
    "sensor open": {"event": "door", "read": f"gpio:{CHIP}/1", "type": "boolean"},
    "event counts": {"interval": "1s"},
    "sensor pulses": {"event": "counts", "read": f"gpio:{CHIP}/2 count"},
    "sensor flow": {"event": "counts", "read": f"gpio:{CHIP}/2 frequency"},
    "sensor lost": {"event": "counts", "read": f"gpio:{CHIP}/2 lost"},
    "sensor edges": {"event": "counts", "read": "file:/run/edges"},
    "sensor still": {"event": "counts", "read": "gpio:gpiochip0/4 active-low bias=pull-up"},
    "sensor slow": {"event": "counts", "read": f"gpio:{CHIP}/5 debounce=20ms count"},
    # The kernel's own driver for the power key has it.
    "sensor power": {"event": "counts", "read": f"gpio:{CHIP}/3"},
    "output relay": {"write": f"gpio:{CHIP}/6", "pause": "0"},
    "output lamp": {"write": f"gpio:{CHIP}/7 active-low", "safe": "1", "command": "light"},
    # The kernel's own driver has it, as above.
    "output key": {"write": f"gpio:{CHIP}/3"},
    "sensor nowhere": {"event": "counts", "read": "gpio:NOWHERE"},
}


# What the kernel has counted of the line of the pulses, and what there is to read.
WATCH = """#!/bin/sh
[ -e /run/listed ] || mote sensors >/dev/console
touch /run/listed
while sleep 0.2; do
  awk '/pl061 +2 Edge/ { print $2 }' /proc/interrupts >/run/edges.new && mv /run/edges.new /run/edges
done
"""


class Chip:
    """The chip's side that is not the board's."""

    def __init__(self, folder):
        self._test = self._connect(folder / "qtest")
        self._monitor = self._connect(folder / "monitor")
        self._read(self._monitor)
        self._ask("qmp_capabilities")
        self._path = next(f"/machine/unattached/{entry['name']}"
                          for entry in self._ask("qom-list", path="/machine/unattached")
                          if entry["type"] == "child<pl061>")
        # What its outputs have done, as `raise 6`.
        self.outputs = []

    @staticmethod
    def _connect(path):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE * PATIENCE)
        connection.connect(str(path))
        return connection.makefile("rwb", buffering=0)

    @staticmethod
    def _read(stream):
        return json.loads(stream.readline())

    def _ask(self, name, **arguments):
        self._monitor.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while "return" not in (said := self._read(self._monitor)):
            assert "error" not in said, said
        return said["return"]

    def _order(self, text):
        self._test.write(f"{text}\n".encode())
        while not (said := self._test.readline().decode()).startswith("OK"):
            assert said.startswith("IRQ "), said
            self.outputs.append(said[4:].strip())

    def set(self, line, level):
        self._order(f"set_irq_in {self._path} unnamed-gpio-in {line} {level}")

    def watch_outputs(self):
        """Has their changes told from now on."""
        self._order(f"irq_intercept_out {self._path}")

    def outputs_so_far(self):
        """Also those that have not been read yet: nobody minds line 0."""
        self.set(0, 0)
        return self.outputs

    def pulse(self, line, count, seconds):
        """So many pulses, one each `seconds`."""
        for _ in range(count):
            self.set(line, 1)
            time.sleep(seconds / 2)
            self.set(line, 0)
            time.sleep(seconds / 2)

    def close(self):
        self._test.close()
        self._monitor.close()


@pytest.fixture(scope="module")
def site(make_site, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chip")
    model = boards.MODELS["armv7"]
    boards.MODELS["lines"] = dataclasses.replace(model, qemu=[
        *model.qemu, "-accel", "tcg", "-qtest", f"unix:{folder / 'qtest'},server=on,wait=off", "-qtest-log", "none",
        "-qmp", f"unix:{folder / 'monitor'},server=on,wait=off"])
    made = make_site("lines", inittab=INITTAB.read_text() + "::respawn:/usr/bin/watch\n", **LINES)
    made.application.subscribe(DOOR)
    made.application.subscribe(COUNTS)
    made.application.subscribe(OUTCOME)
    made.board.root.add_program("usr/bin/watch", WATCH)
    made.board.power_on()
    wait_until((folder / "qtest").exists, DEADLINE, "QEMU is ready")
    made.chip = Chip(pathlib.Path(folder))
    yield made
    made.chip.close()


def next_of(site, topic):
    """The next event's members."""
    return json.loads(site.application.next(topic, timeout=DEADLINE * PATIENCE).payload)["d"]


def counts_when(site, condition):
    """The first counts for which a condition holds."""
    end = time.monotonic() + DEADLINE * PATIENCE
    while not condition(found := next_of(site, COUNTS)):
        assert time.monotonic() < end, found
    return found


def test_an_edge_publishes_at_once(site):
    """The event is due once an hour."""
    assert next_of(site, DOOR) == {"open": False}
    for level in (1, 0, 1, 0):
        site.chip.set(1, level)
        assert next_of(site, DOOR) == {"open": bool(level)}


def test_pulses_are_counted(site):
    first = counts_when(site, lambda found: True)
    site.chip.pulse(2, 50, 0.02)
    found = counts_when(site, lambda found: found["pulses"] + found["lost"] >= first["pulses"] + 50)
    assert found["pulses"] == first["pulses"] + 50


def test_a_thousand_pulses_a_second(site):
    """All but those that come too close to each other in the emulator: the kernel itself makes one edge of them."""
    before = counts_when(site, lambda found: "edges" in found and found["flow"] == 0)["pulses"]
    site.chip.pulse(2, 3000, 0.001)
    counts_when(site, lambda found: found["pulses"] > before and found["flow"] == 0)
    found = counts_when(site, lambda found: found["flow"] == 0)
    assert before + 1000 < found["pulses"] <= before + 3000 and found["lost"] == 0
    assert 0.98 * found["edges"] < found["pulses"] <= found["edges"]


def test_levels_and_faults(site):
    assert counts_when(site, lambda found: True)["still"] == 1
    site.chip.set(4, 1)
    assert counts_when(site, lambda found: found["still"] == 0)
    assert "power" not in next_of(site, COUNTS)
    # Nothing is taken for the list.
    site.board.wait_console("gpio:gpiochip0/3 ")
    site.board.wait_console("/dev/gpiochip0 line 3, input, of GPIO Key Poweroff")
    site.board.wait_console('sensor failed sensor=power reason=busy owner="GPIO Key Poweroff"')
    site.board.wait_console("sensor failed sensor=nowhere reason=not-found")


def test_bounces_are_no_pulses(site):
    before = counts_when(site, lambda found: True)["slow"]
    site.chip.pulse(5, 5, 0.002)
    time.sleep(0.1)
    site.chip.set(5, 1)
    counts_when(site, lambda found: found["slow"] == before + 1)


def command(site, name, **members):
    """What comes of a command, without its name."""
    site.application.publish(f"iot-2/type/edge/id/e1/cmd/{name}/fmt/json", json.dumps({"d": members}))
    said = next_of(site, OUTCOME)
    assert said.pop("command") == name
    return said


def test_outputs_are_set(site):
    site.board.wait_console("output failed output=key reason=busy")
    site.chip.watch_outputs()
    assert command(site, "relay", value=1) == {"outcome": "ok", "value": 1}
    assert site.chip.outputs_so_far() == ["raise 6"]
    assert command(site, "relay", value=2) == {"outcome": "refused"}
    assert command(site, "key", value=1) == {"outcome": "failed"}
    # Active means low.
    assert command(site, "light", value=0) == {"outcome": "ok", "value": 0}
    assert site.chip.outputs_so_far() == ["raise 6", "raise 7"]
    assert command(site, "relay", value=1, **{"for": "300ms"}) == {"outcome": "ok", "value": 1}
    wait_until(lambda: site.chip.outputs_so_far() == ["raise 6", "raise 7", "lower 6"], DEADLINE * PATIENCE,
               "the pulse is over")
