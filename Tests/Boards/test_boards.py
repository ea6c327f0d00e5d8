"""The agent on emulated boards with real kernels: events, restarts of the machine, a reset, power cuts.

The tests of one board go on where the one before has left it.
"""

import subprocess

import pytest

from emulated.files import ROOT

# The first reset hangs, as if the power failed in it.
RESET = """
echo reset >>/var/lib/resets
sync
echo 'board: resets' >/dev/console
[ "$(wc -l </var/lib/resets)" != 1 ] || exec sleep 600
"""


@pytest.fixture(scope="module", params=["aarch64", "armv7", "armv6"])
def site(request, make_site):
    made = make_site(request.param, reset=RESET)
    made.board.power_on()
    return made


def boots(site):
    """The numbers of all starts of the kernel so far."""
    return [line.split()[-1] for line in site.board.console.splitlines() if "board: started" in line]


def test_armv7_asks_for_no_neon():
    """There are processors without: Tegra 2, Armada, AST2600."""
    said = subprocess.run(["readelf", "--arch-specific", ROOT / "build/armv7/mote.debug"], capture_output=True,
                          text=True, check=True).stdout
    assert "Tag_FP_arch: VFPv3-D16" in said and "Tag_Advanced_SIMD_arch" not in said


def test_events_arrive(site):
    first = site.next_event()
    # With 256 MB, of which the kernel keeps some for itself, or with the 512 MB of a Raspberry Pi Zero.
    assert 150 << 20 < first["memory"] < 512 << 20 and first["load"] >= 0
    # The one at the start may be followed at once by the first that is due.
    site.next_event()
    later = site.next_event()
    assert first["uptime"] < later["uptime"] < 600 and first["received"] < later["received"]


def test_a_restart(site):
    """The kernel itself restarts, and what was asked for is complete when it is back."""
    site.wait_managed()
    request = site.ask("device/reboot")
    site.board.wait_restart()
    assert site.board.events[-1]["data"]["reason"] == "guest-reset"
    said = site.wait_ended(request)
    assert said["status"] == 0, said
    assert len(set(boots(site))) == 2
    assert site.event_after_now()["uptime"] < 600


def test_a_power_cut_during_a_reset(site):
    """Nobody knows how far it came: it is reported as failed, is not done again, and the board goes on."""
    request = site.ask("device/factoryReset")
    site.board.wait_console("board: resets")
    site.board.cut_power()
    site.board.power_on()
    said = site.wait_ended(request)
    assert said["status"] != 0, said
    assert len(set(boots(site))) == 3
    site.event_after_now()


def test_a_reset(site):
    """It is done, the board restarts behind it, and then it is complete."""
    request = site.ask("device/factoryReset")
    site.board.wait_restart()
    said = site.wait_ended(request)
    assert said["status"] == 0, said
    assert len(set(boots(site))) == 4 and site.board.console.count("board: resets") == 2


def test_a_power_cut_during_a_restart(site):
    """The agent has said its goodbye, and the power fails: the machine has restarted all the same."""
    gone = len(site.goodbyes())
    request = site.ask("device/reboot")
    site.board.wait(lambda: len(site.goodbyes()) > gone, "the agent's goodbye")
    site.board.cut_power()
    site.board.power_on()
    said = site.wait_ended(request)
    assert said["status"] == 0, said
    site.event_after_now()
