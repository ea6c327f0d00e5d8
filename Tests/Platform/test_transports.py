"""TCP, TLS and WebSockets; addresses; the program's end."""

import contextlib
import os
import socket
import ssl
import subprocess

import pytest

from rest import call
from service import KEY, KEY_TOKEN, ORGANIZATION, TOKEN, Service, device as platform_device

from harness.waiting import DEADLINE

EVENTS = "iot-2/type/+/id/+/evt/+/fmt/+"


@pytest.fixture
def secure(start_service, authority):
    """A platform with TLS, and its ports."""
    certificate = authority.issue()
    service = start_service("--certificate", certificate.certificate, "--key", certificate.key, "--mqtts", "0",
                            "--https", "0")
    return service, service.ports


def test_tls(secure, join, application, authority):
    """MQTT over TLS; monitoring messages say so."""
    service, ports = secure
    listener = application(service)
    listener.subscribe(EVENTS, "iot-2/type/+/id/+/mon")
    client = join(service, f"d:{ORGANIZATION}:edge:e1", "use-token-auth", TOKEN, port=ports["mqtts"],
                  tls=authority.certificate)
    assert b'"Secure":true' in listener.next("iot-2/type/edge/id/e1/mon").payload
    client.publish("iot-2/evt/status/fmt/json", b"x" * 100_000)
    assert len(listener.next().payload) == 100_000


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions(secure, authority, version):
    """TLS 1.2 and 1.3 are spoken."""
    _, ports = secure
    context = ssl.create_default_context(cafile=authority.certificate)
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", ports["mqtts"]), timeout=DEADLINE) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as stream:
            assert stream.version() == version.name.replace("_", ".")


def test_failed_handshake(secure):
    """A peer that does not speak TLS is closed with code 163."""
    service, ports = secure
    with socket.create_connection(("127.0.0.1", ports["mqtts"]), timeout=DEADLINE) as stream:
        stream.sendall(b"\x10\x0c\0\4MQTT\4\2\0\0\0\0" * 20)
        with contextlib.suppress(ConnectionResetError):
            stream.recv(100)
    service.wait_log("connection", "closed", code=163)


def test_web_socket(service, join, application):
    """MQTT in WebSocket frames, on the HTTP port."""
    listener = application(service)
    listener.subscribe(EVENTS, "iot-2/type/+/id/+/mon")
    client = join(service, f"d:{ORGANIZATION}:edge:e1", "use-token-auth", TOKEN, transport="websockets")
    assert b'"Protocol":"mqtt4-ws"' in listener.next("iot-2/type/edge/id/e1/mon").payload
    client.publish("iot-2/evt/status/fmt/json", b"x" * 100_000, qos=2)
    assert len(listener.next().payload) == 100_000
    client.subscribe("iot-2/cmd/+/fmt/+")
    listener.publish("iot-2/type/edge/id/e1/cmd/c/fmt/json", "{}")
    client.next()
    client.close()
    service.wait_log("client", "disconnected", client_id="d:local0:edge:e1", code=0)


def test_secure_web_socket(secure, join, authority):
    """And over TLS."""
    service, ports = secure
    client = join(service, f"a:{ORGANIZATION}:app1", KEY, KEY_TOKEN, transport="websockets", port=ports["https"],
                  tls=authority.certificate)
    client.subscribe(EVENTS)


@pytest.mark.parametrize("path, protocol, status", [
    ("/mqtt", "mqtt", 101), ("/anything", "mqtt", 101), ("/mqtt", None, 101), ("/mqtt", "mqttv3.1", 404),
    ("/other", None, 404), ("/mqtt", "soap", 404),
])
def test_web_socket_handshake(service, path, protocol, status):
    """A known subprotocol, or none and the right path."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
    if protocol:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    with socket.create_connection(("127.0.0.1", service.ports["http"]), timeout=DEADLINE) as stream:
        stream.sendall("\r\n".join(lines + ["", ""]).encode())
        answer = stream.recv(1000).decode()
    assert int(answer.split()[1]) == status, answer


@pytest.mark.parametrize("headers, status", [
    ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Origin": "http://localhost:1"}, 101), ({"Origin": "https://LOCALHOST:1", "Sec-Fetch-Site": "same-origin"}, 101),
])
def test_web_socket_of_other_sites(service, headers, status):
    """A page of another site gets no WebSocket: its reader's platform is none of its business."""
    for protocol in (["Sec-WebSocket-Protocol: mqtt"], []):
        lines = ["GET /mqtt HTTP/1.1", "Host: localhost:1", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", *protocol,
                 *(f"{name}: {value}" for name, value in headers.items())]
        with socket.create_connection(("127.0.0.1", service.ports["http"]), timeout=5) as stream:
            stream.sendall("\r\n".join(lines + ["", ""]).encode())
            answer = stream.recv(1000).decode()
        assert int(answer.split()[1]) == status, answer
        assert status == 101 or "another site" in answer


def frames(service, *sent):
    """Opens a WebSocket that speaks MQTT, sends frames, and gives what comes until the platform closes it."""
    lines = ["GET /mqtt HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Protocol: mqtt"]
    with socket.create_connection(("127.0.0.1", service.ports["http"]), timeout=DEADLINE) as stream:
        stream.sendall("\r\n".join(lines + ["", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += stream.recv(1000)
        answer = answer.partition(b"\r\n\r\n")[2]
        stream.sendall(b"".join(sent))
        with contextlib.suppress(ConnectionResetError):
            while received := stream.recv(1000):
                answer += received
        return answer


def frame(first, payload=b"", mask=b"\0\0\0\0"):
    """A frame of at most 125 bytes; a mask of zeros leaves them as they are."""
    return bytes([first, len(payload) | (0x80 if mask else 0)]) + mask + payload


@pytest.mark.parametrize("sent, code", [
    ([frame(0x82, b"\x10", mask=b"")], 1002), ([frame(0xC2, b"\x10")], 1002), ([frame(0x80, b"\x10")], 1002),
    ([frame(0x02, b"\x10"), frame(0x82, b"\x0c")], 1002), ([frame(0x09)], 1002), ([frame(0x81, b"text")], 1003),
    ([frame(0x02, b"\x10"), frame(0x89, b"ping"), frame(0x88, b"\x03\xe8")], 1000)],
    ids=["without a mask", "reserved bit", "continuation first", "message within another", "part of a ping", "text",
         "a ping in between"])
def test_frames(service, sent, code):
    """RFC 6455: who breaks the rules of frames is told so, and closed."""
    answer = frames(service, *sent)
    assert answer[-4:] == b"\x88\x02" + code.to_bytes(2, "big"), answer


def test_no_web_socket(service):
    """Who asks for /mqtt without a WebSocket is told what is wanted there (RFC 9110, section 15.5.22)."""
    answer = call(service, "GET", "/mqtt", auth=None)
    assert answer.status == 426 and "WebSocket" in answer.message
    assert answer.headers["Upgrade"] == "websocket" and "upgrade" in answer.headers["Connection"].lower()


def test_stops_cleanly(service, device):
    """SIGTERM closes all connections with code 93, and ends the program with status 0."""
    client = device(service)
    assert service.stop() == 0
    client.wait_closed()
    assert service.find("client", "disconnected", client_id="d:local0:edge:e1", code=93)


@pytest.mark.parametrize("arguments, status", [
    (["--bind", "0.0.0.0", "--mqtt", "0"], 78), (["--organization", "Wrong"], 64), (["--mqtt", "65536"], 64),
    (["--mqtts", "0"], 64), (["--registrations", "/nowhere"], 78),
    (["--certificate", "/nowhere", "--key", "/nowhere", "--mqtts", "0"], 78),
    (["--bind", "127.example.com"], 78), (["--bind", "127.0.0.1.example.com"], 78),
])
def test_refuses_to_start(motectl, arguments, status):
    """Wrong usage, and what would be open to the world."""
    done = subprocess.run([motectl, "platform", "--mqtt", "0", "--http", "0", *arguments], capture_output=True,
                          text=True, timeout=DEADLINE, check=False)
    assert done.returncode == status, done.stderr
    assert done.stderr


@pytest.mark.parametrize("arguments", [
    ["--mqtt", "off", "--http", "off"], ["--mqtt", "off", "--http", "off", "--mqtts", "off"],
    ["--bind", "0.0.0.0", "--quickstart"], ["--bind", "0.0.0.0", "--insecure"], ["--bind", "0.0.0.0"],
    ["--bind", "0.0.0.0", "--certificate", "{certificate}", "--key", "{key}"],
])
def test_nothing_to_listen_to(motectl, authority, arguments):
    """A platform that nobody could reach is none."""
    issued = authority.issue()
    words = [word.format(certificate=issued.certificate, key=issued.key) for word in arguments]
    done = subprocess.run([motectl, "platform", *words], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 78, done.stderr
    assert "nothing to listen to" in done.stderr and "--mqtt" in done.stderr


def test_port_is_taken(service, motectl):
    """A port that is taken ends the program, status 69."""
    done = subprocess.run([motectl, "platform", "--mqtt", str(service.port), "--http", "0"], capture_output=True,
                          text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 69, done.stderr


def test_insecure_on_demand(start_service, device, join):
    """Elsewhere than on loopback without TLS, if one says so; Quickstart is closed there."""
    service = start_service("--bind", "0.0.0.0", "--insecure")
    device(service)
    assert join(service, "d:quickstart:t:d1", auto=False).codes.get(timeout=DEADLINE)[0] == 5


def test_user_without_rights(closing, motectl, tmp_path, authority):
    """Whoever runs it, MQTT and HTTP are answered, with and without TLS: no option of a socket takes a privilege."""
    program = tmp_path / "motectl"
    drop = "setpriv --bounding-set=-all --inh-caps=-all" if os.geteuid() == 0 else ""
    program.write_text(f"#!/bin/sh\nexec {drop} '{motectl}' \"$@\"\n")
    program.chmod(0o755)
    issued = authority.issue()
    service = Service(program, tmp_path / "platform", "--certificate", issued.certificate, "--key", issued.key,
                      "--mqtts", "0", "--https", "0", environment={"PATH": os.environ["PATH"]})
    closing.append(service)
    closing.append(platform_device(service))
    closing.append(platform_device(service, "e2", port=service.ports["mqtts"], tls=authority.certificate))
    closing.append(platform_device(service, "e3", transport="websockets"))
