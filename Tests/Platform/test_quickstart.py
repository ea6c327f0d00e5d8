"""Quickstart's organisation: anyone may come, and may do little. And the agent that is made for it."""

import json
import subprocess
import time

import pytest

from harness.waiting import DEADLINE


def quickstart(join, service, name="d:quickstart:t:d1", **options):
    return join(service, name, **options)


def test_event(service, join):
    """A device's event reaches an application that names the device."""
    listener = quickstart(join, service, "a:quickstart:app1")
    listener.subscribe("iot-2/type/t/id/d1/evt/+/fmt/+", "iot-2/type/t/id/d1/mon")
    device = quickstart(join, service)
    assert json.loads(listener.next("iot-2/type/t/id/d1/mon").payload)["Action"] == "Connect"
    device.publish("iot-2/evt/status/fmt/json", '{"d":{"x":1}}', qos=0)
    assert listener.next().payload == b'{"d":{"x":1}}'


@pytest.mark.parametrize("client, options", [
    ("d:quickstart:t:d1", {"user": "use-token-auth", "password": "token"}),
    ("d:quickstart:t:d1", {"clean": False}),
    ("g:quickstart:t:d1", {}), ("A:quickstart:app1", {}), ("A:quickstart:app1:i1", {}),
])
def test_refuses(service, join, client, options):
    """Credentials, durable sessions, gateways and shared applications are for others."""
    assert join(service, client, auto=False, **options).codes.get(timeout=DEADLINE)[0] == 5


@pytest.mark.parametrize("client, action, topic", [
    ("d:quickstart:t:d1", "subscribe", "iot-2/cmd/+/fmt/+"), ("d:quickstart:t:d1", "subscribe", "iotdm-1/#"),
    ("d:quickstart:t:d1", "publish", "iot-2/evt/status/fmt/xml"),
    ("d:quickstart:t:d1", "publish", "iotdevice-1/mgmt/manage"),
    ("a:quickstart:a1", "publish", "iot-2/type/t/id/d1/cmd/blink/fmt/json"),
    ("a:quickstart:a1", "subscribe", "iot-2/type/+/id/d1/evt/+/fmt/+"),
    ("a:quickstart:a1", "subscribe", "iot-2/type/t/id/+/evt/+/fmt/+"),
    ("a:quickstart:a1", "subscribe", "iot-2/app/+/mon"),
    ("a:quickstart:a1", "subscribe", "iot-2/type/t/id/d1/cmd/+/fmt/+"),
])
def test_closes(service, join, client, action, topic):
    """What Quickstart does not offer closes the connection, code 276."""
    joined = join(service, client)
    if action == "subscribe":
        joined.client.subscribe(topic, 0)
    else:
        joined.client.publish(topic, "{}", 0)
    joined.wait_closed()
    service.wait_log("client", "disconnected", client_id=client, code=276)


def test_rate(service, join):
    """More than one message a second may be dropped, and is."""
    listener = quickstart(join, service, "a:quickstart:app1")
    listener.subscribe("iot-2/type/t/id/d1/evt/+/fmt/+")
    device = quickstart(join, service)
    began = time.monotonic()
    for number in range(5):
        device.publish("iot-2/evt/status/fmt/json", str(number), qos=1)
    took = time.monotonic() - began
    listener.catch_up()
    assert listener.all[0].payload == b"0" and len(listener.all) <= 1 + took, f"{len(listener.all)} in {took} s"


def test_can_be_closed(start_service, join):
    """Without Quickstart its clients are refused."""
    service = start_service("--no-quickstart")
    assert join(service, "d:quickstart:t:d1", auto=False).codes.get(timeout=DEADLINE)[0] == 5


def test_agent(service, join, start_agent):
    """The agent's Quickstart mode: its sensors arrive."""
    listener = quickstart(join, service, "a:quickstart:app1")
    listener.subscribe("iot-2/type/t/id/0123456789ab/evt/+/fmt/json")
    agent = start_agent("quickstart", "--host", "127.0.0.1", "--port", service.port, "--type", "t",
                        "--id", "0123456789ab")
    data = json.loads(listener.next().payload)["d"]
    assert any(isinstance(value, (int, float)) for value in data.values()), data
    assert agent.stop() == 0


def test_mosquitto_clients(service):
    """mosquitto_sub and mosquitto_pub."""
    arguments = ["-h", "127.0.0.1", "-p", str(service.port)]
    with subprocess.Popen(["mosquitto_sub", *arguments, "-i", "a:quickstart:app1", "-C", "1", "-W", str(DEADLINE),
                           "-t", "iot-2/type/t/id/d1/evt/+/fmt/+"], stdout=subprocess.PIPE, text=True) as listener:
        # Nothing tells when it has subscribed: what comes before that is lost.
        while listener.poll() is None:
            subprocess.run(["mosquitto_pub", *arguments, "-i", "d:quickstart:t:d1", "-q", "1", "-t",
                            "iot-2/evt/status/fmt/json", "-m", "hello"], check=True, timeout=DEADLINE)
            time.sleep(1.1)
        assert listener.communicate()[0] == "hello\n"
