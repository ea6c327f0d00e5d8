"""What a peer cannot make the platform hold, however much it sends, and however little it reads."""

import resource
import socket
import time

import pytest

from harness import packets
from harness.waiting import DEADLINE, wait_until
from service import ORGANIZATION

MEGABYTE = 1 << 20
PINGREQ = b"\xc0\x00"
# What a flood may add to the platform's memory: its buffers have bounds of some megabytes.
GROWTH_MAX = 48 * MEGABYTE


def resident(service):
    """Resident memory in bytes."""
    with open(f"/proc/{service.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


def connect_packet(client_id, user=None, password=None):
    """CONNECT of a clean session [MQTT 3.1.1, 3.1]."""
    fields = [text for text in (client_id, user, password) if text is not None]
    header = packets.text("MQTT") + bytes([4, 0x02 | (0xC0 if user else 0)]) + b"\x00\x3c"
    return packets.packet(packets.CONNECT, 0, header + b"".join(map(packets.text, fields)))


def connect(service, *identity):
    """A socket, on which CONNECT is sent."""
    peer = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    peer.sendall(connect_packet(*identity))
    return peer


def flood(peer, chunk, count):
    """Sends until `count` bytes are sent, or nothing more is taken for a second; how many were taken."""
    peer.settimeout(1)
    sent = 0
    try:
        while sent < count:
            sent += peer.send(chunk)
    except (TimeoutError, ConnectionError):
        pass
    return sent


def test_behind_a_delayed_connect(service):
    """Nobody vouches for a peer whose CONNECT is being delayed: what it sends meanwhile is not read."""
    identity = f"d:{ORGANIZATION}:edge:e1", "use-token-auth", "wrong password"
    for _ in range(4):
        with connect(service, *identity) as peer:
            assert peer.recv(4) == b"\x20\x02\x00\x05"
    before = resident(service)
    with connect(service, *identity) as peer:
        taken = flood(peer, PINGREQ * 65_536, 256 * MEGABYTE)
        assert taken < 64 * MEGABYTE and resident(service) - before < GROWTH_MAX
    # It still serves others.
    with connect(service, "d:quickstart:t:d1") as peer:
        assert peer.recv(4) == b"\x20\x02\x00\x00"


@pytest.mark.seconds(15)
def test_who_does_not_read(service):
    """Every PINGREQ wants an answer: from a peer that does not read its answers, no more questions are read."""
    with connect(service, "d:quickstart:t:d1") as peer:
        assert peer.recv(4) == b"\x20\x02\x00\x00"
        before = resident(service)
        taken = flood(peer, PINGREQ * 65_536, 256 * MEGABYTE)
        assert taken < 128 * MEGABYTE and resident(service) - before < GROWTH_MAX
        # When it reads, all of them are answered, and the connection goes on.
        peer.settimeout(20)
        answered = 0
        while answered < taken // 2 * 2:
            answered += len(peer.recv(MEGABYTE))
        assert answered == taken // 2 * 2


@pytest.mark.seconds(15)
def test_while_the_disk_is_full(durable, device, application):
    """Messages that cannot be stored are not read without end, and all of them are in the end."""
    keeper = application(durable, "keeper", clean=False)
    keeper.subscribe("iot-2/type/+/id/+/evt/+/fmt/+")
    keeper.close()
    sender = device(durable)
    _, hard = resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
    sender.client.publish("iot-2/evt/status/fmt/bin", b"x" * 100_000, 1)
    durable.wait_log("store", "commit-failed")
    before = resident(durable)
    sent = [sender.client.publish("iot-2/evt/status/fmt/bin", b"x" * 100_000, 1) for _ in range(4000)]
    time.sleep(6)
    # 64 MB wait for the disk, another 64 with the commit that fails, and what is being read.
    assert resident(durable) - before < 250 * MEGABYTE
    assert not any(message.is_published() for message in sent) and sender.ends.empty()
    resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    wait_until(lambda: sent[-1].is_published(), 2 * DEADLINE, "the last acknowledgement")


@pytest.mark.parametrize("part", [b"\x30", connect_packet("d:quickstart:t:d1")[:10]])
def test_who_never_finishes(service, part):
    """A peer that begins and does not go on is closed."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as peer:
        peer.sendall(part)
        assert peer.recv(1) == b""
    service.wait_log("connection", "closed", code=164)
