"""Peers that break the rules: each is closed with its code, and the others do not notice."""

import socket
import struct
import time

import pytest

from service import ORGANIZATION, TOKEN

from harness.packets import packet, remaining_length, suback, text
from harness.waiting import DEADLINE, wait_until


def connect_packet(client=f"d:{ORGANIZATION}:edge:e1", user="use-token-auth", password=TOKEN, *, level=4, flags=0xC2,
                   name="MQTT"):
    return packet(1, 0, text(name) + bytes([level, flags]) + struct.pack(">H", 60) + text(client) + text(user)
                  + text(password))


def open_stream(service):
    return socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE)


def read_end(stream):
    """All bytes until the platform closes."""
    received = b""
    try:
        while chunk := stream.recv(4096):
            received += chunk
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("first, answer, code", [
    (connect_packet(level=5), b"\x20\x02\x00\x01", 293),
    (connect_packet(level=3, name="MQIsdp"), b"\x20\x02\x00\x01", 293),
    (packet(12, 0), b"", 282), (b"GET / HTTP/1.1\r\n\r\n", b"", 282), (b"\x00\x00", b"", 282),
    (connect_packet(flags=0xC3), b"", 105), (b"\x10" + remaining_length(20_000), b"", 165),
    (b"\x10\xff\xff\xff\xff\x7f", b"", 105),
    (connect_packet(client=b"d:local0:edge:\xff\xfe"), b"\x20\x02\x00\x02", 166),
    (connect_packet(client=""), b"\x20\x02\x00\x02", 166), (connect_packet(client="d:local0:edge:e\0"), b"", 105),
])
def test_first_packet(service, first, answer, code):
    """What a first packet must not be."""
    with open_stream(service) as stream:
        stream.sendall(first)
        assert read_end(stream) == answer
    service.wait_log("connection", "closed", code=code)


@pytest.mark.parametrize("second, code", [
    (connect_packet(), 297), (packet(2, 0, b"\0\0"), 297), (packet(15, 0), 105), (packet(0, 0), 105),
    (packet(3, 6, text("iot-2/evt/a/fmt/json") + b"\0\1"), 105), (packet(3, 2, text("x") + b"\0\0"), 105),
    (packet(8, 2, b"\0\1"), 105), (packet(8, 0, b"\0\1" + text("a") + b"\0"), 105),
    (packet(3, 0, text("iot-2/evt/+/fmt/json")), 276), (packet(3, 0, text("")), 276),
    (packet(3, 0, text(b"iot-2/evt/\xff/fmt/json")), 105),
    (b"\x30" + remaining_length(200_000_000), 287), (b"\x30\xff\xff\xff\xff\x7f", 105),
])
def test_later_packet(service, second, code):
    """What a later one must not be."""
    with open_stream(service) as stream:
        stream.sendall(connect_packet())
        assert stream.recv(4) == b"\x20\x02\x00\x00"
        stream.sendall(second)
        read_end(stream)
    service.wait_log("client", "disconnected", code=code)


def test_slow_sender(service, device):
    """Who sends nothing, or a byte now and then, is closed after ten seconds, code 164."""
    start = time.monotonic()
    with open_stream(service) as silent, open_stream(service) as slow:
        slow.sendall(connect_packet()[:5])
        read_end(silent)
        read_end(slow)
        assert time.monotonic() - start > 9
    service.wait_log("connection", "closed", code=164, count=2)
    device(service)


def test_pieces(service):
    """Packets in pieces, and several at once, are understood."""
    stream_bytes = connect_packet() + packet(3, 2, text("iot-2/evt/a/fmt/json") + b"\0\1{}") + packet(12, 0)
    with open_stream(service) as stream:
        for byte in stream_bytes:
            stream.sendall(bytes([byte]))
        expected = b"\x20\x02\x00\x00" + b"\x40\x02\x00\x01" + b"\xd0\x00"
        received = b""
        while len(received) < len(expected):
            received += stream.recv(100)
        assert received == expected
        stream.sendall(stream_bytes[-2:] * 1000)
        received = b""
        while len(received) < 2000:
            received += stream.recv(4096)


def test_flood_of_connections(service, device):
    """Hundreds of connections that say nothing do not keep others out."""
    streams = [open_stream(service) for _ in range(400)]
    device(service).publish("iot-2/evt/status/fmt/json")
    assert not service.find("connection", "closed"), "it was let in after some of the others had been thrown out"
    for stream in streams:
        stream.close()


def test_who_takes_nothing(start_service, device, application):
    """A subscriber that reads nothing is cut off from QoS 0, closed in the end, and nobody else waits for it."""
    service = start_service("--rates", "unlimited")
    listener = application(service)
    listener.subscribe("iot-2/type/+/id/+/evt/+/fmt/+", qos=0)
    with open_stream(service) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.sendall(connect_packet("a:local0:deaf", "a-local0-testing", "key+token=1"))
        stream.sendall(packet(8, 2, b"\0\1" + text("iot-2/type/+/id/+/evt/+/fmt/+") + b"\0"))
        expected = packet(2, 0, b"\0\0") + suback(1, 0)
        assert stream.recv(len(expected), socket.MSG_WAITALL) == expected
        sender = device(service)
        for count in range(1, 101):
            sender.publish("iot-2/evt/status/fmt/bin", b"x" * 100_000, qos=1)
            # A listener that falls behind would be cut off as well.
            wait_until(lambda: len(listener.all) == count, DEADLINE, f"message {count}")
        memory = int(open(f"/proc/{service.process.pid}/status").read().split("VmRSS:")[1].split()[0])
        assert memory < 150_000, f"{memory} KB"
