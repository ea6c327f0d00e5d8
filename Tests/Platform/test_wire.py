"""The agent against a server that is not ours: one that says what the protocol's description has as its examples, and
once in the shapes of its earlier years (section 4.21). Order and shape of each message are checked, from manage to the
end of an update; `motectl platform` has no part in it."""

import hashlib
import http.server
import json
import queue
import threading

import pytest

from harness.broker import Mosquitto
from harness.configuration import CLIENT, configuration, status
from harness.machine import Machine, ManagementServer
from harness.waiting import DEADLINE, wait_until

IMAGE = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(5000))
VERIFIER = f"sha256:{hashlib.sha256(IMAGE).hexdigest()}"
# Section 4.4; what is said of metadata is the server's to say.
INFORMATION = {"serial-number": "S-0042", "manufacturer": "Acme", "model": "E7", "device-class": "Edge",
               "description": "press monitor", "firmware-version": "1.4.0", "hardware-version": "B",
               "location": "hall 3, row 2"}
DEVICE_INFO = {"serialNumber": "S-0042", "manufacturer": "Acme", "model": "E7", "deviceClass": "Edge",
               "description": "press monitor", "fwVersion": "1.4.0", "hwVersion": "B",
               "descriptiveLocation": "hall 3, row 2"}
SUPPORTS = {"deviceActions": True, "firmwareActions": True, "acme-tools-v1": True}


class AnyText:
    """What the device makes up itself: an identifier, or a time."""

    def __eq__(self, other):
        return isinstance(other, str) and bool(other)

    def __repr__(self):
        return "a text"


OWN = AnyText()


class Server(ManagementServer):
    """The server's side, which notes who says what, in its order. Requests of the device are answered with 200."""

    def __init__(self, port):
        self.wire, self.requests = [], queue.Queue()
        super().__init__(port)

    def _on_message(self, client, user, message):
        path, body = message.topic.removeprefix("iotdevice-1/"), json.loads(message.payload)
        self.wire.append(("device", path, body))
        super()._on_message(client, user, message)
        if path in ("response", "mgmt/manage"):
            return
        if "reqId" in body:
            self.send("response", {"rc": 200, "reqId": body["reqId"]})
        self.requests.put((path, json.loads(message.payload)))

    def send(self, path, body):
        text = body if isinstance(body, str) else json.dumps(body)
        if path != "response":
            self.wire.append(("server", path, json.loads(text)))
        super().send(path, text)

    def next_request(self, path):
        """The device's next request, which is this one; gives its `d`."""
        got, body = self.requests.get(timeout=DEADLINE)
        assert got == path and body.pop("reqId") == OWN, (got, body)
        return body.get("d")

    def firmware(self):
        """What the device tells next of its firmware."""
        field, = self.next_request("notify")["fields"]
        assert field.pop("field") == "mgmt.firmware"
        return field["value"]


class Web:
    """Serves the image, whose body waits until a test lets it go."""

    def __init__(self):
        self.go, self.requests = threading.Event(), []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                web.requests.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(IMAGE)))
                self.end_headers()
                web.go.wait(DEADLINE)
                self.wfile.write(IMAGE)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/e7-1.5.0.img"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.go.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def broker(closing, tmp_path):
    closing.append(Mosquitto(tmp_path / "broker"))
    return closing[-1]


@pytest.fixture
def server(closing, broker):
    closing.append(Server(broker.side_port))
    return closing[-1]


@pytest.fixture
def web(closing):
    closing.append(Web())
    return closing[-1]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "machine")


@pytest.fixture
def start(broker, server, start_agent, machine, tmp_path):
    """Starts the agent, which supports all that there is; gives it when it is managed."""
    def run(**sections):
        for name in ("restart", "reset", "install", "set-interval"):
            program = tmp_path / name
            program.write_text(
                f'#!/bin/sh\necho {name} "$MOTE_PARAM_seconds$MOTE_FIRMWARE_VERSION" >> {tmp_path / "ran"}\n')
            program.chmod(0o755)
        path = tmp_path / "mote.conf"
        path.touch(mode=0o600)
        path.write_text(configuration(broker.port, {
            "management": {**INFORMATION, "lifetime": "2h", "reboot": tmp_path / "restart",
                           "factory-reset": tmp_path / "reset",
                           # What is told of faults comes when it comes.
                           "diagnostics": "no"},
            "firmware": {"installer": "command", "run": tmp_path / "install"},
            "action acme-tools-v1/setInterval": {"run": tmp_path / "set-interval"},
            "agent": {"control-socket": tmp_path / "control"},
            **status("1h", 1, a="constant:1"), **sections}))
        agent = start_agent("run", "--config", path, prefix=machine.prefix)
        agent.wait_log("info", "management", "managed")
        return agent
    return run


def ran(tmp_path):
    path = tmp_path / "ran"
    return path.read_text().splitlines() if path.exists() else []


def manage(version):
    """The manage request: section 4.4's example."""
    return {"d": {"lifetime": 7200, "supports": SUPPORTS, "deviceInfo": {**DEVICE_INFO, "fwVersion": version}},
            "reqId": OWN}


def notify(**value):
    """What the device tells of its firmware: sections 4.10, 4.13 and 4.14."""
    return {"d": {"fields": [{"field": "mgmt.firmware", "value": value}]}, "reqId": OWN}


# The record in a server's words of today and of earlier years, and the requests that have fields.
SHAPES = {
    "today": ("uri", '{"d":{"fields":[{"field":"mgmt.firmware"}]},"reqId":"%s"}',
              '{"d":{"fields":[{"field":"mgmt.firmware"}]},"reqId":"%s"}'),
    "until 2017": ("uri", '{"d":{"fields":["mgmt.firmware"]},"reqId":"%s"}',
                   '{"d":{"fields":["mgmt.firmware"]},"reqId":"%s"}'),
    "2016": ("url", '{"d":{"fields":["mgmt.firmware"]},"reqId":"%s"}',
             '{"d":{"data":[{"field":"mgmt.firmware"}]},"reqId":"%s"}'),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_of_the_firmware(broker, server, start, web, tmp_path, shape):
    """Record, observe, download, notices, cancel; and once more for the installation: in the order of 4.13 and 4.14."""
    location, observe, cancel = SHAPES[shape]
    agent = start()
    server.next_manage()
    record = {"version": "1.5.0", "name": "edge-os", location: web.address, "verifier": VERIFIER, "state": 0,
              "updateStatus": 0, "updatedDateTime": ""}
    value = {"version": "1.5.0", "name": "edge-os", "uri": web.address, "verifier": VERIFIER, "updateStatus": 0,
             "updatedDateTime": ""}
    update = {"d": {"fields": [{"field": "mgmt.firmware", "value": record}]}, "reqId": "u1"}
    server.ask("device/update", update)
    server.ask("observe", observe % "o1")
    server.ask("mgmt/initiate/firmware/download", '{"reqId":"d1"}')
    server.firmware()
    # What is refused meanwhile changes nothing.
    server.ask("mgmt/initiate/firmware/download", '{"reqId":"d2"}')
    server.ask("device/update", {**update, "reqId": "u2"})
    web.go.set()
    server.firmware()
    server.ask("cancel", cancel % "c1")
    server.ask("device/update", {**update, "reqId": "u3"})
    server.ask("observe", observe % "o2")
    server.ask("mgmt/initiate/firmware/update", '{"reqId":"i1"}')
    for _ in range(2):
        server.firmware()
    server.next_manage()
    server.ask("cancel", cancel % "c2")
    assert server.wire == [
        ("device", "mgmt/manage", manage("1.4.0")),
        ("server", "device/update", update),
        ("device", "response", {"rc": 204, "reqId": "u1"}),
        ("server", "observe", json.loads(observe % "o1")),
        ("device", "response", {"rc": 200, "reqId": "o1", "d": {"fields": [
            {"field": "mgmt.firmware", "value": {**value, "state": 0}}]}}),
        ("server", "mgmt/initiate/firmware/download", {"reqId": "d1"}),
        ("device", "response", {"rc": 202, "reqId": "d1"}),
        ("device", "notify", notify(state=1, updateStatus=0)),
        ("server", "mgmt/initiate/firmware/download", {"reqId": "d2"}),
        ("device", "response", {"rc": 400, "reqId": "d2", "message": "a download is running"}),
        ("server", "device/update", {**update, "reqId": "u2"}),
        ("device", "response", {"rc": 400, "reqId": "u2", "message": "a download is running"}),
        ("device", "notify", notify(state=2, updateStatus=0)),
        ("server", "cancel", json.loads(cancel % "c1")),
        ("device", "response", {"rc": 200, "reqId": "c1"}),
        ("server", "device/update", {**update, "reqId": "u3"}),
        ("device", "response", {"rc": 204, "reqId": "u3"}),
        ("server", "observe", json.loads(observe % "o2")),
        ("device", "response", {"rc": 200, "reqId": "o2", "d": {"fields": [
            {"field": "mgmt.firmware", "value": {**value, "state": 2}}]}}),
        ("server", "mgmt/initiate/firmware/update", {"reqId": "i1"}),
        ("device", "response", {"rc": 202, "reqId": "i1"}),
        ("device", "notify", notify(state=2, updateStatus=1)),
        ("device", "notify", notify(state=0, updateStatus=0)),
        ("device", "mgmt/manage", manage("1.5.0")),
        ("server", "cancel", json.loads(cancel % "c2")),
        ("device", "response", {"rc": 200, "reqId": "c2"}),
    ]
    assert web.requests == ["/e7-1.5.0.img"] and ran(tmp_path) == ["install 1.5.0"]
    # Section 4.3: the one subscription that has all of it, before the manage request.
    subscription, first = (broker.log.index(text) for text in (
        "\tiotdm-1/# (QoS 1)", f"Received PUBLISH from {CLIENT} (d0, q1, r0, m"))
    assert subscription < first
    assert agent.stop() == 0


def test_an_image_that_is_another(server, start, web, tmp_path):
    """Section 4.13's example of a failure: one notice with both numbers, and what is told is what is observed."""
    start()
    server.next_manage()
    web.go.set()
    value = {"version": "1.5.0", "uri": web.address, "verifier": f"sha256:{'0' * 64}"}
    assert server.ask("device/update", {
        "d": {"fields": [{"field": "mgmt.firmware", "value": value}]}, "reqId": "u"}) == {"rc": 204, "reqId": "u"}
    server.ask("observe", '{"d":{"fields":[{"field":"mgmt.firmware"}]},"reqId":"o1"}')
    assert server.ask("mgmt/initiate/firmware/download", '{"reqId":"d"}') == {"rc": 202, "reqId": "d"}
    told = [server.firmware()]
    while told[-1]["state"] == 1:
        told.append(server.firmware())
    assert told[-1] == json.loads(
        '{"d":{"fields":[{"field":"mgmt.firmware","value":{"state":0,"updateStatus":4}}]},"reqId":"n-77"}'
    )["d"]["fields"][0]["value"]
    assert server.ask("mgmt/initiate/firmware/update", '{"reqId":"i"}')["rc"] == 400
    assert ran(tmp_path) == []


# What the description has as an example, and what is to be answered.
EXAMPLES = [
    # 4.10, with the record of its answer given before.
    ("observe", '{"d":{"fields":[{"field":"mgmt.firmware"}]},"reqId":"o1"}', """
     {"rc":200,"reqId":"o1","d":{"fields":[{"field":"mgmt.firmware",
       "value":{"version":"1.5.0","name":"edge-os","uri":"https://fw.example/e7-1.5.0.img",
                "verifier":"","state":0,"updateStatus":0,"updatedDateTime":""}}]}}"""),
    ("observe", '{"d":{"fields":[{"field":"mgmt.firmware.state"}]},"reqId":"o2"}',
     '{"rc":200,"reqId":"o2","d":{"fields":[{"field":"mgmt.firmware.state","value":0}]}}'),
    ("observe", '{"d":{"fields":[{"field":"x"},{"field":"mgmt.firmware"}]},"reqId":"o3"}',
     '{"rc":404,"reqId":"o3","d":{"fields":[{"field":"x"}]}}'),
    ("cancel", '{"d":{"fields":[{"field":"mgmt.firmware"}]},"reqId":"c1"}', '{"rc":200,"reqId":"c1"}'),
    ("cancel", '{"d":{"fields":[{"field":"x"}]},"reqId":"c2"}', '{"rc":200,"reqId":"c2"}'),
    # 4.9
    ("device/update", '{"d":{"fields":[{"field":"metadata","value":{"site":"hall-3"}}]},"reqId":"u1"}',
     '{"rc":204,"reqId":"u1"}'),
    ("device/update", '{"d":{"fields":[{"field":"x","value":1}]},"reqId":"u2"}',
     '{"rc":404,"reqId":"u2","d":{"fields":[{"field":"x"}]}}'),
    # 4.17
    ("mgmt/custom/acme-tools-v1/setInterval",
     '{"d":{"fields":[{"field":"seconds","value":"30"},{"field":"stream","value":"all"}]},"reqId":"c-9"}',
     '{"rc":200,"reqId":"c-9"}'),
    # 4.14
    ("mgmt/initiate/firmware/update", '{"reqId":"i1"}',
     '{"rc":400,"reqId":"i1","message":"no image is downloaded"}'),
]


def test_the_examples_of_the_description(server, start, tmp_path):
    """Each has the answer that the description has."""
    start()
    server.next_manage()
    record = json.loads(EXAMPLES[0][2])["d"]
    assert server.ask("device/update", {"d": record, "reqId": "u0"}) == {"rc": 204, "reqId": "u0"}
    # A person's edits have no identifier, and so no answer.
    server.send("device/update", '{"d":{"fields":[{"field":"location","value":{"latitude":48.1,"longitude":11.5}}]}}')
    for path, request, answer in EXAMPLES:
        assert server.ask(path, request) == json.loads(answer), request
    assert ran(tmp_path) == ["set-interval 30"]


@pytest.mark.parametrize("path, programs", [
    ("mgmt/initiate/device/reboot", ["restart"]), ("mgmt/initiate/device/factory_reset", ["reset", "restart"])])
def test_actions_upon_the_machine(broker, server, start, machine, tmp_path, path, programs):
    """Section 4.11: 202, a clean end of the session, the action, after the restart the manage request and no more."""
    agent = start()
    server.next_manage()
    server.ask(path, '{"reqId":"7c1e-9a64"}')
    wait_until(lambda: [line.split()[0] for line in ran(tmp_path)] == programs, DEADLINE, "the programs have run")
    wait_until(lambda: f"Received DISCONNECT from {CLIENT}" in broker.log, DEADLINE, "DISCONNECT")
    agent.process.kill()
    agent.wait_end()
    machine.restart()
    start()
    server.next_manage()
    assert server.wire == [
        ("device", "mgmt/manage", manage("1.4.0")), ("server", path, {"reqId": "7c1e-9a64"}),
        ("device", "response", {"rc": 202, "reqId": "7c1e-9a64"}), ("device", "mgmt/manage", manage("1.4.0"))]


def test_what_the_device_says(server, start, mote, tmp_path):
    """The examples of sections 4.5, 4.7 and 4.8, from the command line to the wire."""
    start()
    server.next_manage()
    for words, path, example in [
            (("location", "48.1371", "11.5754", "--elevation", "519", "--accuracy", "12"), "device/update/location",
             '{"latitude":48.1371,"longitude":11.5754,"elevation":519,"accuracy":12,"measuredDateTime":""}'),
            (("diagnose", "add-error", "4711"), "add/diag/errorCodes", '{"errorCode":4711}'),
            (("diagnose", "clear-errors"), "clear/diag/errorCodes", "null"),
            (("diagnose", "add-log", "disk 91% full", "--severity", "warning", "--data", "/dev/root 91%"),
             "add/diag/log",
             '{"message":"disk 91% full","timestamp":"","severity":1,"data":"L2Rldi9yb290IDkxJQ=="}'),
            (("diagnose", "clear-log"), "clear/diag/log", "null"), (("unmanage",), "mgmt/unmanage", "null")]:
        done = mote.run(*words, "--socket", tmp_path / "control")
        assert (done.returncode, done.stdout) == (0, "queued\n"), done
        wanted = json.loads(example)
        for member in ("measuredDateTime", "timestamp"):
            if wanted and member in wanted:
                wanted[member] = OWN
        assert server.next_request(path) == wanted
