"""REST: messaging over HTTP, the registry, device management, connections, and what wrong requests get."""

import base64
import concurrent.futures
import json
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import pytest

from harness.waiting import DEADLINE, wait_until
from rest import API, APPLICATION, DEVICE, api, call
from service import DOMAIN, ORGANIZATION, TOKEN

ROOT = pathlib.Path(__file__).resolve().parents[2]
E1 = "/device/types/edge/devices/e1"
CALIBRATE = {"actionDisplayName": {"en_US": "Calibrate"},
             "parameters": [{"name": "seconds", "value": "^[0-9]{1,5}$", "required": True},
                            {"name": "stream", "defaultValue": "all"}]}
BUNDLE = {"bundleId": "tools", "displayName": {"en_US": "Tools"}, "actions": {"calibrate": CALIBRATE}}


# Messaging

@pytest.mark.parametrize("content_type, payload, form", [
    ("application/json", b'{"d":{"t":21.5}}', "json"), ("application/json; charset=utf-8", b"[1]", "json"),
    ("text/plain", b"hello", "text"), ("application/xml", b"<a/>", "xml"),
    ("application/octet-stream", bytes(range(256)), "bin")])
def test_device_event(service, application, content_type, payload, form):
    """A device's event over HTTP reaches applications; the content type is the format."""
    listener = application(service)
    listener.subscribe("iot-2/type/+/id/+/evt/+/fmt/+")
    answer = api(service, "POST", f"{E1}/events/status", payload, DEVICE, content_type=content_type)
    assert (answer.status, answer.body) == (200, b"")
    message = listener.next(f"iot-2/type/edge/id/e1/evt/status/fmt/{form}")
    assert message.payload == payload


def test_gateway_event(service, application):
    """A gateway posts for devices, by its name in the path's form and with dashes."""
    listener = application(service)
    listener.subscribe("iot-2/type/+/id/+/evt/+/fmt/+")
    for user in (f"g/{ORGANIZATION}/edgegw/gw1", f"g-{ORGANIZATION}-edgegw-gw1"):
        assert api(service, "POST", "/device/types/sensor/devices/s9/events/status", {}, (user, TOKEN)).status == 200
        listener.next("iot-2/type/sensor/id/s9/evt/status/fmt/json")


def test_application_messages(service, application, device):
    """An application posts events as a device, and commands."""
    listener, target = application(service), device(service)
    listener.subscribe("iot-2/type/+/id/+/evt/+/fmt/+")
    target.subscribe("iot-2/cmd/+/fmt/+")
    assert api(service, "POST", "/application/types/edge/devices/e1/events/status", {"d": {}}).status == 200
    listener.next("iot-2/type/edge/id/e1/evt/status/fmt/json")
    assert api(service, "POST", "/application/types/edge/devices/e1/commands/blink", {"d": {"n": 3}}).status == 200
    assert json.loads(target.next("iot-2/cmd/blink/fmt/json").payload) == {"d": {"n": 3}}


def test_quickstart_event(service, join):
    """Without credentials an event is Quickstart's, JSON only, and never a registered device's."""
    listener = join(service, "a:quickstart:watcher")
    listener.subscribe("iot-2/type/any/id/q1/evt/+/fmt/+", qos=0)
    path = "/device/types/any/devices/q1/events/status"
    assert api(service, "POST", path, {"d": {"t": 1}}, None).status == 200
    listener.next("iot-2/type/any/id/q1/evt/status/fmt/json")
    assert api(service, "POST", path, b"text", None, content_type="text/plain").status == 400
    assert api(service, "POST", "/application/types/any/devices/q1/commands/blink", {}, None).status == 401


@pytest.mark.parametrize("host, status", [
    (f"local0.messaging.{DOMAIN}", 401), (f"LOCAL0.messaging.{DOMAIN}:8080", 401), (f"local0.{DOMAIN}", 401),
    (f"other1.messaging.{DOMAIN}", 403), (f"quickstart.messaging.{DOMAIN}", 200), (DOMAIN, 200)])
def test_organization_of_the_host(service, host, status):
    """Quickstart is no refuge for a device that has lost its token: at its own organisation's host it is refused."""
    answer = api(service, "POST", f"{E1}/events/status", {"d": {}}, None, headers={"Host": host})
    assert answer.status == status
    if host.lower().startswith("local0"):
        assert "credentials are missing" in answer.message
        assert api(service, "POST", f"{E1}/commands/+/request", None, None, headers={"Host": host}).status == 401
    if host == f"local0.messaging.{DOMAIN}":
        assert api(service, "POST", f"{E1}/events/status", {"d": {}}, DEVICE, headers={"Host": host}).status == 200


def test_wait_for_command(service):
    """A device that waits for a command gets the first one that it asked for."""
    path = f"{E1}/commands/+/request"
    assert api(service, "POST", path, None, DEVICE).status == 204
    assert api(service, "POST", path, {"waitTimeSecs": 1}, DEVICE).status == 204
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(api(
        service, "POST", f"{E1}/commands/blink/request", {"waitTimeSecs": DEADLINE}, DEVICE)))
    waiting.start()

    def send_until_answered():
        for name in ("other", "blink"):
            api(service, "POST", f"/application/types/edge/devices/e1/commands/{name}", b"<on/>",
                content_type="application/xml")
        return answers

    wait_until(send_until_answered, DEADLINE, "the command")
    waiting.join()
    answer = answers[0]
    assert (answer.status, answer.body, answer.headers["X-commandId"]) == (200, b"<on/>", "blink")
    assert answer.headers["Content-Type"] == "application/xml"
    for wrong in ({"waitTimeSecs": 3601}, {"waitTimeSecs": "1"}, [], b"{"):
        assert api(service, "POST", path, wrong, DEVICE).status == 400


def test_kept_commands(service):
    """Commands are kept from the first time that a device asks; a gateway gets those of its devices, with their
    names."""
    gateway, path = (f"g/{ORGANIZATION}/edgegw/gw1", TOKEN), f"{E1}/commands/+/request"
    assert api(service, "POST", path, None, DEVICE).status == 204
    assert api(service, "POST", path, None, gateway).status == 204
    for name in ("first", "second"):
        assert api(service, "POST", f"/application/types/edge/devices/e1/commands/{name}", {"n": name}).status == 200
    for name in ("first", "second"):
        answer = api(service, "POST", path, None, DEVICE)
        assert (answer.json, answer.headers["X-commandId"]) == ({"n": name}, name)
        assert answer.headers["X-deviceId"] is None
        answer = api(service, "POST", "/device/types/+/devices/+/commands/+/request", None, gateway)
        assert [answer.headers[f"X-{part}"] for part in ("commandId", "deviceType", "deviceId")] == [name, "edge", "e1"]
    for asked, auth in ((path, DEVICE), ("/device/types/+/devices/+/commands/+/request", gateway)):
        assert api(service, "POST", asked, None, auth).status == 204
    for auth, status in ((DEVICE, 403), (APPLICATION, 403), (None, 401)):
        assert api(service, "POST", "/device/types/+/devices/+/commands/+/request", None, auth).status == status


def test_rates(service):
    """Above the rates of HTTP answers come later, and Quickstart's second message within a second is refused."""
    began = time.monotonic()
    for _ in range(3):
        assert api(service, "POST", f"{E1}/events/status", {"d": {}}, DEVICE).status == 200
    # One a second: the second answer waits for a second, and so does the third.
    assert time.monotonic() - began >= 2
    path = "/device/types/any/devices/q1/events/status"

    def post(_number=None):
        return api(service, "POST", path, {"d": {}}, None).status

    # All at once: however slow the machine is, some are there within a second of one that was taken.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(16))) == {200, 503}


def test_gateway_roles(service, gateway, application):
    """A gateway of the Standard role speaks for its resource group only, until it is given the other role."""
    path = "/device/types/edgegw/devices/gw1"
    assert api(service, "GET", path).json["gatewayRole"] == "privileged"
    group = [{"typeId": "edge", "deviceId": "e1"}]
    changed = api(service, "PUT", path, {"resourceGroup": group}).json
    assert (changed["gatewayRole"], changed["resourceGroup"]) == ("standard", group)
    listener, client = application(service), gateway(service)
    listener.subscribe("iot-2/type/+/id/+/evt/+/fmt/+")
    notify = "iot-2/type/edgegw/id/gw1/notify"
    client.subscribe(notify)
    client.publish("iot-2/type/edge/id/e2/evt/status/fmt/json")
    assert json.loads(client.next(notify).payload)["RC"] == 180
    client.publish("iot-2/type/edge/id/e1/evt/status/fmt/json")
    assert listener.next().topic == "iot-2/type/edge/id/e1/evt/status/fmt/json"
    assert "resourceGroup" not in api(service, "PUT", path, {"resourceGroup": None}).json
    client.publish("iot-2/type/edge/id/e2/evt/status/fmt/json")
    listener.next("iot-2/type/edge/id/e2/evt/status/fmt/json")
    for wrong in ([{}], "e1", [{"typeId": "edge", "deviceId": 1}]):
        assert api(service, "PUT", path, {"resourceGroup": wrong}).status == 400, wrong
    assert "gateway" in api(service, "PUT", "/device/types/edge/devices/e1", {"resourceGroup": []}).message


@pytest.mark.parametrize("status, path, body, auth, options", [
    (400, f"{E1}/events/status", b"", DEVICE, {}),
    (400, f"{E1}/events/status", b'{"d":', DEVICE, {}),
    (400, f"{E1}/events/a%2Fb", b"{}", DEVICE, {}),
    (400, f"{E1}/events/{'x' * 37}", b"{}", DEVICE, {}),
    (403, f"{E1}/events/status", b"{}", ("use-token-auth", "wrong"), {}),
    (403, f"{E1}/events/status", b"{}", ("use-auth-token", TOKEN), {}),
    (403, f"{E1}/events/status", b"{}", APPLICATION, {}),
    (403, "/device/types/edge/devices/e2/commands/+/request", b"{}", ("use-token-auth", "wrong"), {}),
    (403, "/application/types/edge/devices/e1/commands/blink", b"{}", DEVICE, {}),
    (403, f"{E1}/events/status", b"{}", DEVICE, {"headers": {"Host": f"zz99zz.messaging.{DOMAIN}"}}),
    (404, "/application/types/edge/devices/nobody/events/status", b"{}", APPLICATION, {}),
    (413, f"{E1}/events/status", b"1" * 131_073, DEVICE, {"content_type": "text/plain"}),
    (415, f"{E1}/events/status", b"{}", DEVICE, {"content_type": "image/png"}),
    (415, f"{E1}/events/status", b"{}", DEVICE, {"content_type": None}),
])
def test_refused_message(service, status, path, body, auth, options):
    """Each mistake has the status that the protocol names, and says what was expected."""
    answer = api(service, "POST", path, body, auth, **options)
    assert answer.status == status, answer.body
    assert answer.message


def test_largest_message(start_service):
    """A payload of exactly the limit passes."""
    service = start_service("--rates", "unlimited")
    assert api(service, "POST", f"{E1}/events/big", b"x" * 131_072, DEVICE, content_type="text/plain").status == 200


def test_methods_and_paths(service):
    """405 names the methods that there are; 404 says that there is nothing; HEAD answers like GET."""
    answer = api(service, "GET", f"{E1}/events/a/b", None)
    assert answer.status == 404 and answer.message
    answer = api(service, "PATCH", "/device/types")
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD, POST" and answer.message
    answer = api(service, "HEAD", "/device/types")
    assert (answer.status, answer.body) == (200, b"")


# The registry

def test_types(service):
    """Types are made, listed, changed and removed."""
    made = api(service, "POST", "/device/types", {
        "id": "pump", "description": "Pumps", "deviceInfo": {"manufacturer": "Acme"},
        "metadata": {"deep": [1.10, None]}})
    assert made.status == 201 and made.json["deviceInfo"] == {"manufacturer": "Acme"}
    assert b"[1.1,null]" in made.body
    assert api(service, "POST", "/device/types", {"id": "pump"}).status == 409
    assert api(service, "PUT", "/device/types/pump", {"description": "Two"}).json["description"] == "Two"
    assert api(service, "GET", "/device/types/pump").json["metadata"] == {"deep": [1.1, None]}
    assert {"edge", "pump", "edgegw"} <= {entry["id"] for entry in api(service, "GET", "/device/types").json["results"]}
    assert api(service, "DELETE", "/device/types/edge").status == 409
    assert api(service, "DELETE", "/device/types/pump").status == 204
    assert api(service, "GET", "/device/types/pump").status == 404


def test_devices(service, join):
    """A device is registered with the token that the answer has, changed, and removed."""
    made = api(service, "POST", "/device/types/edge/devices", {
        "deviceId": "new", "deviceInfo": {"serialNumber": "1", "model": "M"},
        "location": {"latitude": 1, "longitude": 2}})
    assert made.status == 201
    token = made.json["authToken"]
    join(service, f"d:{ORGANIZATION}:edge:new", "use-token-auth", token)
    path = "/device/types/edge/devices/new"
    found = api(service, "GET", path)
    assert found.json["connection"]["connected"] and token.encode() not in found.body
    changed = api(service, "PUT", path, {"deviceInfo": {"model": "N"}, "metadata": {"a": 1}}).json
    assert changed["deviceInfo"] == {"serialNumber": "1", "model": "N"} and changed["metadata"] == {"a": 1}
    assert api(service, "GET", f"{path}/location").json["latitude"] == 1
    assert api(service, "PUT", f"{path}/location", {"latitude": 50.5, "longitude": 8.25}).json["longitude"] == 8.25
    assert api(service, "GET", f"{E1}/location").status == 404
    assert api(service, "DELETE", path).status == 204
    assert api(service, "GET", path).status == 404


def test_bulk(service):
    """Many at once: each has its own outcome."""
    devices = [{"typeId": "edge", "deviceId": f"bulk{number:02}"} for number in range(60)]
    added = api(service, "POST", "/bulk/devices/add", devices)
    assert added.status == 201 and all(entry["success"] and entry["authToken"] for entry in added.json)
    again = api(service, "POST", "/bulk/devices/add", [devices[0], {"typeId": "edge", "deviceId": "fine"}])
    assert again.status == 202 and [entry["success"] for entry in again.json] == [False, True]
    listed, bookmark = [], ""
    while bookmark is not None:
        page = api(service, "GET", f"/bulk/devices?_limit=7&_bookmark={bookmark}").json
        assert len(page["results"]) <= 7
        listed += [entry["deviceId"] for entry in page["results"]]
        bookmark = page.get("bookmark")
    assert len(listed) == len(set(listed)) == page["meta"]["total_rows"] == 65
    assert api(service, "POST", "/bulk/devices/remove", devices).status == 200


@pytest.mark.parametrize("path, body", [
    ("/device/types", {}), ("/device/types", []), ("/device/types", {"id": "a b"}), ("/device/types", {"id": 7}),
    ("/device/types", {"id": "x", "classId": "Thing"}), ("/device/types", b"\xff"), ("/device/types", b""),
    ("/device/types/edge/devices", {}), ("/device/types/edge/devices", {"deviceId": "a", "authToken": "short"}),
    ("/device/types/edge/devices", {"deviceId": "a", "deviceInfo": {"model": 1}}),
    ("/device/types/edge/devices", {"deviceId": "a", "metadata": "text"}),
    ("/device/types/edge/devices", {"deviceId": "a", "location": {"latitude": 91, "longitude": 0}}),
    ("/bulk/devices/add", {}), ("/bulk/devices/add", []),
    ("/mgmt/requests", {"action": "device/reboot"}), ("/mgmt/requests", {"action": "dance", "devices": []}),
    ("/mgmt/requests", {"action": "device/reboot", "devices": [{"typeId": "edge", "deviceId": "e1"}], "timeout": 0}),
    ("/mgmt/requests?override=maybe", {"action": "device/reboot", "devices": [{"typeId": "edge", "deviceId": "e1"}]}),
    ("/mgmt/custom/bundle", {"bundleId": "b"}),
    ("/mgmt/custom/bundle", {**BUNDLE, "bundleId": "b" * 256}), ("/mgmt/custom/bundle", {**BUNDLE, "version": "1 0"}),
    ("/mgmt/custom/bundle", {**BUNDLE, "displayName": {}}), ("/mgmt/custom/bundle", {**BUNDLE, "displayName": "Tools"}),
    ("/mgmt/custom/bundle", {**BUNDLE, "actions": {"calibrate": {}}}),
    *(("/mgmt/custom/bundle", {**BUNDLE, "actions": {"calibrate": {**CALIBRATE, "parameters": parameters}}})
      for parameters in (7, [{}], [{"name": "a b"}], [{"name": "n", "value": "("}], [{"name": "n", "value": 7}],
                         [{"name": "n", "required": 1}])),
    (f"{E1}/diag/logs", {"severity": 1}), (f"{E1}/diag/logs", {"message": "m", "severity": 3}),
    (f"{E1}/diag/errorCodes", {}),
])
def test_invalid_body(service, path, body):
    """A body that is not what it should be is 400, with words."""
    answer = api(service, "POST", path, body)
    assert answer.status == 400, answer.body
    assert answer.message


def test_deep_and_large_json(service):
    """Depth and size are bounded."""
    assert api(service, "POST", "/device/types", b"[" * 100_000).status == 400
    assert api(service, "POST", "/device/types", b" " * ((1 << 20) + 1)).status == 413
    form = "application/x-www-form-urlencoded"
    assert api(service, "POST", "/device/types", b"id=x", content_type=form).status == 415


def test_endless_body(service):
    """A chunked body without an end is refused at its bound, and the platform lives."""
    with socket.create_connection(("127.0.0.1", service.ports["http"]), timeout=DEADLINE) as peer:
        peer.sendall(f"POST {API}{E1}/events/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        sent = 0
        try:
            for _ in range(4096):
                peer.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert sent < 4096 * len(chunk), "64 MiB were taken"
    assert api(service, "GET", "/device/types").status == 200


# Device management, diagnostics, connections

def test_requests(service):
    """A request is made, looked at, cancelled and removed."""
    made = api(service, "POST", "/mgmt/requests", {
        "action": "device/reboot", "devices": [{"typeId": "edge", "deviceId": "e1"}], "timeout": 60})
    assert made.status == 202
    path = f"/mgmt/requests/{made.json['reqId']}"
    assert made.headers["Location"] == API + path
    found = api(service, "GET", path).json
    assert (found["action"], found["deviceCount"]) == ("device/reboot", 1)
    # A device that is not managed cannot be asked.
    status = api(service, "GET", f"{path}/deviceStatus/edge/e1").json
    assert status["complete"] and status["status"] == 3 and "not managed" in status["message"]
    assert api(service, "GET", f"{path}/deviceStatus").json["results"] == [status]
    assert api(service, "GET", f"{path}/deviceStatus/edge/e2").status == 404
    assert api(service, "POST", f"{path}/cancel").json["complete"]
    assert api(service, "GET", "/mgmt/requests").json["meta"]["total_rows"] == 1
    assert api(service, "DELETE", path).status == 204
    assert api(service, "GET", path).status == 404


def test_requests_of_a_device(service):
    """The page asks for those of one device: newest first, a few, and without thousands of other devices in them."""
    def ask(*names):
        devices = [{"typeId": "edge", "deviceId": name} for name in names]
        return api(service, "POST", "/mgmt/requests", {"action": "device/reboot", "devices": devices}).json["reqId"]

    made = [ask("e1"), ask("e2"), ask("e2", "e1", "e3"), ask("e1")]
    path = "/mgmt/requests?typeId=edge&deviceId=e1"
    found = api(service, "GET", path).json
    assert [entry["id"] for entry in found["results"]] == [made[3], made[2], made[0]]
    assert [entry["deviceCount"] for entry in found["results"]] == [1, 3, 1]
    assert all(entry["devices"] == [{"typeId": "edge", "deviceId": "e1"}] for entry in found["results"])
    assert found["meta"]["total_rows"] == 3
    assert [entry["id"] for entry in api(service, "GET", f"{path}&_limit=1").json["results"]] == made[3:]
    assert api(service, "GET", "/mgmt/requests?typeId=edge&deviceId=nobody").json["results"] == []
    of_type = api(service, "GET", "/mgmt/requests?typeId=edge").json["results"]
    assert [entry["id"] for entry in of_type] == made[::-1] and len(of_type[1]["devices"]) == 3
    assert [entry["id"] for entry in api(service, "GET", "/mgmt/requests?deviceId=e3").json["results"]] == [made[2]]
    for query in ("typeId=", "typeId=edge&deviceId=", "typeId=ed%2Fge&deviceId=e1"):
        assert api(service, "GET", f"/mgmt/requests?{query}").status == 400


def test_new_token(service, device):
    """A device gets a new token in place of its old one, made or given; its connection ends."""
    client = device(service)
    made = api(service, "POST", f"{E1}/token")
    assert made.status == 200 and set(made.json) == {"authToken"} and len(made.json["authToken"]) >= 8
    client.wait_closed()
    event = f"{E1}/events/status"
    assert api(service, "POST", event, {"d": {}}, DEVICE).status == 403
    assert api(service, "POST", event, {"d": {}}, ("use-token-auth", made.json["authToken"])).status == 200
    assert api(service, "POST", f"{E1}/token", {"authToken": TOKEN}).json == {"authToken": TOKEN}
    assert api(service, "POST", f"{E1}/token", {"authToken": None}).status == 200
    assert api(service, "POST", f"{E1}/token", {"authToken": TOKEN}).status == 200
    assert api(service, "POST", event, {"d": {}}, DEVICE).status == 200
    for body, status in (({"authToken": "short"}, 400), ({"authToken": 7}, 400), ([], 400), (b"no JSON", 400)):
        assert api(service, "POST", f"{E1}/token", body).status == status
    assert api(service, "POST", f"{E1}/token", b"{}", content_type="text/plain").status == 415
    assert api(service, "POST", "/device/types/edge/devices/nobody/token").status == 404
    assert api(service, "POST", f"{E1}/token", None, DEVICE).status in (401, 403)


def test_bundles(service):
    """Bundles of custom actions."""
    assert api(service, "POST", "/mgmt/custom/bundle", BUNDLE).status == 201
    assert api(service, "POST", "/mgmt/custom/bundle", BUNDLE).status == 409
    assert api(service, "PUT", "/mgmt/custom/bundle/tools", {**BUNDLE, "bundleId": "other"}).status == 409
    assert api(service, "PUT", "/mgmt/custom/bundle/tools", {**BUNDLE, "version": "2"}).json["version"] == "2"
    assert [entry["bundleId"] for entry in api(service, "GET", "/mgmt/custom/bundle").json] == ["tools"]
    assert api(service, "DELETE", "/mgmt/custom/bundle/tools").status == 204
    long_name = "b" * 255
    assert api(service, "POST", "/mgmt/custom/bundle", {**BUNDLE, "bundleId": long_name}).status == 201
    assert api(service, "GET", f"/mgmt/custom/bundle/{long_name}").json["bundleId"] == long_name
    assert api(service, "GET", f"/mgmt/custom/bundle/{long_name}b").status == 400
    assert api(service, "GET", "/mgmt/custom/bundle/tools").status == 404


def test_diagnostics(service):
    """Log and error codes."""
    assert api(service, "POST", f"{E1}/diag/logs", {"message": "hot", "severity": 2, "data": "aGk="}).status == 201
    assert api(service, "GET", f"{E1}/diag/logs").json[0]["message"] == "hot"
    assert api(service, "POST", f"{E1}/diag/errorCodes", {"errorCode": 42}).json["errorCode"] == 42
    assert api(service, "GET", f"{E1}/diag/errorCodes").json[0]["errorCode"] == 42
    for part in ("logs", "errorCodes"):
        assert api(service, "DELETE", f"{E1}/diag/{part}").status == 204
        assert api(service, "GET", f"{E1}/diag/{part}").json == []
    assert api(service, "GET", f"{E1}/mgmt").status == 404


def test_last_events(service, device):
    """The last message of each event, in base64."""
    device(service).publish("iot-2/evt/status/fmt/json", {"d": {"t": 1}})
    events = api(service, "GET", f"{E1}/events").json
    assert [(event["eventId"], event["format"]) for event in events] == [("status", "json")]
    assert json.loads(base64.b64decode(events[0]["payload"])) == {"d": {"t": 1}}
    assert api(service, "GET", f"{E1}/events/status").json == events[0]
    assert api(service, "GET", f"{E1}/events/other").status == 404


def test_connection_states(service, device):
    """Who is connected, and who was."""
    client = device(service)
    identifier = f"d:{ORGANIZATION}:edge:e1"
    found = api(service, "GET", f"/clientconnectionstates/{identifier}").json
    assert (found["connectionStatus"], found["deviceId"]) == ("connected", "e1")
    client.close()
    wait_until(lambda: api(service, "GET", f"/clientconnectionstates/{identifier}").json["connectionStatus"]
               == "disconnected", DEADLINE, "the disconnect")
    listed = api(service, "GET", "/clientconnectionstates?connectionStatus=disconnected&deviceId=e1").json
    assert [entry["id"] for entry in listed["results"]] == [identifier]
    assert api(service, "GET", "/clientconnectionstates/d:x:y:z").status == 404
    for query in ("connectionStatus=maybe", "connectedAfter=soon", "connectedafter=2024-05-01T10:20:00Z", "device=e1"):
        assert api(service, "GET", f"/clientconnectionstates?{query}").status == 400, query


# Who may

@pytest.mark.parametrize("auth", [None, ("a-local0-testing", "wrong"), ("a-local0-nobody", "x"), DEVICE])
def test_unauthorized(service, auth):
    """Without an API key there is nothing to see; the answer says how to ask."""
    answer = api(service, "GET", "/device/types", auth=auth)
    assert answer.status == 401 and answer.message
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_other_schemes(service):
    """Credentials of another sort, or broken ones."""
    for field in ("Bearer abc", "Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode(), "Basic"):
        answer = api(service, "GET", "/device/types", auth=None, headers={"Authorization": field})
        assert answer.status == 401 and answer.message


def test_login(service):
    """A login is a cookie that scripts cannot read and other sites cannot use; logging out ends it."""
    login = {"key": APPLICATION[0], "token": APPLICATION[1]}
    assert call(service, "POST", "/api/login", {**login, "token": "wrong"}, None).status == 401
    answer = call(service, "POST", "/api/login", login, None)
    cookie = answer.headers["Set-Cookie"]
    assert answer.status == 204 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    headers = {"Cookie": cookie.split(";")[0]}
    assert api(service, "GET", "/device/types", auth=None, headers=headers).status == 200
    assert call(service, "GET", "/api/login", None, None, headers=headers).json["key"] == APPLICATION[0]
    assert call(service, "DELETE", "/api/login", None, None, headers=headers).status == 204
    assert api(service, "GET", "/device/types", auth=None, headers=headers).status == 401


@pytest.mark.parametrize("headers", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}])
def test_other_sites(service, headers):
    """Pages of other sites change nothing, whatever credentials the browser adds."""
    for method, path in (("POST", "/device/types"), ("DELETE", E1), ("POST", f"{E1}/events/status")):
        answer = api(service, method, path, {"id": "evil"}, headers=headers)
        assert answer.status == 403 and "another site" in answer.message
    assert api(service, "GET", E1).status == 200


def test_own_site(service):
    """The page's own requests pass."""
    origin = f"http://127.0.0.1:{service.ports['http']}"
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert api(service, "POST", "/device/types", {"id": "own"}, headers=headers).status == 201


def test_headers(service):
    """Every answer has the headers that keep a page safe."""
    for path in ("/quickstart/", "/fleet/", "/page/chart.js", "/api/openapi.json", "/nothing"):
        headers = call(service, "GET", path, auth=None).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


# The description

def schemathesis(service, *options):
    """Made-up requests for what the OpenAPI description says; none of the answers may be another than it has."""
    program = shutil.which("schemathesis", path=ROOT / "build/tools/schemathesis/bin")
    if not program:
        pytest.skip("schemathesis is not there; Scripts/setup test installs it")
    base = f"http://127.0.0.1:{service.ports['http']}"
    done = subprocess.run(
        [program, "run", f"{base}/api/openapi.json", "--url", base + API, "--seed", "1", "--no-color", *options],
        capture_output=True, text=True, timeout=280, check=False, cwd=service.folder)
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.mark.long
@pytest.mark.seconds(10)
@pytest.mark.parametrize("tag", ["messaging", "registry", "devices", "management", "connections", "keys"])
def test_openapi(start_service, tag):
    """With the right credentials, and where it tries that without or with wrong ones."""
    service = start_service("--rates", "unlimited")
    # Messaging answers 403 to wrong credentials, as the protocol wants it, and takes Quickstart's without any.
    excluded = ["--exclude-checks", "missing_required_header,ignored_auth"] if tag == "messaging" else []
    schemathesis(service, "--auth", ":".join(APPLICATION), "--include-tag", tag, *excluded,
                 "--phases", "examples,coverage,fuzzing", "--max-examples", "10")


def everything(service):
    """All that an API key sees, and that nobody without one may change."""
    return [api(service, "GET", path).json for path in (
        "/device/types", "/bulk/devices", "/authorization/apikeys", "/mgmt/requests", "/mgmt/custom/bundle",
        "/device/types/edge/devices/e1/events")]


@pytest.mark.long
@pytest.mark.seconds(15)
@pytest.mark.parametrize("who", ["nobody", "guesser", "device", "reader"])
def test_openapi_of_strangers(start_service, who):
    """Without credentials, with wrong ones, with a device's, and with a key that may only look: the answers are those
    of the description, and nothing has changed."""
    service = start_service("--rates", "unlimited")
    made = api(service, "POST", "/authorization/apikeys", {"role": "read", "comment": "looks"}).json
    assert api(service, "POST", "/device/types/edge/devices/e1/events/status", {"d": {"x": 1}}, DEVICE).status == 200
    auth = {"nobody": None, "guesser": ("a-local0-guesser", "wrong"), "device": DEVICE,
            "reader": (made["key"], made["token"])}[who]
    before = everything(service)
    # A device may post events, of itself: that is what it is for.
    tags = ["registry", "devices", "management", "connections", "keys"] + (["messaging"] if who != "device" else [])
    schemathesis(service, *(["--auth", ":".join(auth)] if auth else []), *(f"--include-tag={tag}" for tag in tags),
                 # What the description does not have is one of these; 503 is for who is too fast for Quickstart.
                 "--checks", "status_code_conformance,content_type_conformance,response_headers_conformance,"
                 "response_schema_conformance",
                 "--phases", "examples,coverage,fuzzing", "--max-examples", "3", "--continue-on-failure")
    assert everything(service) == before
