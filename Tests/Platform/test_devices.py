"""Devices and applications: who may connect, what they may say, and who hears it."""

import asyncio
import time

import pytest

from harness.waiting import DEADLINE, wait_until
from service import KEY, KEY_TOKEN, ORGANIZATION, TOKEN, Client

EVENTS = "iot-2/type/+/id/+/evt/+/fmt/+"


@pytest.mark.parametrize("client, user, password, code", [
    (f"d:{ORGANIZATION}:edge:e1", "use-token-auth", "wrong-token", 5),
    (f"d:{ORGANIZATION}:edge:e1", "use-auth-token", TOKEN, 5),
    (f"d:{ORGANIZATION}:edge:e1", None, None, 5),
    (f"d:{ORGANIZATION}:edge:nobody", "use-token-auth", TOKEN, 5),
    (f"g:{ORGANIZATION}:edge:e1", "use-token-auth", TOKEN, 5),
    (f"d:{ORGANIZATION}:edgegw:gw1", "use-token-auth", TOKEN, 5),
    ("d:zzzzzz:edge:e1", "use-token-auth", TOKEN, 5),
    (f"x:{ORGANIZATION}:edge:e1", "use-token-auth", TOKEN, 5),
    (f"d:{ORGANIZATION}:edge", "use-token-auth", TOKEN, 5),
    (f"d:{ORGANIZATION}:edge:with blank", "use-token-auth", TOKEN, 5),
    (f"d:{ORGANIZATION}:edge:{'e' * 250}", "use-token-auth", TOKEN, 2),
    (f"a:{ORGANIZATION}:app1", KEY, "wrong-token", 5),
    (f"a:{ORGANIZATION}:app1", "a-local0-nobody", KEY_TOKEN, 5),
    (f"A:{ORGANIZATION}:app1:one:two", KEY, KEY_TOKEN, 5),
])
def test_refuses(service, join, client, user, password, code):
    """Each wrong identity or credential is refused with the code that the platform names."""
    assert join(service, client, user, password, auto=False).codes.get(timeout=DEADLINE)[0] == code


def test_event_reaches_application(service, device, application):
    """A device's event arrives with type and device in its topic, at the lower QoS."""
    listener = application(service)
    listener.subscribe(EVENTS, qos=1)
    sender = device(service)
    for qos in (0, 1, 2):
        sender.publish("iot-2/evt/status/fmt/json", '{"d":{"x":1}}', qos=qos, retain=True)
        message = listener.next()
        assert message.topic == "iot-2/type/edge/id/e1/evt/status/fmt/json"
        assert message.payload == b'{"d":{"x":1}}'
        assert message.qos == min(qos, 1)
        assert not message.retain
    late = application(service, "late")
    late.subscribe(EVENTS)
    late.nothing()


def test_many_messages_of_qos_2(start_service, device, application):
    """paho has twenty messages open, of which ten may be between PUBREC and PUBREL: all come, each once."""
    service = start_service("--rates", "unlimited")
    listener = application(service)
    listener.subscribe(EVENTS, qos=2)
    sender = device(service)
    sent = [sender.client.publish("iot-2/evt/status/fmt/json", str(number), 2) for number in range(100)]
    for message in sent:
        message.wait_for_publish(DEADLINE)
    assert [int(listener.next().payload) for _ in range(100)] == list(range(100))
    listener.nothing()
    assert sender.ends.empty()


def test_many_messages_of_qos_2_of_gmqtt(start_service, application):
    """gmqtt asks for MQTT 5, then for 3.1.1 as it is told, and has as many messages open as there are: the same."""
    gmqtt = pytest.importorskip("gmqtt", reason="Scripts/setup test installs it")
    service = start_service("--rates", "unlimited")
    listener = application(service)
    listener.subscribe(EVENTS, qos=2)
    ends = []

    async def publish():
        client = gmqtt.Client(f"d:{ORGANIZATION}:edge:e1")
        # All else as it comes.
        client.set_config({"reconnect_delay": 0})
        client.on_disconnect = lambda *_: ends.append(client.is_connected)
        client.set_auth_credentials("use-token-auth", TOKEN)
        await asyncio.wait_for(client.connect("127.0.0.1", service.port), DEADLINE)
        ends.clear()
        for number in range(100):
            client.publish("iot-2/evt/status/fmt/json", str(number), qos=2)
        await asyncio.to_thread(wait_until, lambda: len(listener.all) >= 100, DEADLINE, "all messages")
        assert not ends
        await client.disconnect()

    asyncio.run(publish())
    assert [int(listener.next().payload) for _ in range(100)] == list(range(100))
    listener.nothing()
    assert len(service.find("client", "connected")) == 2


def test_filters(service, device, application):
    """Each variable level may be named or not; overlapping filters bring a message once."""
    one = application(service, "one")
    one.subscribe("iot-2/type/edge/id/e1/evt/+/fmt/json", "iot-2/type/+/id/+/evt/status/fmt/+")
    other = application(service, "other")
    other.subscribe("iot-2/type/edge/id/e2/evt/+/fmt/+", "iot-2/type/sensor/id/+/evt/+/fmt/+")
    sender = device(service)
    sender.publish("iot-2/evt/status/fmt/json", "1")
    sender.publish("iot-2/evt/other/fmt/xml", "2")
    sender.publish("iot-2/evt/other/fmt/json", "3")
    assert [one.next().payload for _ in range(2)] == [b"1", b"3"]
    one.nothing()
    other.nothing(0)
    one.client.unsubscribe("iot-2/type/edge/id/e1/evt/+/fmt/json")
    one.catch_up()
    sender.publish("iot-2/evt/other/fmt/json", "4")
    sender.publish("iot-2/evt/status/fmt/json", "5")
    assert one.next().payload == b"5"


def test_command_reaches_device(service, device, application):
    """A command arrives at the device that it is for, in the short form, at the QoS of the subscription."""
    receiver, bystander = device(service, "e1"), device(service, "e2")
    assert receiver.subscribe("iot-2/cmd/+/fmt/+", qos=2) == (2,)
    bystander.subscribe("iot-2/cmd/+/fmt/+")
    commander = application(service)
    watcher = application(service, "watcher")
    watcher.subscribe("iot-2/type/+/id/+/cmd/+/fmt/+")
    for qos in (0, 1, 2):
        commander.publish("iot-2/type/edge/id/e1/cmd/blink/fmt/json", "{}", qos=qos)
        message = receiver.next()
        assert (message.topic, message.qos) == ("iot-2/cmd/blink/fmt/json", qos)
        assert watcher.next().topic == "iot-2/type/edge/id/e1/cmd/blink/fmt/json"
    bystander.nothing()


def test_application_speaks_for_device(service, application):
    """An application may publish a device's event."""
    listener = application(service, "listener")
    listener.subscribe(EVENTS)
    application(service).publish("iot-2/type/edge/id/e3/evt/status/fmt/json", "{}")
    assert listener.next().topic == "iot-2/type/edge/id/e3/evt/status/fmt/json"


@pytest.mark.parametrize("topic", [
    "iot-2/evt/status", "iot-2/evt//fmt/json", "iot-2/evt/status/fmt/", "iot-2/cmd/blink/fmt/json", "other",
    "iot-2/type/edge/id/e1/evt/status/fmt/json", "iot-2/evt/status/fmt/json/more", "/" * 200, "iot-1/evt/x/fmt/json",
])
def test_illegal_topic_of_device(service, device, topic):
    """A device that publishes to an illegal topic loses its connection, closing code 276."""
    client = device(service)
    client.client.publish(topic, "{}", 1)
    client.wait_closed()
    service.wait_log("client", "disconnected", client_id="d:local0:edge:e1", code=276)


@pytest.mark.parametrize("make, topic", [
    ("device", "iot-2/evt/+/fmt/json"), ("device", "#"), ("device", "iot-2/cmd/#"),
    ("device", "iot-2/type/edge/id/e1/cmd/+/fmt/+"), ("application", "iot-2/#"), ("application", "iotdm-1/#"),
    ("application", "iot-2/type/+/id/+/evt/#"), ("application", "iot-2/cmd/+/fmt/+"),
])
def test_illegal_filter(service, request, make, topic):
    """So does a client that subscribes to an illegal filter."""
    client = request.getfixturevalue(make)(service)
    client.client.subscribe(topic, 1)
    client.wait_closed()
    service.wait_log("client", "disconnected", code=276)


@pytest.mark.parametrize("size, is_taken", [(131_072, True), (131_073, False)])
def test_payload_limit(start_service, device, application, size, is_taken):
    """A payload of 128 KiB arrives; one byte more closes the connection, code 287."""
    service = start_service("--rates", "unlimited")
    listener = application(service)
    listener.subscribe(EVENTS)
    client = device(service)
    client.client.publish("iot-2/evt/large/fmt/bin", b"x" * size, 1)
    if is_taken:
        assert len(listener.next().payload) == size
    else:
        client.wait_closed()
        service.wait_log("client", "disconnected", client_id="d:local0:edge:e1", code=287)
        listener.nothing()


def test_takeover(service, device):
    """The second connection with a client identifier wins; the first one is closed with code 288."""
    first = device(service)
    second = device(service)
    first.wait_closed()
    service.wait_log("client", "disconnected", client_id="d:local0:edge:e1", code=288)
    second.publish("iot-2/evt/status/fmt/json")


def test_frequent_takeovers_are_delayed(service, device):
    """Who steals its own connection over and over is answered later each time."""
    start = time.monotonic()
    for _ in range(6):
        device(service)
    assert time.monotonic() - start > 0.9


def test_will(service, device, application):
    """A will is published when the connection breaks, as an event of its device, and not after DISCONNECT."""
    listener = application(service)
    listener.subscribe(EVENTS)
    will = ("iot-2/evt/gone/fmt/json", "{}", 1, True)
    device(service, will=will).drop()
    message = listener.next()
    assert (message.topic, message.retain) == ("iot-2/type/edge/id/e1/evt/gone/fmt/json", False)
    device(service, will=will).close()
    listener.nothing()


def test_forbidden_will(service, join):
    """A will that the client may not publish costs the connection, code 270."""
    client = join(service, f"d:{ORGANIZATION}:edge:e1", "use-token-auth", TOKEN, will=("other", "{}", 0, False),
                  auto=False)
    client.wait_closed()
    service.wait_log("connection", "closed", code=270)


def test_keep_alive(service, device, closing):
    """A client that is silent for one and a half times its keep alive is closed, code 160."""
    client = device(service, keepalive=1)
    client.client.loop_stop()
    service.wait_log("client", "disconnected", client_id="d:local0:edge:e1", code=160)
    closing.remove(client)


def test_rate(service, device):
    """Above its rate a device is read more slowly, and loses nothing."""
    client = device(service)
    start = time.monotonic()
    for _ in range(25):
        client.client.publish("iot-2/evt/status/fmt/json", "{}", 1)
    client.publish("iot-2/evt/status/fmt/json", "{}", 1)
    assert time.monotonic() - start > 1.2


def test_shared_subscription(service, device, application):
    """The connections of a shared application get each message once, in turn; one that goes hands its share back."""
    one, two = (application(service, "workers", shared=True) for _ in range(2))
    for worker in (one, two):
        worker.subscribe(EVENTS)
    sender = device(service)
    for number in range(8):
        sender.publish("iot-2/evt/status/fmt/json", str(number))
    one.catch_up()
    two.catch_up()
    shares = [[int(message.payload) for message in worker.all] for worker in (one, two)]
    assert sorted(shares[0] + shares[1]) == list(range(8))
    assert len(shares[0]) == len(shares[1])
    one.close()
    service.wait_log("client", "disconnected", client_id=f"A:{ORGANIZATION}:workers")
    for number in range(8, 12):
        sender.publish("iot-2/evt/status/fmt/json", str(number))
    two.catch_up()
    assert [int(message.payload) for message in two.all][-4:] == list(range(8, 12))


def test_shared_application_is_clean(service, join):
    """A shared application without instances has no durable session."""
    client = join(service, f"A:{ORGANIZATION}:workers", KEY, KEY_TOKEN, clean=False, auto=False)
    assert client.codes.get(timeout=DEADLINE)[0] == 5


def test_monitoring(service, device, application):
    """Applications hear of connections, at once and when they subscribe later; all fields are there."""
    watcher = application(service)
    watcher.subscribe("iot-2/type/+/id/+/mon", "iot-2/app/+/mon", qos=1)
    own = watcher.next("iot-2/app/app1/mon")
    assert own.retain and b'"Action":"Connect"' in own.payload
    client = device(service)
    connect = parse(watcher.next("iot-2/type/edge/id/e1/mon"))
    assert {**connect, "Time": "", "ConnectTime": ""} == {
        "Action": "Connect", "Time": "", "ClientAddr": "127.0.0.1", "ClientID": "d:local0:edge:e1",
        "Port": service.port, "Secure": False, "Protocol": "mqtt4", "ConnectTime": "", "Durable": False,
        "NewSession": True}
    client.publish("iot-2/evt/status/fmt/json", "{}")
    client.close()
    disconnect = parse(watcher.next("iot-2/type/edge/id/e1/mon"))
    assert disconnect["Action"] == "Disconnect" and "CloseCode" not in disconnect
    assert disconnect["ReadMsg"] == 1 and disconnect["ReadBytes"] > 50 and disconnect["WriteBytes"] == 8
    late = application(service, "late")
    late.subscribe("iot-2/type/edge/id/e1/mon")
    status = late.next()
    assert status.retain and parse(status)["Action"] == "Disconnect"
    Client(service, "d:local0:edge:e1", "use-token-auth", "wrong", auto=False)
    failed = parse(watcher.next("iot-2/type/edge/id/e1/mon"))
    assert (failed["Action"], failed["CloseCode"]) == ("FailedConnect", 181) and failed["Reason"]


def parse(message):
    import json
    return json.loads(message.payload)
