"""The vendor's managed device and Mote's agent, driven by one test: what applications see, over MQTT and over REST, is
the same but for their names.

Where the vendor's library does not do a thing by itself, its device below does it; where it cannot do it otherwise, it
says so. What a person reads (the messages of failures) and when and by how many bytes is no part of the account."""

import functools
import hashlib
import json
import re
import threading
import types
import urllib.request

import pytest

wiotp = pytest.importorskip("wiotp.sdk.device", reason="Scripts/setup installs it")

from harness.configuration import ini  # noqa: E402
from harness.machine import Machine  # noqa: E402
from harness.waiting import DEADLINE, wait_until  # noqa: E402
from rest import api, call  # noqa: E402
from sdk import finish_sending  # noqa: E402
from service import ORGANIZATION, TOKEN  # noqa: E402

IMAGE = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(3000))
VERIFIER = f"sha256:{hashlib.sha256(IMAGE).hexdigest()}"
BUNDLE = {
    "bundleId": "tools", "displayName": {"en_US": "Tools"}, "actions": {"calibrate": {
        "actionDisplayName": {"en_US": "Calibrate"},
        "parameters": [{"name": "zero-point", "value": "^-?[0-9]{1,3}$"}]}}}
# What the platform says of a request that a device could not do.
FAILED = 3
INFORMATION = {"serial-number": "S-0042", "manufacturer": "Acme", "model": "E7", "device-class": "Edge",
               "description": "press monitor", "hardware-version": "B", "location": "hall 3, row 2"}


class VendorsClient(wiotp.ManagedDeviceClient):
    """The vendor's library, which manages with each SUBACK that it gets, in the words of its defaults: those of the
    device have to be its defaults. What it is asked before it knows its callbacks, it refuses or forgets."""

    def __init__(self, owner, config):
        self.owner, self.managed = owner, []
        super().__init__(config)
        self.deviceActionCallback, self.firmwereActionCallback = owner.restart_soon, owner.renew_soon
        self.dmeActionCallback = owner.calibrate

    def manage(self, *_):
        # Its own class of what is told about a device tells nothing: what it serialises is always empty.
        self._deviceInfo = types.SimpleNamespace(
            serialNumber="S-0042", manufacturer="Acme", model="E7", deviceClass="Edge", description="press monitor",
            fwVersion=self.owner.version, hwVersion="B", descriptiveLocation="hall 3, row 2")
        self.managed.append(super().manage(3600, True, True, True, ["tools"]))
        return self.managed[-1]

    def is_settled(self):
        """Whether each SUBACK has come, and is managed for: until then it would end with answers that it has not read,
        and that with a reset of its connection."""
        return len(self.managed) >= len(self._subscriptions) and all(answered.is_set() for answered in self.managed)


class VendorsDevice:
    """A device by the vendor's library. What its users have to write themselves is here: that it restarts, fetches and
    installs. It has no way to say what became of a reset or of an update after a restart but to manage once more."""

    def __init__(self, name, service, fixtures, _folder):
        self.name, self._connect, self._service = name, fixtures("sdk_connect"), service
        self.version, self.client, self.installed = "1.4.0", None, []

    def start(self):
        self.client = self._connect(
            self._service, functools.partial(VendorsClient, self),
            {"orgId": ORGANIZATION, "typeId": "edge", "deviceId": self.name}, {"token": TOKEN},
            # The library means the opposite.
            cleanStart=False)
        wait_until(self.client.is_settled, DEADLINE, "all answers to manage")

    def restart_soon(self, *arguments):
        self._begin(self._restart, *arguments)

    def renew_soon(self, *arguments):
        self._begin(self._renew, *arguments)

    @staticmethod
    def _begin(what, *arguments):
        # Not in the library's own thread, which has answers to take.
        threading.Thread(target=what, args=arguments).start()

    def manage(self):
        assert self.client.manage().wait(DEADLINE)

    def _restart(self, request, _action):
        self.client.respondDeviceAction(request, 202)
        # It would be lost with the connection, and there is no way to wait for it but this.
        wait_until(lambda: not self.client.client._out_messages,  # pylint: disable=protected-access
                   DEADLINE, "the platform has the answer")
        self.client.disconnect()
        self.start()

    def restart(self):
        """It has done so by itself."""

    def _renew(self, action, firmware):
        finish_sending()
        client = self.client
        if action == "download":
            self._tell(client.setState, client.UPDATESTATE_DOWNLOADING)
            with urllib.request.urlopen(firmware.url, timeout=DEADLINE) as answer:
                image = answer.read()
            if f"sha256:{hashlib.sha256(image).hexdigest()}" != firmware.verifier:
                return self._tell(client.setUpdateStatus, client.UPDATESTATE_VERIFICATION_FAILED)
            return self._tell(client.setState, client.UPDATESTATE_DOWNLOADED)
        self._tell(client.setUpdateStatus, client.UPDATESTATE_IN_PROGRESS)
        self.installed.append(firmware.version)
        self._tell(client.setUpdateStatus, client.UPDATESTATE_SUCCESS)
        self.version = firmware.version
        return self.manage()

    @staticmethod
    def _tell(how, what):
        how(what)
        finish_sending()

    @staticmethod
    def calibrate(_topic, request, _identifier):
        field, = request["d"]["fields"]
        return int(field["value"]) >= 0

    def locate(self, latitude, longitude, accuracy):
        assert self.client.setLocation(longitude, latitude, accuracy=accuracy).wait(DEADLINE)

    def report(self, code, message):
        assert self.client.setErrorCode(code).wait(DEADLINE)
        # Which has to be base64 already.
        assert self.client.addLog(message, "/w==", 2).wait(DEADLINE)

    def clear(self):
        assert self.client.clearErrorCodes().wait(DEADLINE) and self.client.clearLog().wait(DEADLINE)

    def leave(self):
        assert self.client.unmanage().wait(DEADLINE)


class Mote:
    """A device by Mote's agent, on a machine of its own."""

    def __init__(self, name, service, fixtures, folder):
        self.name, self._folder, self._service = name, folder, service
        self._start, self._mote, self._agent = fixtures("start_agent"), fixtures("mote"), None
        self._machine = Machine(folder / "machine")
        self._socket = folder / "control"

    @property
    def installed(self):
        return (self._folder / "installs").read_text().split()

    def start(self):
        programs = {"install": f'echo "$MOTE_FIRMWARE_VERSION" >> {self._folder / "installs"}',
                    "restart": f"touch {self._folder / 'restarting'}", "reset": "true",
                    "calibrate": '[ "$MOTE_PARAM_zero_point" -ge 0 ]'}
        for name, body in programs.items():
            program = self._folder / name
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
        path = self._folder / "mote.conf"
        path.touch(mode=0o600)
        path.write_text(ini({
            "device": {"org": ORGANIZATION, "type": "edge", "id": self.name, "auth-token": TOKEN},
            "server": {"host": "127.0.0.1", "port": self._service.port, "tls": "no", "allow-plaintext-token": "yes"},
            "mqtt": {"connect-delay-max": "0s"}, "agent": {"control-socket": self._socket},
            "management": {**INFORMATION, "firmware-version": "1.4.0", "reboot": self._folder / "restart",
                           "factory-reset": self._folder / "reset"},
            "firmware": {"installer": "command", "run": self._folder / "install"},
            "action tools/calibrate": {"run": self._folder / "calibrate"}, "event status": {"interval": "1h"}}))
        self._agent = self._start("run", "--config", path, prefix=self._machine.prefix)
        self._agent.wait_log("info", "management", "managed")

    def restart(self):
        """The machine does what its program for that has begun."""
        wait_until((self._folder / "restarting").exists, DEADLINE, "the restart")
        (self._folder / "restarting").unlink()
        self._agent.process.kill()
        self._agent.wait_end()
        self._machine.restart()
        self.start()

    def _run(self, *words, told="queued\n"):
        done = self._mote.run(*words, "--socket", self._socket)
        assert (done.returncode, done.stdout) == (0, told), done

    def manage(self):
        self._run("manage", told="ok\n")

    def locate(self, latitude, longitude, accuracy):
        self._run("location", str(latitude), str(longitude), "--accuracy", str(accuracy))

    def report(self, code, message):
        self._run("diagnose", "add-error", str(code))
        self._run("diagnose", "add-log", message, "--severity", "error", "--data", "0xff")

    def clear(self):
        self._run("diagnose", "clear-errors")
        self._run("diagnose", "clear-log")

    def leave(self):
        self._run("unmanage")


class Account:
    """What an application sees of a device, with its name and all times replaced."""

    MASKS = [(re.compile(pattern), text) for pattern, text in (
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", "TIME"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "IDENTIFIER"))]
    # How often, and how much: no two runs are alike in that.
    COUNTS = {"ReadBytes", "ReadMsg", "WriteBytes", "WriteMsg", "Port", "port"}

    def __init__(self, service, name):
        self._service, self._name = service, name
        self._device = f"/device/types/edge/devices/{name}"

    def mask(self, value, key=None):
        if isinstance(value, dict):
            # The library cannot but say that there is no metadata.
            return {key: self.mask(inner, key) for key, inner in value.items() if inner not in ({}, "", None)}
        if isinstance(value, list):
            return [self.mask(inner) for inner in value]
        if isinstance(value, str):
            for pattern, text in self.MASKS:
                value = pattern.sub(text, value)
            return re.sub(rf"\b{self._name}\b", "NAME", value)
        return "COUNT" if key in self.COUNTS else value

    def get(self, path=""):
        answer = api(self._service, "GET", self._device + path)
        return self.mask(answer.json) if answer.status == 200 else answer.status

    def wait(self, path, condition):
        """What is at `path` once `condition` holds for it."""
        return wait_until(lambda: condition(found := self.get(path)) and (found,), DEADLINE, path)[0]

    def ask(self, action, *parameters):
        """Asks for an action; gives the request's identifier."""
        request = {"action": action, "devices": [{"typeId": "edge", "deviceId": self._name}],
                   "parameters": [{"name": name, "value": value} for name, value in parameters]}
        answer = api(self._service, "POST", "/mgmt/requests", request)
        assert answer.status == 202, answer.body
        return answer.json["reqId"]

    def ended(self, identifier):
        """What is said of it in the end."""
        path = f"/mgmt/requests/{identifier}/deviceStatus/edge/{self._name}"
        status = wait_until(lambda: (status := api(self._service, "GET", path).json)["complete"] and status,
                            DEADLINE, "the request is complete")
        status.pop("message", None)
        return self.mask(status)


def drive(device, service, watcher, address):
    """Has a device do all that there is; gives what applications saw of it."""
    account, seen = Account(service, device.name), {}
    watcher.subscribe(f"iot-2/type/edge/id/{device.name}/mon")
    device.start()
    seen["device"] = account.wait("", lambda found: found["deviceInfo"].get("fwVersion") == "1.4.0")
    seen["managed"] = account.wait("/mgmt", lambda found: found["supports"]["bundles"])
    device.locate(48.1371, 11.5754, 12)
    seen["location"] = account.wait("/location", lambda found: found != 404 and found)
    device.report(4711, "disk 91% full")
    seen["log"] = account.wait("/diag/logs", lambda found: found)
    seen["codes"] = account.get("/diag/errorCodes")
    device.clear()
    seen["cleared"] = (account.wait("/diag/logs", lambda found: not found), account.get("/diag/errorCodes"))
    for action in ("device/reboot", "device/factoryReset"):
        identifier = account.ask(action)
        device.restart()
        seen[action] = account.ended(identifier)
    for value in ("17", "-17"):
        seen[f"calibrate {value}"] = account.ended(account.ask("tools/calibrate", ("zero-point", value)))
    for number, verifier in enumerate((f"sha256:{'0' * 64}", VERIFIER)):
        seen[f"download {number}"] = account.ended(account.ask(
            "firmware/download", ("version", "1.5.0"), ("name", "e7.img"), ("uri", address), ("verifier", verifier)))
    seen["downloaded"] = account.get("/mgmt")
    seen["update"] = account.ended(account.ask("firmware/update"))
    seen["updated"] = account.wait("", lambda found: found["deviceInfo"]["fwVersion"] == "1.5.0")
    seen["idle"] = account.wait("/mgmt", lambda found: found)
    device.leave()
    seen["left"] = account.wait("/mgmt", lambda found: found == 404)
    device.manage()
    seen["back"] = account.wait("/mgmt", lambda found: found != 404)
    watcher.catch_up()
    seen["monitored"] = [account.mask(json.loads(message.payload)) for message in watcher.all]
    return seen


@pytest.mark.seconds(6)
def test_they_are_alike(start_service, application, request, tmp_path):
    # The vendor's library says ten times that it is there, which is more than a device may in a second.
    service = start_service("--rates", "unlimited")
    assert api(service, "POST", "/mgmt/custom/bundle", BUNDLE).status == 201
    image = call(service, "POST", "/api/images?name=e7.img", IMAGE, content_type="application/octet-stream").json
    address = f"http://127.0.0.1:{service.ports['http']}{image['path']}"
    accounts = []
    for kind, name in (VendorsDevice, "e1"), (Mote, "e2"):
        device = kind(name, service, request.getfixturevalue, tmp_path)
        accounts.append(drive(device, service, application(service, f"app-{name}"), address))
        assert device.installed == ["1.5.0"]
    vendors, ours = accounts
    for key, status in {"device/reboot": 0, "device/factoryReset": 0, "calibrate 17": 0, "calibrate -17": FAILED,
                        "download 0": FAILED, "download 1": 0, "update": 0}.items():
        assert ours[key]["status"] == status, key
    assert ours["managed"]["supports"] == {"deviceActions": True, "firmwareActions": True, "bundles": ["tools"]}
    assert [entry["Action"] for entry in ours["monitored"]] == ["Connect", "Disconnect"] * 2 + ["Connect"]
    for key, value in vendors.items():
        assert value == ours[key], key
    assert vendors.keys() == ours.keys()
