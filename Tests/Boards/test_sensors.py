"""A sensor of an emulated board on its I2C bus, whose value is set from outside and whose driver is taken away."""

import pytest

from emulated.site import INITTAB

pytestmark = pytest.mark.on_request
BUS, DRIVER = "/sys/bus/i2c/devices/i2c-8", "/sys/bus/i2c/drivers/lm75"
SENSOR = {"sensor temperature": {"event": "status", "read": "hwmon:tmp105/temp1"}}


@pytest.fixture(scope="module")
def site(make_site):
    made = make_site("ast2600", inittab=f"::sysinit:/etc/rc.sensors\n{INITTAB.read_text()}", **SENSOR)
    made.board.root.add_program("etc/rc.sensors", f"#!/bin/sh\necho tmp105 0x48 >{BUS}/new_device\n")
    made.board.power_on()
    made.board.set("sensor", "temperature", 21500)
    return made


def event_with(site, condition):
    """The first event for which a condition holds."""
    return site.board.wait(lambda: condition(event := site.next_event()) and event, "an event")


@pytest.mark.parametrize("thousandths", [42500, -12000, 0, 127500])
def test_a_temperature_arrives(site, thousandths):
    """Steps are a sixteenth of a degree."""
    site.board.set("sensor", "temperature", thousandths)
    assert event_with(site, lambda event: event.get("temperature") == thousandths / 1000)


def test_a_driver_that_is_taken_away_comes_back(site):
    """The chip has another number then, and another value."""
    site.board.type(f"echo 8-0048 >{DRIVER}/unbind")
    event = event_with(site, lambda event: "temperature" not in event)
    assert event["uptime"] > 0
    site.board.wait_console("warning sensor failed sensor=temperature reason=not-found")
    site.board.set("sensor", "temperature", 33000)
    site.board.type(f"echo 8-0048 >{DRIVER}/bind")
    event_with(site, lambda event: event.get("temperature") == 33)
    site.board.wait_console("sensor recovered sensor=temperature")
