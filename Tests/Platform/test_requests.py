"""Device-management requests over REST, with the vendor's managed device and gateway, and with scripted ones."""

import json
import threading

import pytest

from harness.waiting import DEADLINE, wait_until
from rest import api
from sdk import finish_sending
from service import ORGANIZATION, TOKEN

REQUESTS = "/mgmt/requests"
E1 = [{"typeId": "edge", "deviceId": "e1"}]


def request(service, action, devices=None, query="", **members):
    """Makes a request, and gives its identifier."""
    answer = api(service, "POST", REQUESTS + query, {"action": action, "devices": devices or E1, **members})
    assert answer.status == 202, answer.body
    return answer.json["reqId"]


def status(service, identifier, kind="edge", name="e1"):
    """How far a device is with a request."""
    answer = api(service, "GET", f"{REQUESTS}/{identifier}/deviceStatus/{kind}/{name}")
    assert answer.status == 200, answer.body
    return answer.json


def wait_complete(service, identifier):
    wait_until(lambda: api(service, "GET", f"{REQUESTS}/{identifier}").json["complete"], DEADLINE, "the request's end")


class ScriptedDevice:
    """A managed device that answers by the book."""

    def __init__(self, client, prefix="iotdm-1/", answer="iotdevice-1/"):
        self.client, self.prefix, self.answer = client, prefix, answer
        self.asked, self.codes = [], {}
        self.firmware = {"state": 0, "updateStatus": 0, "version": "", "uri": ""}
        client.client.on_message = lambda *arguments: threading.Thread(
            target=self.handle, args=(arguments[2],)).start()
        client.subscribe(f"{prefix}#" if prefix == "iotdm-1/" else "iotdm-1/type/+/id/+/#")
        # Requests come another way, and must not overtake this.
        self.manage().wait_for_publish(DEADLINE)

    def send(self, path, body):
        return self.client.client.publish(self.answer + path, json.dumps(body), 1)

    def manage(self, **supports):
        return self.send("mgmt/manage", {"d": {"lifetime": 3600, "supports": {
            "deviceActions": True, "firmwareActions": True, **supports}}, "reqId": "manage"})

    def notify(self, **values):
        self.firmware.update(values)
        self.send("notify", {"d": {"fields": [{"field": "mgmt.firmware", "value": values}]}, "reqId": "n"})

    def wait_asked(self, *paths):
        """Waits until it was asked for these things, in this order, and nothing else."""
        wait_until(lambda: len(self.asked) >= len(paths), DEADLINE, f"{paths}; so far {self.asked}")
        assert self.asked == list(paths)

    def handle(self, message):
        path = message.topic.removeprefix(self.prefix)
        if path == "response":
            return
        body = json.loads(message.payload)
        self.asked.append(path)
        code = self.codes.get(path, {"device/update": 204, "observe": 200, "cancel": 200}.get(path, 202))
        answer = {"rc": code, "reqId": body["reqId"]}
        if path == "device/update":
            self.firmware.update(body["d"]["fields"][0]["value"])
        if path == "observe":
            answer["d"] = {"fields": [{"field": "mgmt.firmware", "value": self.firmware}]}
        self.send("response", answer)
        if code != 202:
            return
        if path.endswith("download"):
            self.notify(state=1)
            self.notify(state=2, updateStatus=0)
        elif path.endswith("update"):
            self.notify(updateStatus=1)
            self.notify(state=0, updateStatus=0)
        elif path.endswith(("reboot", "factory_reset")):
            self.manage()


@pytest.fixture
def scripted(service, device):
    return ScriptedDevice(device(service))


@pytest.mark.parametrize("action, path", [("device/reboot", "reboot"), ("device/factoryReset", "factory_reset")])
def test_restarts(service, scripted, action, path):
    """A restart is complete with the next manage request."""
    identifier = request(service, action)
    wait_complete(service, identifier)
    assert scripted.asked == [f"mgmt/initiate/device/{path}"]
    assert status(service, identifier)["status"] == 0


def test_firmware(service, scripted):
    """Download and update: each answer brings the next step, and the registry knows the version in the end."""
    parameters = [{"name": name, "value": value} for name, value in
                  {"uri": "https://fw.example/1", "version": "1.5.0", "name": "os", "verifier": ""}.items()]
    first = request(service, "firmware/download", parameters=parameters)
    wait_complete(service, first)
    scripted.wait_asked("device/update", "observe", "mgmt/initiate/firmware/download", "cancel")
    scripted.asked.clear()
    second = request(service, "firmware/update")
    wait_complete(service, second)
    scripted.wait_asked("observe", "mgmt/initiate/firmware/update", "cancel")
    assert [status(service, one)["status"] for one in (first, second)] == [0, 0]
    assert api(service, "GET", "/device/types/edge/devices/e1").json["deviceInfo"]["fwVersion"] == "1.5.0"


@pytest.mark.parametrize("code, expected", [(500, 3), (501, 2), (400, 3)])
def test_refusal(service, scripted, code, expected):
    """What a device refuses is told to the application."""
    scripted.codes["mgmt/initiate/device/reboot"] = code
    identifier = request(service, "device/reboot")
    wait_complete(service, identifier)
    assert status(service, identifier)["status"] == expected


def test_attached_device(service, gateway):
    """The same through a gateway, for a device that it registered."""
    ScriptedDevice(gateway(service), "iotdm-1/type/sensor/id/s1/", "iotdevice-1/type/sensor/id/s1/")
    wait_until(lambda: api(service, "GET", "/device/types/sensor/devices/s1").status == 200, DEADLINE,
               "its registration")
    identifier = request(service, "device/reboot", [{"typeId": "sensor", "deviceId": "s1"}])
    wait_complete(service, identifier)
    assert status(service, identifier, "sensor", "s1")["status"] == 0


def test_survives_kill(durable, device):
    """A request goes on where it was after SIGKILL."""
    client = device(durable, clean=False)
    client.subscribe("iotdm-1/#")
    client.publish("iotdevice-1/mgmt/manage", {"d": {"supports": {"deviceActions": True}}, "reqId": "m"})
    client.next("iotdm-1/response")
    identifier = request(durable, "device/reboot")
    asked = json.loads(client.next("iotdm-1/mgmt/initiate/device/reboot").payload)
    client.publish("iotdevice-1/response", {"rc": 202, "reqId": asked["reqId"]})
    durable.kill()
    durable.start()
    assert status(durable, identifier)["status"] == 1
    again = device(durable, clean=False)
    again.publish("iotdevice-1/mgmt/manage", {"d": {"supports": {"deviceActions": True}}, "reqId": "m"})
    wait_complete(durable, identifier)


class TestSDK:
    """The vendor's managed device."""

    @pytest.fixture
    def managed(self, service, sdk_connect):
        """A managed device of the SDK that does what it is asked."""
        wiotp = pytest.importorskip("wiotp.sdk.device", reason="Scripts/setup installs it")
        device = sdk_connect(service, wiotp.ManagedDeviceClient,
                             {"orgId": ORGANIZATION, "typeId": "edge", "deviceId": "e1"}, {"token": TOKEN})
        wait_until(device.readyForDeviceMgmt.is_set, DEADLINE, "an answer to manage")

        def act(identifier, action):
            device.respondDeviceAction(identifier, 202)
            device.manage()

        def flash(action, _firmware):
            if action == "download":
                tell, states = device.setState, (device.UPDATESTATE_DOWNLOADING, device.UPDATESTATE_DOWNLOADED)
            else:
                tell, states = device.setUpdateStatus, (device.UPDATESTATE_IN_PROGRESS, device.UPDATESTATE_SUCCESS)
            for state in states:
                finish_sending()
                tell(state)

        device.deviceActionCallback = lambda *arguments: threading.Thread(target=act, args=arguments).start()
        device.firmwereActionCallback = lambda *arguments: threading.Thread(target=flash, args=arguments).start()
        return device

    def test_reboot(self, service, managed):
        identifier = request(service, "device/reboot")
        wait_complete(service, identifier)
        assert status(service, identifier)["status"] == 0

    def test_firmware(self, service, managed):
        first = request(service, "firmware/download", parameters=[{"name": "uri", "value": "https://fw.example/1"}])
        wait_complete(service, first)
        assert status(service, first)["status"] == 0
