"""Gateways: other devices behind them, registered at first contact, and how they are told what went wrong."""

import json

import pytest

NOTIFY = "iot-2/type/edgegw/id/gw1/notify"


def test_registers_devices_at_first_contact(service, gateway, application):
    """The first event of an unknown device registers it; its events and commands go through the gateway."""
    listener = application(service)
    listener.subscribe("iot-2/type/sensor/id/+/evt/+/fmt/+")
    client = gateway(service)
    client.publish("iot-2/type/sensor/id/s1/evt/status/fmt/json", "{}")
    assert listener.next().topic == "iot-2/type/sensor/id/s1/evt/status/fmt/json"
    service.wait_log("registry", "device-added", type="sensor", id="s1", by="g:local0:edgegw:gw1")
    client.subscribe("iot-2/type/+/id/+/cmd/+/fmt/+")
    listener.publish("iot-2/type/sensor/id/s1/cmd/blink/fmt/json", "{}")
    assert client.next().topic == "iot-2/type/sensor/id/s1/cmd/blink/fmt/json"
    # Not those of devices that it has nothing to do with.
    listener.publish("iot-2/type/edge/id/e1/cmd/blink/fmt/json", "{}")
    client.nothing()


def test_subscription_registers(service, gateway, application):
    """So does the first subscription."""
    client = gateway(service)
    assert client.subscribe("iot-2/type/sensor/id/s2/cmd/+/fmt/+") == (1,)
    application(service).publish("iot-2/type/sensor/id/s2/cmd/blink/fmt/json", "{}")
    assert client.next().topic == "iot-2/type/sensor/id/s2/cmd/blink/fmt/json"


@pytest.mark.parametrize("topic, code, names_device", [
    ("iot-2/evt/status/fmt/json", 276, False),
    ("iot-2/type/sensor/id/s1/cmd/x/fmt/json", 276, True),
    ("other", 276, False),
    ("iot-2/type/nosuchtype/id/s1/evt/status/fmt/json", 177, True),
])
def test_is_told_of_errors(service, gateway, topic, code, names_device):
    """A gateway keeps its connection, gets its acknowledgement, and is told on its notification topic."""
    client = gateway(service)
    client.subscribe(NOTIFY, qos=0)
    client.publish(topic, "{}")
    message = client.next(NOTIFY)
    body = json.loads(message.payload)
    assert message.qos == 0
    assert body["Request"] == "Publish" and body["Topic"] == topic and body["RC"] == code and body["Message"]
    assert body["Client"] == "g:local0:edgegw:gw1" and body["Time"].endswith("Z")
    assert ("Type" in body, "Id" in body) == (names_device, names_device)
    client.publish("iot-2/type/edgegw/id/gw1/evt/status/fmt/json", "{}")


def test_refused_subscription(service, gateway):
    """An illegal filter is refused in the SUBACK."""
    client = gateway(service)
    assert client.subscribe(NOTIFY, "iot-2/cmd/+/fmt/+") == (1, 128)
    assert json.loads(client.next(NOTIFY).payload)["Request"] == "Subscribe"


def test_speaks_for_itself(service, gateway, application):
    """A gateway is a device as well, in the long form."""
    listener = application(service)
    listener.subscribe("iot-2/type/edgegw/id/gw1/evt/+/fmt/+")
    client = gateway(service)
    client.publish("iot-2/type/edgegw/id/gw1/evt/status/fmt/json", "{}")
    listener.next()
    client.subscribe("iot-2/type/edgegw/id/gw1/cmd/+/fmt/+")
    listener.publish("iot-2/type/edgegw/id/gw1/cmd/blink/fmt/json", "{}")
    client.next()


def test_manages_other_devices(service, gateway):
    """Device management of an attached device: answers come on that device's topic."""
    client = gateway(service)
    client.subscribe("iotdm-1/type/+/id/+/#")
    client.publish("iotdevice-1/type/sensor/id/s1/mgmt/manage", {"d": {"lifetime": 3600}, "reqId": "r1"})
    message = client.next("iotdm-1/type/sensor/id/s1/response")
    assert json.loads(message.payload) == {"rc": 200, "reqId": "r1"}
