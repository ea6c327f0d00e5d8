"""`motectl`'s commands for operators, over REST: the registry, reboot, factory reset, firmware and logs."""

import hashlib
import json
import os
import socket
import stat
import threading
import time
import urllib.error
import urllib.request

import pytest

from harness.waiting import DEADLINE, wait_until
from operating import ManagedDevice, Operator
from sdk import finish_sending
from service import KEY, KEY_TOKEN, ORGANIZATION, TOKEN, Client

IMAGE = bytes(range(256)) * 4096


@pytest.fixture
def operator(service, motectl, tmp_path):
    """An operator of a platform in memory."""
    return Operator(motectl, service, tmp_path / "home")


@pytest.fixture
def managed(service, closing):
    """Connects a scripted managed device."""
    def connect(*arguments, **options):
        device = ManagedDevice(service, *arguments, **options)
        closing.append(device)
        return device
    return connect


@pytest.fixture
def image(tmp_path):
    """A file to be installed."""
    path = tmp_path / "edge-os-1.5.0.img"
    path.write_bytes(IMAGE)
    return path


def test_registry(operator, service, device, tmp_path):
    """Add, list, show, remove; the token works."""
    added = operator.run("device", "add", "pump", "p1", "--create-type", "--info", "serialNumber=S=1")
    assert added.startswith("registered pump p1\ntoken ")
    token = added.split()[-1]
    client = Client(service, f"d:{ORGANIZATION}:pump:p1", "use-token-auth", token)
    rows = [line.split() for line in operator.run("devices").splitlines()]
    assert rows[0][:4] == ["TYPE", "ID", "CLASS", "STATE"]
    assert [row[:2] for row in rows[1:]] == [["edge", "e1"], ["edge", "e2"], ["edge", "e3"], ["edgegw", "gw1"],
                                             ["pump", "p1"]]
    assert rows[5][2:4] == ["Device", "connected"] and rows[1][3] == "-"
    client.close()
    assert [entry["deviceId"] for entry in operator.json("devices", "--type", "edge")] == ["e1", "e2", "e3"]
    shown = operator.run("device", "show", "pump", "p1")
    assert "deviceInfo.serialNumber" in shown and " S=1\n" in shown
    described, = operator.json("device", "show", "pump", "p1")
    assert described["deviceInfo"] == {"serialNumber": "S=1"} and "authToken" not in described
    assert operator.run("device", "remove", "pump", "p1", "--yes") == "removed pump p1\n"
    operator.run("device", "show", "pump", "p1", status=67)


def test_tokens_and_files(operator, tmp_path):
    """A token goes to a new file of ours alone, or comes from one."""
    path = tmp_path / "p2.token"
    told = operator.run("device", "add", "edge", "p2", "--save-token", path, "--create-type")
    assert told == "registered edge p2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(path.read_text().strip()) >= 8
    assert "authToken" not in operator.json("device", "add", "edge", "p3", "--device-token-file", path,
                                            "--save-token", tmp_path / "p3.token")[0]
    assert (tmp_path / "p3.token").read_text() == path.read_text()
    operator.run("device", "add", "edge", "p4", "--save-token", path, status=78)
    operator.run("device", "show", "edge", "p4", status=67)
    # What is not registered leaves no file.
    operator.run("device", "add", "edge", "p2", "--save-token", tmp_path / "twice", status=65)
    assert "HTTP 409" in operator.complaint and not (tmp_path / "twice").exists()
    operator.run("device", "add", "nosuchtype", "p5", status=67)


def test_new_token(operator, service, tmp_path):
    """A device whose token is lost gets another one, shown once or in a file."""
    told = operator.run("device", "token", "edge", "e1")
    assert told.startswith("new token for edge e1\ntoken ")
    Client(service, f"d:{ORGANIZATION}:edge:e1", "use-token-auth", told.split()[-1]).close()
    path = tmp_path / "e1.token"
    assert operator.run("device", "token", "edge", "e1", "--save-token", path) == "new token for edge e1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    Client(service, f"d:{ORGANIZATION}:edge:e1", "use-token-auth", path.read_text().strip()).close()
    given, = operator.json("device", "token", "edge", "e2", "--device-token-file", path)
    assert given == {"typeId": "edge", "deviceId": "e2"}
    Client(service, f"d:{ORGANIZATION}:edge:e2", "use-token-auth", path.read_text().strip()).close()
    # A file that is there already is left alone, and so is the token.
    operator.run("device", "token", "edge", "e2", "--save-token", path, status=78)
    Client(service, f"d:{ORGANIZATION}:edge:e2", "use-token-auth", path.read_text().strip()).close()
    operator.run("device", "token", "edge", "nosuch", "--save-token", tmp_path / "none", status=67)
    assert not (tmp_path / "none").exists()


def test_many_devices(motectl, tmp_path, start_service):
    """A listing has as many pages as it takes."""
    names = [f"d{number:03}" for number in range(250)]
    many = Operator(motectl, start_service("--registrations", registrations(tmp_path, names)), tmp_path / "home")
    assert [entry["deviceId"] for entry in many.json("devices")] == names


def test_removal_wants_a_yes(operator):
    """Without a person to ask, --yes is needed; in a terminal it is asked for."""
    operator.run("device", "remove", "edge", "e1", status=64)
    with operator.terminal("device", "remove", "edge", "e1") as removal:
        removal.wait_text("[y/N]")
        os.write(removal._terminal, b"n\n")  # pylint: disable=protected-access
        assert removal.wait() == 1
    operator.run("device", "show", "edge", "e1")
    with operator.terminal("factory-reset", "edge", "e1") as reset:
        reset.wait_text("[y/N]")
        assert reset.interrupt() in (-2, 130)


def test_refusals(operator, service):
    """Wrong credentials, nobody there, and an answer that is none."""
    operator.run("devices", status=77, WIOTP_AUTH_TOKEN="wrong-token")
    assert operator.complaint.startswith("motectl: GET http://127.0.0.1:") and "HTTP 40" in operator.complaint
    assert "wrong-token" not in operator.complaint
    operator.run("logs", "edge", "nosuch", status=67)
    service.stop()
    operator.run("devices", status=69)
    assert "Connection refused: is the platform running?" in operator.complaint


@pytest.mark.parametrize("answer, status", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", 76),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot JSON!", 76),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", 69), (b"", 69), (b"rubbish\r\n\r\n", 69),
    (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 76), (b"HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n", 69),
    (b"HTTP/1.1 429 Oh\r\nContent-Length: 0\r\n\r\n", 69),
    (b'HTTP/1.1 400 Oh\r\nContent-Length: 22\r\n\r\n{"message":"no\x1b[31mo"}', 65),
    (b"HTTP/1.1 302 Oh\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 76),
])
def test_scripted_answers(operator, closing, answer, status):
    """Whatever a server answers has an exit status, and never reaches the terminal as it is."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing.append(listener)

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    place = ["--server", "mqtt://127.0.0.1:1", "--api", f"http://127.0.0.1:{listener.getsockname()[1]}"]
    operator.run("devices", place=place, status=status)
    assert operator.complaint.startswith("motectl: GET http://127.0.0.1:") and "\x1b" not in operator.complaint


def test_tls(start_service, motectl, authority, tmp_path):
    """REST over TLS, with the same CA file as MQTT."""
    own = authority.issue()
    service = start_service("--https", "0", "--certificate", own.certificate, "--key", own.key)
    operator = Operator(motectl, service, tmp_path / "home")
    place = ["--api", f"https://localhost:{service.ports['https']}"]
    assert "e3" in operator.run("devices", "--ca-file", authority.certificate, place=place)
    operator.run("devices", place=place, status=69)
    assert "certificate is not trusted" in operator.complaint
    operator.run("devices", place=place, WIOTP_OPTIONS_HTTP_VERIFY="False")
    operator.run("devices", place=["--api", place[1].replace("https", "http")], status=69)


def test_reboot(operator, managed):
    """Each step is told; the device restarts."""
    device = managed()
    lines = operator.run("reboot", "edge", "e1", "--wait").splitlines()
    assert " edge e1 waiting" in lines[0] and " edge e1 done" in lines[-1]
    assert device.asked.get(timeout=DEADLINE) == "mgmt/initiate/device/reboot"
    told = operator.json("factory-reset", "edge", "e1", "--wait", "--yes")
    assert told[-1]["complete"] is True and told[-1]["status"] == 0
    assert device.asked.get(timeout=DEADLINE) == "mgmt/initiate/device/factory_reset"
    assert operator.run("reboot", "edge", "e1").startswith("requested ")


def test_reboot_that_fails(operator, managed):
    """A device that refuses, one that is not managed, one that never comes back, and one that is not there."""
    managed(fails_at="mgmt/initiate/device/reboot")
    told = operator.run("reboot", "edge", "e1", "--wait", status=1)
    assert "failed" in told and "not today\\x1b[31m" in told
    assert "not managed" in operator.run("reboot", "edge", "e2", "--wait", status=1)
    # Also for who does not wait: it has failed already.
    assert "not managed" in operator.run("reboot", "edge", "e2", status=1)
    assert operator.run("reboot", "edge", "e2", "--json", status=1)
    operator.run("reboot", "edge", "nosuch", "--wait", status=67)


def test_request_that_times_out(operator, managed):
    """The platform ends a request in its time."""
    managed(is_silent=True)
    assert operator.json("reboot", "edge", "e1", "--wait", "--timeout", "2s", status=1)[-1]["complete"] is True


def test_platform_that_is_away_for_a_while(durable, motectl, tmp_path, closing):
    """A request that is waited for outlives the platform's restart."""
    closing.append(ManagedDevice(durable, is_silent=True))
    with Operator(motectl, durable, tmp_path / "home").running(
            "reboot", "edge", "e1", "--wait", "--timeout", "4s") as reboot:
        reboot.wait_text("waiting")
        durable.kill()
        time.sleep(1)
        durable.start()
        assert reboot.wait() == 1
    assert " failed: " in reboot.text


def test_firmware(operator, managed, image):
    """Several devices at a time get the image, with a URL of each one's own, and install it."""
    devices = [managed(name) for name in ("e1", "e2", "e3")]
    lines = operator.run("firmware", "push", "edge", "e1", "e2", "e3", image).splitlines()
    assert lines[-1] == "edge-os-1.5.0.img 1.5.0: 3 installed, 0 failed, 0 to go"
    for name in ("e1", "e2", "e3"):
        states = [line.split(" ")[3] for line in lines[:-1] if line.split(" ")[2] == name]
        assert states[0] == "downloading" and states[-3:] == ["downloaded", "installing", "installed"]
    for device in devices:
        assert device.image == IMAGE and device.installed == "1.5.0"
        assert device.firmware["verifier"] == "sha256:" + hashlib.sha256(IMAGE).hexdigest()
        assert device.firmware["name"] == image.name
    assert len({device.firmware["uri"] for device in devices}) == 3
    assert operator.json("device", "show", "edge", "e2")[0]["deviceInfo"]["fwVersion"] == "1.5.0"


def test_firmware_twice_and_only_downloaded(operator, managed, image):
    """--download-only stops there; the next push goes all the way."""
    device = managed()
    told = operator.json("firmware", "push", "edge", "e1", image, "--download-only", "--firmware-version", "2.0")
    assert told[-1]["state"] == "downloaded" and told[-1]["version"] == "2.0"
    assert device.installed == "1.0"
    assert operator.json("firmware", "push", "edge", "e1", image)[-1]["state"] == "installed"
    assert device.installed == "1.5.0"


def test_firmware_that_fails(operator, managed, image, tmp_path):
    """One device fails, the other goes on; the exit status tells."""
    managed("e1", fails_at="mgmt/initiate/firmware/update")
    good = managed("e2")
    told = operator.run("firmware", "push", "edge", "e1", "e2", "e3", image, status=1)
    assert "edge e1 failed: " in told and "not today\\x1b[31m" in told
    assert "edge e3 failed: " in told and good.installed == "1.5.0"
    assert told.splitlines()[-1].endswith("1 installed, 2 failed, 0 to go")
    operator.run("firmware", "push", "edge", "e1", "nosuch", image, status=67)
    operator.run("firmware", "push", "edge", "e1", tmp_path / "none.img", status=66)
    (tmp_path / "empty.img").touch()
    operator.run("firmware", "push", "edge", "e1", tmp_path / "empty.img", status=66)


def test_firmware_for_many(start_service, closing, motectl, image, tmp_path):
    """More devices than are served at a time, and than a low terminal has lines."""
    names = [f"d{number:02}" for number in range(12)]
    service = start_service("--registrations", registrations(tmp_path, names))
    closing.extend(ManagedDevice(service, name) for name in names)
    push = ["firmware", "push", "edge", *names, image, "--parallel", "4"]
    with Operator(motectl, service, tmp_path / "home").terminal(*push, size=(8, 60)) as running:
        assert running.wait(2 * DEADLINE) == 0
    assert "1.5.0: 12 installed, 0 failed, 0 to go" in running.text


def registrations(folder, names):
    """A file of devices to be registered."""
    path = folder / "registrations.json"
    path.write_text(json.dumps({
        "types": [{"id": "edge"}], "apiKeys": [{"key": KEY, "token": KEY_TOKEN}],
        "devices": [{"typeId": "edge", "deviceId": name, "authToken": TOKEN} for name in names]}))
    return path


def test_firmware_in_a_terminal(operator, managed, tmp_path):
    """A bar that grows."""
    image = tmp_path / "large.img"
    image.write_bytes(IMAGE * 16)
    managed("e1", slow=0.02)
    with operator.terminal("firmware", "push", "edge", "e1", image, "--firmware-version", "1.5.0") as push:
        push.wait_text("of 16.7 MB", count=3)
        assert push.wait() == 0
    assert "░" in push.text and "100% installed" in push.text
    assert "large.img 1.5.0: 1 installed, 0 failed, 0 to go" in push.text


def test_firmware_interrupted(operator, managed, image):
    """Ctrl-C cancels what is open, and the platform's image is gone with us."""
    device = managed("e1", slow=DEADLINE)
    with operator.running("firmware", "push", "edge", "e1", image, "--json") as push:
        push.wait_text('"downloading"')
        wait_until(lambda: device.firmware.get("state") == 1, DEADLINE, "the download has begun")
        assert push.interrupt() == 130
    requests = json.loads(get(operator, "/mgmt/requests"))["results"]
    assert [request["complete"] for request in requests] == [True]
    # Another one finds no open request in its way.
    device.abandon()
    device.slow, device.firmware = None, {}
    assert operator.json("firmware", "push", "edge", "e1", image)[-1]["state"] == "installed"


def get(operator, path):
    """What the platform answers to a GET."""
    manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
    manager.add_password(None, operator.place[3], KEY, KEY_TOKEN, is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    return opener.open(f"{operator.place[3]}/api/v0002{path}", timeout=DEADLINE).read()


def test_image_server(operator, managed, image):
    """Ranges, HEAD, and nothing for who does not know the secret."""
    device = managed("e1", slow=DEADLINE)
    with operator.running("firmware", "push", "edge", "e1", image) as push:
        push.wait_text("downloading")
        wait_until(lambda: "uri" in device.firmware, DEADLINE, "the URL has come")
        uri = device.firmware["uri"]

        def fetch(address, **headers):
            request = urllib.request.Request(address, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, b""

        assert fetch(uri, Range="bytes=256-511") == (206, IMAGE[256:512])
        assert fetch(uri, Range="bytes=-10") == (206, IMAGE[-10:])
        assert fetch(uri, Range="bytes=9999999-")[0] == 416
        assert fetch(uri) == (200, IMAGE)
        host, secret = uri.split("/")[2:4]
        assert fetch(f"http://{host}/{secret[:-1]}x/edge/e1/{image.name}")[0] == 404
        assert fetch(f"http://{host}/{secret}/../../etc/passwd")[0] == 404
        assert fetch(f"http://{host}/")[0] == 404
        head = urllib.request.Request(uri, method="HEAD")
        with urllib.request.urlopen(head, timeout=DEADLINE) as answer:
            assert answer.headers["Content-Length"] == str(len(IMAGE))
        post = urllib.request.Request(uri, data=b"x")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(post, timeout=DEADLINE)
        assert refused.value.code == 405
        assert push.interrupt() == 130


def test_logs(operator, managed):
    """The log and the error codes, as they come, and emptied."""
    device = managed()
    entry = {"message": "disk full\x1b[31m", "timestamp": "2024-05-01T10:20:00Z", "severity": 1, "data": "AGE="}
    device.send("add/diag/log", {"d": entry, "reqId": "1"})
    device.send("add/diag/errorCodes", {"d": {"errorCode": 4711}, "reqId": "2"})
    assert operator.run("logs", "edge", "e1") == (
        "2024-05-01T10:20:00Z warning disk full\\x1b[31m data=\\x00a\n")
    assert operator.json("logs", "edge", "e1", "--error-codes")[0]["errorCode"] == 4711
    with operator.running("logs", "edge", "e1", "--follow") as logs:
        logs.wait_text("disk full")
        device.send("add/diag/log", {"d": {**entry, "message": "disk empty", "severity": 0}, "reqId": "3"})
        logs.wait_text("info disk empty")
        assert logs.interrupt() == 0
    assert logs.text.count("disk full") == 1
    assert operator.run("logs", "edge", "e1", "--clear") == "cleared\n"
    assert operator.run("logs", "edge", "e1") == ""


@pytest.fixture
def sdk_device(service, sdk_connect):
    """A managed device of the vendor's SDK, which restarts, downloads and installs."""
    sdk = pytest.importorskip("wiotp.sdk.device", reason="Scripts/setup installs it")
    client = sdk_connect(service, sdk.ManagedDeviceClient,
                         {"orgId": ORGANIZATION, "typeId": "edge", "deviceId": "e1"}, {"token": TOKEN})
    client.images = []

    def manage():
        assert client.manage(0, supportDeviceActions=True, supportFirmwareActions=True).wait(DEADLINE)

    def restart(request):
        client.respondDeviceAction(request, 202)
        manage()

    def act(action, firmware):
        finish_sending()
        if action == "download":
            steps = [lambda: client.setState(1), lambda: client.images.append(
                urllib.request.urlopen(firmware.url, timeout=DEADLINE).read()), lambda: client.setState(2)]
        else:
            steps = [lambda: client.setUpdateStatus(1), lambda: client.setUpdateStatus(0)]
        for step in steps:
            step()
            finish_sending()

    # Not in the SDK's own thread, which has answers to take.
    client.deviceActionCallback = lambda request, _action: threading.Thread(target=restart, args=(request,)).start()
    client.firmwereActionCallback = lambda *arguments: threading.Thread(target=act, args=arguments).start()
    wait_until(client.readyForDeviceMgmt.is_set, DEADLINE, "an answer to manage")
    manage()
    return client


def test_the_vendors_managed_device(operator, sdk_device, image):
    """Reboot, factory reset and firmware."""
    assert " done" in operator.run("reboot", "edge", "e1", "--wait")
    assert " done" in operator.run("factory-reset", "edge", "e1", "--wait", "--yes")
    assert operator.json("firmware", "push", "edge", "e1", image)[-1]["state"] == "installed"
    assert sdk_device.images == [IMAGE]
