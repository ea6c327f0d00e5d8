"""Server-sent events, which the page lives on."""

import json
import os
import time

import pytest

from harness.waiting import DEADLINE, wait_until
from rest import APPLICATION, Stream, api, call
from service import Client


# The least time between two messages about a list.
LIST_SECONDS = 0.5


@pytest.fixture
def stream(closing):
    """Opens a stream that is closed with the test."""
    def open_stream(*arguments, **options):
        opened = Stream(*arguments, **options)
        closing.append(opened)
        return opened
    return open_stream


def quickstart(service, name="q1", kind="any"):
    return Client(service, f"d:quickstart:{kind}:{name}")


def test_quickstart_device(service, join, stream):
    """State, connect, events at once, disconnect."""
    watched = stream(service, "/api/live/quickstart/devices/q1")
    state, _ = watched.next("state")
    assert (state["known"], state["connected"]) == (False, False)
    device = join(service, "d:quickstart:any:q1")
    assert watched.next("connection")[0]["action"] == "Connect"
    payload = '{"d":{"t":21.50,"x":"<script>"}}'
    device.publish("iot-2/evt/status/fmt/json", payload, qos=0)
    event, _ = watched.next("event")
    assert (event["type"], event["event"], event["format"], event["payload"]) == ("any", "status", "json", payload)
    device.close()
    assert watched.next("connection")[0]["action"] == "Disconnect"


def test_events_are_not_held_back(service, stream, device, application):
    """An event of a device comes at once, and not with others twice a second: it is there when an application has it
    over MQTT. Of several the fastest counts, for either reader may be kept waiting by this machine."""
    watched = stream(service, "/api/live/fleet/types/edge/devices/e1", APPLICATION)
    listener = application(service)
    listener.subscribe("iot-2/type/edge/id/e1/evt/+/fmt/+")
    client = device(service)
    delays = []
    for number in range(10):
        client.publish("iot-2/evt/status/fmt/json", {"d": {"n": number}})
        # Both are moments of the same clock.
        delays.append(watched.next("event")[1] - listener.next().timestamp)
    assert min(delays) < LIST_SECONDS / 2, delays


def test_last_events_first(service, join, stream):
    """Who comes late sees the last message of each event."""
    join(service, "d:quickstart:any:q1").publish("iot-2/evt/status/fmt/json", {"d": {"t": 1}}, qos=0)

    def late():
        watched = stream(service, "/api/live/quickstart/devices/q1")
        watched.next("state")
        return watched

    wait_until(lambda: json.loads(late().next("event")[0]["payload"]) == {"d": {"t": 1}}, DEADLINE, "the last event")


def test_bytes_are_not_text(service, stream, join):
    """What is not UTF-8 comes as its size."""
    watched = stream(service, "/api/live/quickstart/devices/q1")
    watched.next("state")
    join(service, "d:quickstart:any:q1").publish("iot-2/evt/bin/fmt/json", b"\xff\xfe\x00", qos=0)
    event, _ = watched.next("event")
    assert "payload" not in event and event["size"] == 3


@pytest.mark.parametrize("size, is_shown", [(16_384, True), (16_385, False)])
def test_long_payloads(service, stream, join, size, is_shown):
    """What is longer than a page shows comes as its size."""
    watched = stream(service, "/api/live/quickstart/devices/q1")
    watched.next("state")
    join(service, "d:quickstart:any:q1").publish("iot-2/evt/status/fmt/json", b"7" * size, qos=0)
    event, _ = watched.next("event")
    assert event["size"] == size and event.get("payload") == ("7" * size if is_shown else None)
    assert event.get("tooLong", False) is not is_shown


def test_lists(service, stream, join, device):
    """Lists begin whole, and then tell what changed, twice a second at most."""
    listed = stream(service, "/api/live/quickstart")
    assert listed.next("devices")[0]["devices"] == []
    join(service, "d:quickstart:any:q1")
    change, _ = listed.next("changes")
    assert [(entry["id"], entry["connected"]) for entry in change["devices"]] == [("q1", True)]
    fleet = stream(service, "/api/live/fleet", APPLICATION)
    assert {entry["id"] for entry in fleet.next("devices")[0]["devices"]} == {"e1", "e2", "e3", "gw1"}
    began = time.monotonic()
    client = device(service)
    for _ in range(8):
        client.publish("iot-2/evt/status/fmt/json", {"d": {}})
        time.sleep(0.1)
    client.close()
    changes = [fleet.next("changes")[0]]
    while changes[-1]["devices"][0]["connected"]:
        changes.append(fleet.next("changes")[0])
    assert changes[-1]["devices"][0]["lastEvent"]
    # However long that took: there is half a second between two.
    assert len(changes) <= 1 + (time.monotonic() - began) / LIST_SECONDS, changes
    assert api(service, "DELETE", "/device/types/edge/devices/e3").status == 204
    wait_until(lambda: {"type": "edge", "id": "e3"} in fleet.next("changes")[0]["removed"], DEADLINE, "the removal")


def test_fleet_device(service, stream, device):
    """A registered device's commands and changes are told as well."""
    watched = stream(service, "/api/live/fleet/types/edge/devices/e1", APPLICATION)
    assert watched.next("state")[0]["known"]
    client = device(service)
    watched.next("connection")
    client.publish("iot-2/evt/status/fmt/json", {"d": {"t": 1}})
    watched.next("event")
    api(service, "POST", "/application/types/edge/devices/e1/commands/blink", {})
    assert watched.next("command")[0]["command"] == "blink"
    api(service, "PUT", "/device/types/edge/devices/e1", {"deviceInfo": {"model": "X"}})
    watched.next("changed")
    made = api(service, "POST", "/mgmt/requests", {
        "action": "device/reboot", "devices": [{"typeId": "edge", "deviceId": "e1"}]}).json
    assert watched.next("request")[0]["request"] == made["reqId"]


def test_who_may_watch(service):
    """Registered devices are shown to who has an API key; Quickstart's to anyone."""
    for path in ("/api/live/fleet", "/api/live/fleet/types/edge/devices/e1"):
        assert call(service, "GET", path, auth=None).status == 401
        assert call(service, "GET", path, auth=("use-token-auth", "x")).status == 401
    assert call(service, "GET", "/api/live/quickstart/devices/a%20b", auth=None).status == 400


def test_streams_end(service, stream):
    """Readers that go are noticed, at the next message at the latest."""
    streams = [stream(service, "/api/live/quickstart/devices/q1") for _ in range(50)]
    for opened in streams:
        opened.next("state")
        opened.close()
    device = quickstart(service)
    for _ in range(3):
        device.publish("iot-2/evt/status/fmt/json", {"d": {}}, qos=0)
        time.sleep(0.2)
    device.close()
    descriptors = f"/proc/{service.process.pid}/fd"
    wait_until(lambda: len(os.listdir(descriptors)) < 40, DEADLINE, "the streams' descriptors to be closed")
