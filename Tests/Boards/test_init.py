"""What starts the agent, as process 1 of an emulated board: updates on trial, and whoever is killed comes back."""

import pytest

from emulated.files import FETCHED, ROOT

FIRMWARE = {"installer": "agent", "key-file": "/etc/mote/firmware.pub", "compatible": "acme-e7"}
# A program for the right machine, which ends with 127 as it finds itself called something that it is not.
NO_AGENT = FETCHED / "busybox-arm64/bin/busybox"


@pytest.fixture(scope="module", params=["busybox", "openrc"])
def site(request, make_site):
    # Under OpenRC the agent has a user of its own, who may not restart the machine.
    made = make_site("aarch64", init=request.param, firmware=FIRMWARE,
                     management={"reboot": "yes" if request.param == "busybox" else "no"})
    made.board.power_on()
    made.wait_managed()
    return made


def starts(site):
    return site.board.console.count("info agent starting")


def test_a_program_that_ends_is_given_up(site):
    """It has had its two tries then, and the one that came with the system goes on."""
    bundle = site.bundle("1.5.0", NO_AGENT.read_bytes())
    said = site.wait_ended(site.download(bundle, "1.5.0"))
    assert said["status"] == 0, said
    said = site.wait_ended(site.ask("firmware/update"))
    assert said["status"] != 0, said
    site.board.wait_console("warning supervise reverted slot=a reason=exited")
    assert site.board.console.count("warning supervise trial slot=a") == 2
    assert site.version() == "1.4.0"
    site.event_after_now()


def test_whoever_is_killed_comes_back(site):
    """The supervisor, too, and the agent that it had is gone."""
    before = starts(site)
    site.board.type("kill -9 $(pidof mote | tr ' ' '\\n' | sort -n | head -n 1)")
    site.board.wait(lambda: starts(site) == before + 1, "the agent starts again")
    site.event_after_now()
    # Nothing is in the table of processes twice.
    site.board.type("echo agents: $(pidof mote | wc -w)")
    site.board.wait_console("agents: 2")


@pytest.mark.on_request
@pytest.mark.seconds(90)
def test_a_program_that_proves_itself_stays(site):
    """The power is cut while it is on trial; that is no failure of its, and afterwards nothing goes back."""
    bundle = site.bundle("1.6.0", (ROOT / "build/aarch64/mote").read_bytes())
    said = site.wait_ended(site.download(bundle, "1.6.0"))
    assert said["status"] == 0, said
    trials = site.board.console.count("warning supervise trial")
    request = site.ask("firmware/update")
    site.board.wait_console("warning supervise trial", trials + 1)
    site.board.cut_power()
    site.board.power_on()
    said = site.wait_ended(request)
    assert said["status"] == 0, said
    assert site.version() == "1.6.0"
    site.board.cut_power()
    site.board.power_on()
    site.event_after_now()
    assert site.version() == "1.6.0"
    # What runs is of a slot, and not what came with the system.
    site.board.type("ls -l /proc/[0-9]*/exe | grep firmware")
    site.board.wait_console("-> /var/lib/mote/firmware/")


@pytest.mark.on_request
@pytest.mark.seconds(60)
def test_one_that_ends_again_and_again_is_started_again(site):
    """Whatever counts starts does not count for ever."""
    before = starts(site)
    site.board.type("for i in $(seq 12); do kill -9 $(pidof mote); sleep 2; done; echo 'all are' killed")
    site.board.wait_console("all are killed")
    site.event_after_now()
    assert starts(site) >= before + 12
