"""Mote's agent as a managed device, and an operator at the other end."""

import pytest

from harness.configuration import ini
from harness.machine import Machine
from harness.waiting import DEADLINE, wait_until
from operating import Operator
from rest import api
from service import ORGANIZATION, TOKEN


@pytest.fixture
def operator(service, motectl, tmp_path):
    """An operator of a platform in memory."""
    return Operator(motectl, service, tmp_path / "home")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "machine")


@pytest.fixture
def start_mote(service, start_agent, tmp_path, machine):
    """Starts the agent as device e1, managed, with a program for each action that notes that it ran."""
    def start(body="", management=None, **sections):
        for name in ("restart", "reset"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path / 'ran'}\n{body}\n")
            (tmp_path / name).chmod(0o755)
        path = tmp_path / "mote.conf"
        path.touch(mode=0o600)
        path.write_text(ini({
            "device": {"org": ORGANIZATION, "type": "edge", "id": "e1", "auth-token": TOKEN},
            "server": {"host": "127.0.0.1", "port": service.port, "tls": "no", "allow-plaintext-token": "yes"},
            "mqtt": {"connect-delay-max": "0s"},
            "management": {"reboot": tmp_path / "restart", "factory-reset": tmp_path / "reset",
                           "firmware-version": "1.4.0", "location": "hall 3", **(management or {})},
            "agent": {"control-socket": tmp_path / "control"},
            "event status": {"interval": "1h"}, **sections}))
        agent = start_agent("run", "--config", path, prefix=machine.prefix)
        agent.wait_log("info", "management", "managed")
        return agent
    return start


def ran(tmp_path):
    """The programs that ran so far."""
    path = tmp_path / "ran"
    return path.read_text().split() if path.exists() else []


def test_it_is_there(operator, service, start_mote):
    """The platform knows the device, and what it may ask of it."""
    start_mote()
    device = api(service, "GET", "/device/types/edge/devices/e1").json
    assert device["deviceInfo"]["fwVersion"] == "1.4.0" and device["deviceInfo"]["descriptiveLocation"] == "hall 3"
    management = api(service, "GET", "/device/types/edge/devices/e1/mgmt").json
    assert management["supports"] == {"deviceActions": True, "firmwareActions": False, "bundles": []}
    assert "1.4.0" in operator.run("devices")
    # A place that a person notes is taken, and needs no answer.
    placed = api(service, "PUT", "/device/types/edge/devices/e1/location", {"latitude": 48.1, "longitude": 11.5})
    assert placed.status == 200


def test_a_restart(operator, service, start_mote, machine, tmp_path):
    """It is complete when the device is back from it, and not when only the agent is."""
    agent = start_mote()
    assert operator.run("reboot", "edge", "e1").startswith("requested ")
    wait_until(lambda: ran(tmp_path), DEADLINE, "the program runs")
    agent.process.kill()
    agent.wait_end()
    request, = api(service, "GET", "/mgmt/requests").json["results"]
    assert request["complete"] is False
    machine.restart()
    start_mote()

    def status():
        return api(service, "GET", f"/mgmt/requests/{request['id']}/deviceStatus/edge/e1").json

    wait_until(lambda: status()["complete"], DEADLINE, "the request is complete")
    assert status()["status"] == 0
    assert ran(tmp_path) == ["restart"]


def test_a_restart_that_fails(operator, start_mote, tmp_path):
    """The operator learns why, although the device had said that it would restart."""
    start_mote("exit 3")
    told = operator.run("reboot", "edge", "e1", "--wait", status=1)
    assert "failed" in told and "500: status 3" in told
    assert ran(tmp_path) == ["restart"]


def test_a_reset(operator, start_mote, tmp_path):
    """A reset, whose restart here comes to nothing more: the program for it has no effect."""
    agent = start_mote(f'[ "$0" = {tmp_path / "reset"} ] || exit 1')
    told = operator.json("factory-reset", "edge", "e1", "--wait", "--yes")
    assert told[-1]["complete"] is True and told[-1]["status"] == 0
    assert ran(tmp_path) == ["reset", "restart"]
    agent.wait_log("error", "management", "action-failed", action="reboot", reason="status")


def test_a_custom_action(service, start_mote, tmp_path):
    """The platform's request is complete when the program has ended, and has failed where that has."""
    bundle = {"bundleId": "tools", "displayName": {"en_US": "Tools"}, "actions": {"calibrate": {
        "actionDisplayName": {"en_US": "Calibrate"},
        "parameters": [{"name": "zero-point", "value": "^-?[0-9]{1,3}$", "required": True}]}}}
    program = tmp_path / "calibrate"
    program.write_text(f'#!/bin/sh\necho "$MOTE_PARAM_zero_point" >> {tmp_path / "ran"}\n'
                       '[ "$MOTE_PARAM_zero_point" -ge 0 ] || { echo below zero; exit 4; }\n')
    program.chmod(0o755)
    action = {"action tools/calibrate": {"run": program}}
    # The platform does not know it yet, and the standard actions work all the same.
    agent = start_mote(**action)
    assert agent.find("warning", "management", "refused", code="403")
    management = "/device/types/edge/devices/e1/mgmt"
    assert api(service, "GET", management).json["supports"] == {
        "deviceActions": True, "firmwareActions": False, "bundles": []}
    assert agent.stop() == 0
    assert api(service, "POST", "/mgmt/custom/bundle", bundle).status == 201
    agent = start_mote(**action)
    assert api(service, "GET", management).json["supports"]["bundles"] == ["tools"]
    for value, status, message in (("17", 0, None), ("-17", 3, "status 4: below zero")):
        request = {"action": "tools/calibrate", "devices": [{"typeId": "edge", "deviceId": "e1"}],
                   "parameters": [{"name": "zero-point", "value": value}]}
        identifier = api(service, "POST", "/mgmt/requests", request).json["reqId"]

        def ended(identifier=identifier):
            return api(service, "GET", f"/mgmt/requests/{identifier}/deviceStatus/edge/e1").json

        wait_until(lambda ended=ended: ended()["complete"], DEADLINE, "the request is complete")
        assert ended()["status"] == status and (message is None or message in str(ended()))
    assert ran(tmp_path) == ["17", "-17"]


def test_what_the_device_says_of_itself(service, start_mote, mote, tmp_path):
    """Its location, error codes and log come from local programs, and from the agent where a sensor is lost."""
    start_mote(**{"sensor gone": {"event": "status", "read": "file:/nonexistent"}})
    device = "/device/types/edge/devices/e1"

    def tell(*arguments, status=0):
        done = mote.run(*arguments, "--socket", tmp_path / "control")
        assert done.returncode == status, done
        return done.stdout

    def get(path):
        return api(service, "GET", f"{device}/{path}").json

    wait_until(lambda: get("diag/logs"), DEADLINE, "the agent's own entry")
    entry, = get("diag/logs")
    assert entry["message"] == "sensor failed sensor=gone reason=not-found" and entry["severity"] == 1
    assert [code["errorCode"] for code in get("diag/errorCodes")] == [1001]
    assert tell("location", "48.1371", "11.5754", "--accuracy", "12") == "queued\n"
    wait_until(lambda: get("location").get("accuracy") == 12, DEADLINE, "the location")
    assert get("location")["latitude"] == 48.1371 and "elevation" not in get("location")
    tell("diagnose", "add-log", 'disk "91%" full', "--severity", "error")
    tell("diagnose", "add-error", "4711")
    wait_until(lambda: len(get("diag/errorCodes")) == 2, DEADLINE, "the error code")
    assert ('disk "91%" full', 2) in [(entry["message"], entry["severity"]) for entry in get("diag/logs")]
    tell("diagnose", "clear-errors")
    tell("diagnose", "clear-log")
    wait_until(lambda: not get("diag/logs") and not get("diag/errorCodes"), DEADLINE, "both are empty")
    tell("location", "91", "0", status=65)
    tell("unmanage")
    wait_until(lambda: api(service, "GET", f"{device}/mgmt").status == 404, DEADLINE, "the device has left")
    tell("manage")
    wait_until(lambda: api(service, "GET", f"{device}/mgmt").status == 200, DEADLINE, "the device is back")


def test_firmware_is_not_supported(operator, start_mote, tmp_path):
    """What it does not do it has not claimed, and so is not asked for."""
    start_mote()
    image = tmp_path / "image"
    image.write_bytes(b"x")
    assert "does not support" in operator.run("firmware", "push", "edge", "e1", image, status=1)
