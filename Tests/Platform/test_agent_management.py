"""Mote's agent as a managed device, and an operator at the other end."""

import hashlib
import pathlib
import subprocess

import pytest

from harness import slots
from harness.configuration import ini
from harness.machine import Machine
from harness.waiting import DEADLINE, wait_until
from operating import MAKE_BUNDLE, Operator
from rest import api, call
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
    def start(body="", management=None, words=(), **sections):
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
        agent = start_agent(*words, "run", "--config", path, prefix=machine.prefix)
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


@pytest.mark.core
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


@pytest.mark.core
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


@pytest.mark.seconds(25)
def test_the_file_that_says_where_it_is(service, start_mote, tmp_path):
    """It is told when it is there, and when it changes; what is wrong with it is in the log, and is not told."""
    place = tmp_path / "place"
    agent = start_mote(management={"location-file": place})

    def told():
        answer = api(service, "GET", "/device/types/edge/devices/e1/location")
        return (answer.json["latitude"], answer.json["longitude"]) if answer.status == 200 else None

    agent.wait_log("warning", "management", "location-not-read")
    for text, expected in (("48.1371 11.5754 519 12\n", (48.1371, 11.5754)), ("-33.86\n151.21\n", (-33.86, 151.21))):
        # As its writer should: in one go.
        (tmp_path / "next").write_text(text)
        (tmp_path / "next").rename(place)
        wait_until(lambda expected=expected: told() == expected, DEADLINE, "the place")
    place.write_text("48.1371\n  11,5754")
    agent.wait_log("warning", "management", "location-refused", line="2", column="3", expected="longitude")
    assert told() == (-33.86, 151.21)


def test_firmware_is_not_supported(operator, start_mote, tmp_path):
    """What it does not do it has not claimed, and so is not asked for."""
    start_mote()
    image = tmp_path / "image"
    image.write_bytes(b"x")
    assert "does not support" in operator.run("firmware", "push", "edge", "e1", image, status=1)


# Firmware.


class Updating:
    """A device that takes firmware, and its operator. Its installer notes what it was given, and then runs `body`."""

    def __init__(self, folder, start, operator, service):
        self.folder, self._start, self.operator, self.service = folder, start, operator, service
        self.agent = None

    def start(self, body="", *, management=None, **section):
        """Starts the agent, with `section` in its `[firmware]`."""
        program = self.folder / "install"
        program.write_text(
            f'#!/bin/sh\necho "$MOTE_FIRMWARE_VERSION" "$(sha256sum < "$1")" >> {self.folder / "installs"}\n{body}\n')
        program.chmod(0o755)
        self.agent = self._start(
            management=management, firmware={"installer": "command", "run": program, **section})
        return self.agent

    def image(self, version, count=300_000):
        """An image that no other is like."""
        path = self.folder / f"edge-os-{version}.img"
        path.write_bytes(b"".join(hashlib.sha256(f"{version} {number}".encode()).digest()
                                  for number in range(count // 32)))
        return path

    def push(self, path, status=0):
        """Has it installed; gives what the operator was told."""
        return self.operator.run("firmware", "push", "edge", "e1", path, status=status, timeout=6 * DEADLINE)

    def installs(self):
        """What the installer was given: versions and digests."""
        path = self.folder / "installs"
        return [tuple(line.split()[:2]) for line in path.read_text().splitlines()] if path.exists() else []

    def version(self):
        """What the platform believes to run there."""
        return api(self.service, "GET", "/device/types/edge/devices/e1").json["deviceInfo"]["fwVersion"]

    def diagnosed(self):
        """What the device has told the platform of its own faults, the newest first: error codes and log entries."""
        device = "/device/types/edge/devices/e1/diag"
        codes = [code["errorCode"] for code in api(self.service, "GET", f"{device}/errorCodes").json]
        entries = [entry["message"] for entry in api(self.service, "GET", f"{device}/logs").json]
        return [f"{code} {text}" for code, text in zip(codes, reversed(entries))]

    def wait_version(self, version):
        wait_until(lambda: self.version() == version, DEADLINE, f"the platform knows of {version}")

    def request(self, path, version, **changes):
        """Has it download an image from the platform; gives the request's identifier."""
        image = call(self.service, "POST", f"/api/images?name={path.name}", path.read_bytes(),
                     content_type="application/octet-stream").json
        values = {"version": version, "name": path.name, "verifier": f"sha256:{image['sha256']}",
                  "uri": f"http://127.0.0.1:{self.service.ports['http']}{image['path']}", **changes}
        return self.ask("firmware/download", parameters=[
            {"name": name, "value": value} for name, value in values.items()])

    def ask(self, action, **members):
        request = {"action": action, "devices": [{"typeId": "edge", "deviceId": "e1"}], **members}
        return api(self.service, "POST", "/mgmt/requests", request).json["reqId"]

    def ended(self, identifier):
        """What the platform says of a request when that is over."""
        path = f"/mgmt/requests/{identifier}/deviceStatus/edge/e1"
        return wait_until(lambda: (status := api(self.service, "GET", path).json)["complete"] and status,
                          2 * DEADLINE, "the request is complete")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def updating(tmp_path, start_mote, operator, service):
    return Updating(tmp_path, start_mote, operator, service)


@pytest.mark.core
def test_updates_one_after_the_other(updating):
    """Each is downloaded, installed and told; what runs is known to the next agent too."""
    updating.start()
    for count, version in enumerate(("1.5.0", "1.6.0"), 1):
        image = updating.image(version)
        assert f"{image.name} {version}: 1 installed, 0 failed" in updating.push(image)
        assert updating.installs()[count - 1:] == [(version, digest(image))]
        updating.wait_version(version)
    assert updating.agent.stop() == 0
    updating.start()
    updating.wait_version("1.6.0")
    # The operating system was changed by other means: its own word counts again.
    assert updating.agent.stop() == 0
    updating.start(management={"firmware-version": "1.7.0"})
    updating.wait_version("1.7.0")


@pytest.mark.core
def test_an_image_that_is_not_what_was_meant(updating):
    """It is never installed, and the next one is."""
    agent = updating.start()
    image = updating.image("1.5.0")
    ended = updating.ended(updating.request(image, "1.5.0", verifier=f"sha256:{'0' * 64}"))
    assert ended["status"] != 0, ended
    agent.wait_log("error", "firmware", "download-failed", reason="wrong-verifier", status="4")
    assert updating.ended(updating.ask("firmware/update"))["status"] != 0
    assert updating.installs() == []
    told = ["1007 firmware download-failed reason=wrong-verifier status=4"]
    wait_until(lambda: updating.diagnosed() == told, DEADLINE, "what is told of it")
    assert " 1 installed" in updating.push(image)
    assert updating.installs() == [("1.5.0", digest(image))]


@pytest.mark.core
def test_an_installer_that_fails(updating):
    """The operator learns that it has, and what runs is what ran; the next one succeeds."""
    agent = updating.start('[ "$MOTE_FIRMWARE_VERSION" != 1.5.0 ] || { echo no room for it; exit 3; }')
    told = updating.push(updating.image("1.5.0"), status=1)
    assert "0 installed, 1 failed" in told
    agent.wait_log("error", "firmware", "update-failed", reason="exited", number="3", status="5",
                   output="no room for it")
    assert updating.version() == "1.4.0"
    wait_until(lambda: updating.diagnosed() == [
        '1006 firmware update-failed reason=exited number=3 status=5 output="no room for it"'], DEADLINE,
        "what is told of it")
    assert " 1 installed" in updating.push(updating.image("1.6.0"))
    updating.wait_version("1.6.0")
    assert [version for version, _ in updating.installs()] == ["1.5.0", "1.6.0"]


@pytest.mark.core
def test_an_update_that_a_restart_completes(updating, machine, tmp_path):
    """The machine restarts for it, and the new version is what comes back."""
    agent = updating.start("exit 10")
    updating.ended(updating.request(updating.image("1.5.0"), "1.5.0"))
    identifier = updating.ask("firmware/update")
    wait_until(lambda: ran(tmp_path) == ["restart"], DEADLINE, "the machine is to restart")
    agent.process.kill()
    agent.wait_end()
    machine.restart()
    updating.start("exit 10", management={"firmware-version": "1.5.0"})
    ended = updating.ended(identifier)
    assert ended["status"] == 0, ended
    updating.wait_version("1.5.0")
    assert ran(tmp_path) == ["restart"] and len(updating.installs()) == 1


@pytest.mark.core
def test_an_agent_that_dies_during_a_download(updating):
    """The next one goes on by itself, and the platform's request with it."""
    image = updating.image("1.5.0", 3_000_000)
    agent = updating.start(throttle="1MB")
    identifier = updating.request(image, "1.5.0")
    agent.wait_log("info", "firmware", "downloading")
    part = updating.folder / "machine/lib/mote/firmware"
    wait_until(lambda: any(path.stat().st_size > 1_200_000 for path in part.iterdir() if path.is_file()), DEADLINE,
               "a part of it")
    agent.process.kill()
    agent.wait_end()
    updating.start()
    ended = updating.ended(identifier)
    assert ended["status"] == 0, ended
    assert updating.ended(updating.ask("firmware/update"))["status"] == 0
    assert updating.installs() == [("1.5.0", digest(image))]


@pytest.fixture
def supervised(updating, tmp_path, start_mote, mote):
    """The same with `installer = agent`: its own program in slots, under its supervisor."""
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    for arguments in (["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private],
                      ["pkey", "-in", private, "-pubout", "-out", public]):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    # Without events that arrive it takes five minutes to prove oneself.
    updating.agent = start_mote(words=("supervise", "--key", public), **{
        "firmware": {"installer": "agent", "key-file": public, "compatible": "acme-e7"},
        "event status": {"interval": "5s"},
        "sensor limit": {"event": "status", "read": "file:/proc/sys/kernel/pid_max"}})

    def bundle(version, program=None, key=private):
        image, path = tmp_path / "image", tmp_path / f"mote-{version}.bundle"
        # No two are alike.
        image.write_bytes((program or pathlib.Path(mote.command[0])).read_bytes() + version.encode())
        subprocess.run([MAKE_BUNDLE, image, path, "--version", version, "--compatible", "acme-e7", "--key", key],
                       check=True, capture_output=True)
        return path

    updating.bundle = bundle
    return updating


def test_an_agent_that_replaces_itself(supervised, machine, tmp_path):
    """A new program proves itself and stays; one that does not is given up, and the one before it goes on."""
    agent = supervised.agent
    assert " 1 installed" in supervised.push(supervised.bundle("1.5.0"))
    supervised.wait_version("1.5.0")
    record = slots.read_record(machine.state / "firmware")
    assert record["active"] == "a" and record["a"] == slots.GOOD
    # Signed by a stranger: not even a byte of it is kept.
    stranger = tmp_path / "stranger.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", stranger], check=True,
                   capture_output=True)
    assert "0 installed, 1 failed" in supervised.push(supervised.bundle("1.5.1", key=stranger), status=1)
    agent.wait_log("error", "firmware", "download-failed", reason="not-signed", status="4")
    # One that ends at once.
    assert "0 installed, 1 failed" in supervised.push(
        supervised.bundle("1.6.0", pathlib.Path("/bin/false")), status=1)
    agent.wait_log("error", "firmware", "update-failed", reason="exited", status="5")
    # Each with its cause, the one that was rolled back too: it is the agent before it that knows.
    wait_until(lambda: supervised.diagnosed() == [
        "1006 firmware update-failed reason=exited number=1 status=5",
        "1007 firmware download-failed reason=not-signed status=4"], DEADLINE, "what is told of them")
    assert supervised.version() == "1.5.0"
    record = slots.read_record(machine.state / "firmware")
    assert record["active"] == "a" and record["b"] == slots.BAD
