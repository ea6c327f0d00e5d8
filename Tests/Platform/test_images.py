"""Firmware images: uploaded by operators, fetched by devices, kept over restarts."""

import hashlib
import http.client
import resource
import socket

import pytest

from harness.waiting import DEADLINE, wait_until
from rest import APPLICATION, api, authorization, call

IMAGE = bytes(range(256)) * 4000
BINARY = "application/octet-stream"


def upload(service, name="e7-1.5.0.img", image=IMAGE, **options):
    options.setdefault("content_type", BINARY)
    return call(service, "POST", f"/api/images?name={name}", image, **options)


def fetch(service, path, auth=None, **headers):
    return call(service, "GET", path, auth=auth, headers=headers)


def test_upload_and_download(service):
    """An image comes back as it was, to whoever knows its address."""
    made = upload(service)
    assert made.status == 201
    image = made.json
    assert image["name"] == "e7-1.5.0.img" and image["size"] == len(IMAGE)
    assert image["sha256"] == hashlib.sha256(IMAGE).hexdigest()
    assert image["path"] == f"/images/{image['id']}/e7-1.5.0.img" and len(image["id"]) == 32
    answer = fetch(service, image["path"])
    assert (answer.status, answer.body) == (200, IMAGE)
    assert answer.headers["Content-Type"] == BINARY and answer.headers["Accept-Ranges"] == "bytes"
    assert call(service, "GET", "/api/images").json == [image]
    head = call(service, "HEAD", image["path"], auth=None)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(IMAGE)))
    assert call(service, "DELETE", f"/api/images/{image['id']}").status == 204
    assert fetch(service, image["path"]).status == 404 and call(service, "GET", "/api/images").json == []
    assert call(service, "DELETE", f"/api/images/{image['id']}").status == 404


@pytest.mark.parametrize("asked, status, part, told", [
    ("bytes=0-9", 206, IMAGE[:10], "bytes 0-9/1024000"),
    ("bytes=1000000-", 206, IMAGE[1_000_000:], "bytes 1000000-1023999/1024000"),
    ("bytes=-6", 206, IMAGE[-6:], "bytes 1023994-1023999/1024000"),
    ("bytes=1024000-", 416, None, "bytes */1024000"), ("lines=1-2", 200, IMAGE, None),
])
def test_ranges(service, asked, status, part, told):
    """A download goes on where it broke off."""
    answer = fetch(service, upload(service).json["path"], Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (status, told)
    assert part is None or answer.body == part


def test_names(service):
    """A name needs no escaping, whatever the file was called."""
    image = upload(service, "my%20new%2Fimage%C3%BC.img").json
    assert image["name"] == "my-new-image-.img"
    assert fetch(service, image["path"]).status == 200


def test_who_may(service):
    """Uploading, listing and removing take an API key; fetching takes the address."""
    for method, path in (("POST", "/api/images?name=a"), ("GET", "/api/images"), ("DELETE", "/api/images/abc")):
        body = b"x" if method == "POST" else None
        assert call(service, method, path, body, auth=None, content_type=BINARY).status == 401
        assert call(service, method, path, body, ("use-token-auth", "x"), content_type=BINARY).status == 401
    for path in ("/images/x/y", "/images/%2e%2e/platform.sqlite", "/images/..%2f..%2fetc/passwd", "/images/"):
        assert fetch(service, path, auth=APPLICATION).status == 404
    assert call(service, "POST", "/images/x/y", b"x").status == 405


def test_wrong_uploads(service):
    """Each tells what was expected."""
    assert "name" in upload(service, "").message
    assert call(service, "POST", "/api/images", b"x", content_type=BINARY).status == 400
    assert upload(service, content_type="application/json").status == 415
    assert "empty" in upload(service, image=b"").message
    assert call(service, "GET", "/api/images").json == []


def begin_upload(service, count=1 << 20):
    """An upload of which only some bytes come."""
    connection = http.client.HTTPConnection("127.0.0.1", service.ports["http"], timeout=20)
    connection.putrequest("POST", "/api/images?name=broken")
    for name, value in (("Authorization", authorization(*APPLICATION)), ("Content-Type", BINARY),
                        ("Content-Length", str(count))):
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"x" * 10_000)
    return connection


def test_broken_upload(durable):
    """An upload that breaks off leaves nothing; four at a time are taken, and their places are free again."""
    folder = durable.folder / "data" / "images"
    open_ones = [begin_upload(durable) for _ in range(4)]
    wait_until(lambda: folder.exists() and len(list(folder.iterdir())) == 4, DEADLINE, "four parts of images")
    assert upload(durable).status == 503
    for connection in open_ones:
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
    wait_until(lambda: not list(folder.iterdir()), DEADLINE, "the parts to go")
    assert upload(durable).status == 201


def test_too_large(service):
    """What says that it is too large is refused before it comes."""
    connection = begin_upload(service, count=1 << 40)
    answer = connection.getresponse()
    assert answer.status == 413
    connection.close()


def test_restart(durable):
    """Images outlive a crash."""
    image = upload(durable).json
    durable.kill()
    durable.start()
    assert call(durable, "GET", "/api/images").json == [image]
    assert fetch(durable, image["path"]).body == IMAGE


def test_full_disk(durable):
    """An image that finds no room is refused with the system's words, and leaves nothing."""
    _, hard = resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE, (100_000, hard))
    answer = upload(durable)
    assert answer.status == 503 and "too large" in answer.message
    resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert not list((durable.folder / "data" / "images").iterdir())
    assert upload(durable).status == 201


def test_memory_platform_leaves_nothing(start_service, tmp_path):
    """A platform without a folder takes its images with it."""
    service = start_service(environment={"TMPDIR": str(tmp_path)})
    assert upload(service).status == 201
    assert list(tmp_path.glob("mote-platform-*/images/*/e7-1.5.0.img"))
    assert service.stop() == 0
    assert not list(tmp_path.glob("mote-platform-*"))


def test_needed_images_stay(service, device):
    """An image that a device is to fetch does not make room for others."""
    first = upload(service, "0", b"0").json
    client = device(service)
    client.subscribe("iotdm-1/#")
    client.publish("iotdevice-1/mgmt/manage", {"reqId": "m", "d": {"supports": {"firmwareActions": True}}})
    made = api(service, "POST", "/mgmt/requests", {
        "action": "firmware/download", "devices": [{"typeId": "edge", "deviceId": "e1"}],
        "parameters": [{"name": "uri", "value": f"http://127.0.0.1:{service.ports['http']}{first['path']}"}]})
    assert made.status == 202
    for number in range(1, 17):
        assert upload(service, str(number), str(number).encode()).status == 201
    names = [image["name"] for image in call(service, "GET", "/api/images").json]
    assert names == ["0"] + [str(number) for number in range(2, 17)]
