"""The vendor's Python SDK as application, device, gateway and managed device."""

import datetime
import json
import queue
import threading
import types

import pytest

wiotp = pytest.importorskip("wiotp.sdk", reason="Scripts/setup installs it")

import wiotp.sdk.application  # noqa: E402
import wiotp.sdk.device  # noqa: E402
import wiotp.sdk.gateway  # noqa: E402

from harness.waiting import DEADLINE, wait_until  # noqa: E402
from sdk import subscribe  # noqa: E402
from service import DOMAIN, KEY, KEY_TOKEN, ORGANIZATION, TOKEN  # noqa: E402


def device_identity(name="e1", kind="edge"):
    return {"orgId": ORGANIZATION, "typeId": kind, "deviceId": name}


@pytest.fixture
def sdk_application(sdk_connect):
    """An application."""
    return lambda service: sdk_connect(service, wiotp.sdk.application.ApplicationClient, {"appId": "sdk"},
                                   {"key": KEY, "token": KEY_TOKEN})


def test_device_and_application(service, sdk_connect, sdk_application):
    """Events, commands and status."""
    application = sdk_application(service)
    events, statuses, commands = queue.Queue(), queue.Queue(), queue.Queue()
    application.deviceEventCallback, application.deviceStatusCallback = events.put, statuses.put
    subscribe(application, application.subscribeToDeviceEvents)
    subscribe(application, application.subscribeToDeviceStatus)
    device = sdk_connect(service, wiotp.sdk.device.DeviceClient, device_identity(), {"token": TOKEN})
    device.commandCallback = commands.put
    status = statuses.get(timeout=DEADLINE)
    assert (status.action, status.typeId, status.deviceId) == ("Connect", "edge", "e1")
    assert device.publishEvent("status", "json", {"d": {"temp": 21.7}}, qos=2)
    event = events.get(timeout=DEADLINE)
    assert (event.eventId, event.typeId, event.deviceId, event.data) == ("status", "edge", "e1", {"d": {"temp": 21.7}})
    application.publishCommand("edge", "e1", "blink", "json", {"times": 3})
    command = commands.get(timeout=DEADLINE)
    assert (command.commandId, command.data) == ("blink", {"times": 3})


def test_many_events_of_qos_2(start_service, sdk_connect, application):
    """The SDK publishes as fast as it is called: thirty events with QoS 2 arrive once each."""
    service = start_service("--rates", "unlimited")
    listener = application(service)
    listener.subscribe("iot-2/type/+/id/+/evt/+/fmt/+", qos=2)
    device = sdk_connect(service, wiotp.sdk.device.DeviceClient, device_identity(), {"token": TOKEN})
    delivered = queue.Queue()
    for number in range(30):
        assert device.publishEvent("status", "json", {"n": number}, qos=2, onPublish=lambda: delivered.put(None))
    for _ in range(30):
        delivered.get(timeout=DEADLINE)
    assert [json.loads(listener.next().payload)["n"] for _ in range(30)] == list(range(30))
    listener.nothing()


def test_gateway(service, sdk_connect, sdk_application):
    """Events of other devices, commands to them, notifications."""
    application = sdk_application(service)
    events, notes, commands = queue.Queue(), queue.Queue(), queue.Queue()
    application.deviceEventCallback = events.put
    subscribe(application, application.subscribeToDeviceEvents)
    gateway = sdk_connect(service, wiotp.sdk.gateway.GatewayClient, device_identity("gw1", "edgegw"), {"token": TOKEN})
    gateway.notificationCallback = notes.put
    # The SDK's own callback takes the topics of devices for those of gateways, and throws.
    gateway.client.message_callback_add("iot-2/type/+/id/+/cmd/+/fmt/+", lambda *arguments: commands.put(arguments[2]))
    subscribe(gateway, gateway.subscribeToNotifications)
    subscribe(gateway, gateway.subscribeToDeviceCommands, "sensor", "s1")
    assert gateway.publishDeviceEvent("sensor", "s1", "status", "json", {"x": 1}, qos=1)
    event = events.get(timeout=DEADLINE)
    assert (event.typeId, event.deviceId, event.data) == ("sensor", "s1", {"x": 1})
    assert gateway.publishEvent("status", "json", {"x": 2})
    assert events.get(timeout=DEADLINE).deviceId == "gw1"
    application.publishCommand("sensor", "s1", "blink", "json", {})
    assert commands.get(timeout=DEADLINE).topic == "iot-2/type/sensor/id/s1/cmd/blink/fmt/json"
    gateway.publishDeviceEvent("nosuchtype", "s1", "status", "json", {})
    assert notes.get(timeout=DEADLINE).data["RC"] == 177


def test_managed_device(service, sdk_connect):
    """Manage, location, error codes and log."""
    device = sdk_connect(service, wiotp.sdk.device.ManagedDeviceClient, device_identity(), {"token": TOKEN})
    wait_until(device.readyForDeviceMgmt.is_set, DEADLINE, "an answer to manage")
    for answered in (device.setLocation(11.5, 48.1), device.setErrorCode(17), device.addLog("hello", "", 1),
                     device.clearErrorCodes(), device.clearLog(), device.unmanage()):
        assert answered.wait(DEADLINE)
    assert not device.readyForDeviceMgmt.is_set()


def test_durable_session(service, sdk_connect, sdk_application, closing):
    """A command waits for a device with a durable session: its 'cleanStart' means the opposite."""
    first = sdk_connect(service, wiotp.sdk.device.DeviceClient, device_identity(), {"token": TOKEN}, cleanStart=True)
    first.disconnect()
    sdk_application(service).publishCommand("edge", "e1", "blink", "json", {"n": 1}, qos=1)
    commands = queue.Queue()
    second = wiotp.sdk.device.DeviceClient(
        {"identity": device_identity(), "auth": {"token": TOKEN},
         "options": {"domain": DOMAIN, "mqtt": {"port": 1883, "cleanStart": True}}})
    second.port, second.commandCallback = service.port, commands.put
    second.connect()
    closing.append(types.SimpleNamespace(close=second.disconnect))
    assert commands.get(timeout=DEADLINE).data == {"n": 1}


def test_managed_gateway(service, sdk_connect):
    """A gateway manages itself, in the long form."""
    gateway = sdk_connect(service, wiotp.sdk.gateway.ManagedGatewayClient, device_identity("gw1", "edgegw"),
                          {"token": TOKEN})
    assert gateway.manage().wait(DEADLINE)
    wait_until(gateway.readyForDeviceMgmt.is_set, DEADLINE, "an answer to manage")
    # What else it offers there throws: it looks for its configuration where that is not.


@pytest.fixture
def rest_application(start_service, authority, closing, sdk_domain, monkeypatch):
    """An application of the SDK, which speaks REST over TLS only, and its platform."""
    certificate = authority.issue(f"DNS:*.{DOMAIN}")
    service = start_service("--certificate", certificate.certificate, "--key", certificate.key, "--https", "0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
    application = wiotp.sdk.application.ApplicationClient(
        {"identity": {"appId": "sdk"}, "auth": {"key": KEY, "token": KEY_TOKEN},
         "options": {"domain": f"{DOMAIN}:{service.ports['https']}", "mqtt": {"port": 1883}}})
    return service, application


def test_registry(rest_application, sdk_connect):
    """Types and devices; the token that the platform makes lets the device in."""
    service, application = rest_application
    registry = application.registry
    registry.devicetypes.create({"id": "pump", "description": "moves water"})
    assert "pump" in registry.devicetypes and "nothing" not in registry.devicetypes
    made = registry.devices.create({"typeId": "pump", "deviceId": "p1"})
    assert made.success and made.authToken
    device = sdk_connect(service, wiotp.sdk.device.DeviceClient, device_identity("p1", "pump"),
                         {"token": made.authToken})
    assert device.publishEvent("status", "json", {"level": 7}, qos=1)
    wait_until(lambda: application.lec.getAll({"typeId": "pump", "deviceId": "p1"}), DEADLINE, "the last event")
    event = application.lec.get({"typeId": "pump", "deviceId": "p1"}, "status")
    assert (event.eventId, event.format) == ("status", "json")
    assert registry.devices[f"d:{ORGANIZATION}:pump:p1"].deviceId == "p1"
    device.client._reconnect_on_failure = False  # pylint: disable=protected-access
    assert registry.devices.delete({"typeId": "pump", "deviceId": "p1"})
    wait_until(lambda: not device.isConnected(), DEADLINE, "the end of the removed device's connection")
    del registry.devicetypes["pump"]


def test_diagnostics(rest_application):
    """Log entries have an identifier by which one is found and removed; error codes come newest first."""
    _, application = rest_application
    device = application.registry.devices[f"d:{ORGANIZATION}:edge:e1"]
    assert device.metadata is None
    for message in ("one", "two", "three"):
        assert device.diagLogs.append(message=message, severity=1, data="ZGF0YQ==", timestamp="2024-05-01T10:20:00Z")
    assert [entry.message for entry in device.diagLogs] == ["one", "two", "three"]
    second = device.diagLogs[1]
    assert (second.typeId, second.deviceId) == ("edge", "e1")
    assert second.id in device.diagLogs and device.diagLogs[second.id].message == "two"
    del device.diagLogs[second.id]
    assert second.id not in device.diagLogs and len(device.diagLogs) == 2
    del device.diagLogs[0]
    assert [entry.message for entry in device.diagLogs] == ["three"]
    for code in (1, 2):
        assert device.diagErrorCodes.append(errorCode=code, timestamp="2024-05-01T10:20:00Z")
    assert [device.diagErrorCodes[place].errorCode for place in (0, 1)] == [2, 1]


def test_status_and_usage(rest_application, sdk_connect):
    """What the service tells of itself, and of who is connected."""
    service, application = rest_application
    assert application.serviceStatus().messaging == "green"
    device = sdk_connect(service, wiotp.sdk.device.DeviceClient, device_identity(), {"token": TOKEN})
    assert device.publishEvent("status", "json", {"text": "x" * 1000}, qos=1)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    usage = application.usage.dataTransfer(today - datetime.timedelta(days=1), today, True)
    assert usage.total > 1000 and sum(day.total for day in usage.days) == usage.total
    assert application.usage.dataTransfer(today, today).days == []
    states = application.registry.connectionStatus
    client = f"d:{ORGANIZATION}:edge:e1"
    assert states[client]["connectionStatus"] == "connected"
    for after, found in (("2024-05-01T10:20:00Z", [client]), ("2999-05-01T10:20:00Z", [])):
        assert [state["id"] for state in states.find(deviceId="e1", connectedAfter=after)] == found
    with pytest.raises(KeyError):
        states["d:x:y:z"]  # pylint: disable=expression-not-assigned


def test_requests(rest_application, sdk_connect):
    """A reboot, asked for over REST and done by the SDK's managed device."""
    service, application = rest_application
    device = sdk_connect(service, wiotp.sdk.device.ManagedDeviceClient, device_identity(), {"token": TOKEN})
    wait_until(device.readyForDeviceMgmt.is_set, DEADLINE, "an answer to manage")
    device.deviceActionCallback = lambda identifier, _action: threading.Timer(
        0.1, lambda: (device.respondDeviceAction(identifier, 202), device.manage())).start()
    requests = application.mgmt.requests
    made = requests.initiate({"action": "device/reboot", "devices": [{"typeId": "edge", "deviceId": "e1"}]})
    wait_until(lambda: requests.get(made["reqId"])["complete"], DEADLINE, "the request's end")
    assert requests.getStatus(made["reqId"], "edge", "e1")["status"] == 0
    assert requests.delete(made["reqId"])
