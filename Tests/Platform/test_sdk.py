"""The vendor's Python SDK as application, device, gateway and managed device."""

import queue
import socket

import pytest

wiotp = pytest.importorskip("wiotp.sdk", reason="Scripts/setup installs it")

import wiotp.sdk.application  # noqa: E402
import wiotp.sdk.device  # noqa: E402
import wiotp.sdk.gateway  # noqa: E402

from harness.waiting import wait_until  # noqa: E402
from service import KEY, KEY_TOKEN, ORGANIZATION, TOKEN  # noqa: E402

DOMAIN = "platform.test"


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    """ORG.messaging.platform.test is this machine."""
    look_up = socket.getaddrinfo

    def here(host, *arguments, **options):
        return look_up("127.0.0.1" if str(host).endswith(DOMAIN) else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)


@pytest.fixture
def connect(closing):
    """Connects a client of the SDK, which takes no ports but the platform's."""
    class Closing:
        def __init__(self, client):
            self.client = client

        def close(self):
            if timer := getattr(self.client, "manageTimer", None):
                timer.cancel()
            self.client.disconnect()

    def connect(service, kind, identity, auth, **options):
        config = {"identity": identity, "auth": auth,
                  "options": {"domain": DOMAIN, "mqtt": {"port": 1883, "transport": "tcp", **options}}}
        client = kind(config)
        client.port = service.port
        client.connect()
        closing.append(Closing(client))
        return client
    return connect


def device_identity(name="e1", kind="edge"):
    return {"orgId": ORGANIZATION, "typeId": kind, "deviceId": name}


@pytest.fixture
def sdk_application(connect):
    """An application."""
    return lambda service: connect(service, wiotp.sdk.application.ApplicationClient, {"appId": "sdk"},
                                   {"key": KEY, "token": KEY_TOKEN})


def test_device_and_application(service, connect, sdk_application):
    """Events, commands and status."""
    application = sdk_application(service)
    events, statuses, commands = queue.Queue(), queue.Queue(), queue.Queue()
    application.deviceEventCallback, application.deviceStatusCallback = events.put, statuses.put
    application.subscribeToDeviceEvents()
    application.subscribeToDeviceStatus()
    device = connect(service, wiotp.sdk.device.DeviceClient, device_identity(), {"token": TOKEN})
    device.commandCallback = commands.put
    status = statuses.get(timeout=5)
    assert (status.action, status.typeId, status.deviceId) == ("Connect", "edge", "e1")
    assert device.publishEvent("status", "json", {"d": {"temp": 21.7}}, qos=2)
    event = events.get(timeout=5)
    assert (event.eventId, event.typeId, event.deviceId, event.data) == ("status", "edge", "e1", {"d": {"temp": 21.7}})
    application.publishCommand("edge", "e1", "blink", "json", {"times": 3})
    command = commands.get(timeout=5)
    assert (command.commandId, command.data) == ("blink", {"times": 3})


def test_gateway(service, connect, sdk_application):
    """Events of other devices, commands to them, notifications."""
    application = sdk_application(service)
    events, notes, commands = queue.Queue(), queue.Queue(), queue.Queue()
    application.deviceEventCallback = events.put
    application.subscribeToDeviceEvents()
    gateway = connect(service, wiotp.sdk.gateway.GatewayClient, device_identity("gw1", "edgegw"), {"token": TOKEN})
    gateway.notificationCallback = notes.put
    # The SDK's own callback takes the topics of devices for those of gateways, and throws.
    gateway.client.message_callback_add("iot-2/type/+/id/+/cmd/+/fmt/+", lambda *arguments: commands.put(arguments[2]))
    gateway.subscribeToNotifications()
    gateway.subscribeToDeviceCommands("sensor", "s1")
    assert gateway.publishDeviceEvent("sensor", "s1", "status", "json", {"x": 1}, qos=1)
    event = events.get(timeout=5)
    assert (event.typeId, event.deviceId, event.data) == ("sensor", "s1", {"x": 1})
    assert gateway.publishEvent("status", "json", {"x": 2})
    assert events.get(timeout=5).deviceId == "gw1"
    application.publishCommand("sensor", "s1", "blink", "json", {})
    assert commands.get(timeout=5).topic == "iot-2/type/sensor/id/s1/cmd/blink/fmt/json"
    gateway.publishDeviceEvent("nosuchtype", "s1", "status", "json", {})
    assert notes.get(timeout=5).data["RC"] == 177


def test_managed_device(service, connect):
    """Manage, location, error codes and log."""
    device = connect(service, wiotp.sdk.device.ManagedDeviceClient, device_identity(), {"token": TOKEN})
    wait_until(device.readyForDeviceMgmt.is_set, 10, "an answer to manage")
    for answered in (device.setLocation(11.5, 48.1), device.setErrorCode(17), device.addLog("hello", "", 1),
                     device.clearErrorCodes(), device.clearLog(), device.unmanage()):
        assert answered.wait(5)
    assert not device.readyForDeviceMgmt.is_set()


def test_durable_session(service, connect, sdk_application):
    """A command waits for a device with a durable session: its 'cleanStart' means the opposite."""
    first = connect(service, wiotp.sdk.device.DeviceClient, device_identity(), {"token": TOKEN}, cleanStart=True)
    wait_until(lambda: first.subscriptionsAcknowledged.is_set(), 5, "the SDK's subscription to commands")
    first.disconnect()
    sdk_application(service).publishCommand("edge", "e1", "blink", "json", {"n": 1}, qos=1)
    commands = queue.Queue()
    second = wiotp.sdk.device.DeviceClient(
        {"identity": device_identity(), "auth": {"token": TOKEN},
         "options": {"domain": DOMAIN, "mqtt": {"port": 1883, "cleanStart": True}}})
    second.port, second.commandCallback = service.port, commands.put
    second.connect()
    assert commands.get(timeout=5).data == {"n": 1}
    second.disconnect()
