"""Device management: what a device tells, and the answers it gets."""

import json

import pytest


def ask(client, path, body):
    """Publishes a request, and returns the code of its answer."""
    client.publish(f"iotdevice-1/{path}", {**body, "reqId": "r-1"})
    answer = json.loads(client.next("iotdm-1/response").payload)
    assert answer["reqId"] == "r-1"
    return answer["rc"]


@pytest.fixture
def managed(service, device):
    """A managed device."""
    client = device(service)
    client.subscribe("iotdm-1/#")
    assert ask(client, "mgmt/manage", {"d": {"lifetime": 7200, "supports": {"deviceActions": True}}}) == 200
    return client


@pytest.mark.parametrize("data, code", [
    (None, 200), ({}, 200), ({"lifetime": 0}, 200), ({"lifetime": 3600}, 200), ({"lifetime": 3599}, 400),
    ({"lifetime": "long"}, 400), ({"lifetime": -1}, 400), ({"lifetime": 1e300}, 400),
    ({"supports": {"deviceActions": True, "firmwareActions": False}}, 200),
    ({"supports": {"deviceActions": 1}}, 400), ({"supports": {"no-such-bundle": True}}, 403),
    ({"supports": {"no-such-bundle": False}}, 200),
    ({"deviceInfo": {"serialNumber": "1", "fwVersion": "2"}}, 200), ({"deviceInfo": {"serialNumber": 1}}, 400),
    ({"deviceInfo": {"serialNumber": None}}, 200), ({"deviceInfo": {}}, 200), ({"deviceInfo": 7}, 400),
    ({"metadata": {"a": [1, {"b": None}]}}, 200), ({"metadata": "text"}, 400),
])
def test_manage(service, device, data, code):
    """Each shape of a manage request has its answer."""
    client = device(service)
    client.subscribe("iotdm-1/#")
    assert ask(client, "mgmt/manage", {} if data is None else {"d": data}) == code


@pytest.mark.parametrize("path, data, code", [
    ("device/update/location", {"latitude": 48.1, "longitude": 11.5, "elevation": 519}, 200),
    ("device/update/location", {"latitude": 91, "longitude": 11.5}, 400),
    ("device/update/location", {"latitude": 48.1}, 400),
    ("device/update/location", {"latitude": "48", "longitude": 11}, 400),
    ("add/diag/errorCodes", {"errorCode": 4711}, 200), ("add/diag/errorCodes", {"errorCode": "x"}, 400),
    ("clear/diag/errorCodes", None, 200),
    ("add/diag/log", {"message": "m", "timestamp": "2024-05-01T10:20:00Z", "severity": 1, "data": "AA=="}, 200),
    ("add/diag/log", {"message": "m", "timestamp": "2024-05-01T10:20:00Z", "severity": 3}, 400),
    ("clear/diag/log", None, 200),
    ("notify", {"fields": [{"field": "mgmt.firmware", "value": {"state": 1}}]}, 200),
    ("notify", {"field": "mgmt.firmware.state", "value": 1}, 200),
    ("notify", {"fields": [{"field": "no.such", "value": 1}]}, 404), ("notify", {}, 400),
    ("mgmt/unmanage", None, 200), ("no/such/thing", None, 404),
])
def test_requests(managed, path, data, code):
    """So does each other request of a managed device."""
    assert ask(managed, path, {} if data is None else {"d": data}) == code


def test_unmanaged_is_refused(service, device):
    """A device that is not managed may only become it."""
    client = device(service)
    client.subscribe("iotdm-1/#")
    assert ask(client, "add/diag/errorCodes", {"d": {"errorCode": 1}}) == 404


def test_no_answer_without_identifier(managed):
    """A request without reqId gets no answer; one whose reqId is a number gets that number."""
    managed.publish("iotdevice-1/mgmt/manage", {"d": {}})
    managed.publish("iotdevice-1/mgmt/manage", "not JSON")
    managed.nothing()
    managed.publish("iotdevice-1/mgmt/manage", {"reqId": 17})
    assert json.loads(managed.next("iotdm-1/response").payload) == {"rc": 200, "reqId": 17}
