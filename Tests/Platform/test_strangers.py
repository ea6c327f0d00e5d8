"""Who comes without being known: names that are not ours, guesses, slow and half-open connections, who goes."""

import contextlib
import socket
import threading
import time

import pytest

from harness.waiting import DEADLINE, wait_until
from rest import API, APPLICATION, DEVICE, Stream, api, authorization, call
from service import DOMAIN, KEY, KEY_TOKEN
from test_bounds import MEGABYTE, connect_packet, resident

E1 = "/device/types/edge/devices/e1"


def open_http(service):
    return socket.create_connection(("127.0.0.1", service.ports["http"]), timeout=2 * DEADLINE)


def exchange(peer, text):
    """Sends a request, and gives all that comes until the connection is closed."""
    peer.sendall(text.encode())
    answer = b""
    with contextlib.suppress(ConnectionError):
        while received := peer.recv(65_536):
            answer += received
    return answer.decode()


# Names

@pytest.mark.parametrize("host, status", [
    ("evil.example", 421), ("evil.example:8080", 421), (f"{DOMAIN}.evil.example", 421), (f"x{DOMAIN}", 421),
    ("127.0.0.1.evil.example", 421), (DOMAIN, 200), (f"{DOMAIN}.:80", 200), (f"any.{DOMAIN.upper()}:8080", 200),
    ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8080", 200), ("192.0.2.7", 200)])
def test_names(service, host, status):
    """A page of another site whose name leads here (DNS rebinding) gets nothing, not even where it only reads."""
    headers = {"Host": host, "Origin": f"http://{host}"}
    answer = call(service, "GET", "/api/login", auth=None, headers=headers)
    assert answer.status == status
    if status == 421:
        assert "--name" in answer.message
        login = {"key": KEY, "token": KEY_TOKEN}
        assert call(service, "POST", "/api/login", login, None, headers=headers).status == 421


@pytest.mark.parametrize("host, status", [("evil.example", 421), ("localhost", 101)])
def test_names_of_web_sockets(service, host, status):
    """Nor does it get a WebSocket."""
    with open_http(service) as peer:
        peer.sendall("\r\n".join([
            "GET /mqtt HTTP/1.1", f"Host: {host}", f"Origin: http://{host}", "Upgrade: websocket",
            "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: mqtt", "", ""]).encode())
        assert int(peer.recv(1000).split()[1]) == status


@pytest.mark.parametrize("hosts, status", [
    ([], 400), (["localhost", "localhost"], 400), (["localhost", "evil.example"], 400), (["localhost"], 200)])
def test_one_host(service, hosts, status):
    """HTTP/1.1 has one `Host` (RFC 9112, section 3.2)."""
    with open_http(service) as peer:
        lines = ["GET /health HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
        assert int(exchange(peer, "\r\n".join(lines)).split()[1]) == status


# Guesses

def test_guesses(service):
    """Whoever guesses waits, and longer each time; the log says so, but not for each; others are not held up."""
    assert api(service, "GET", "/device/types").status == 200
    answers = [api(service, "GET", "/device/types", auth=("a-local0-other", f"wrong {number}")) for number in range(8)]
    assert [answer.status for answer in answers] == [401] * 6 + [429] * 2
    assert answers[-1].headers["Retry-After"] == "1" and "try again" in answers[-1].message
    assert len(service.find("http", "refused", user="a-local0-other")) == 3
    service.wait_log("http", "refused", user="a-local0-other", address="127.0.0.1", failures=4)
    # Who was right before is not held up by those who guess at the same key.
    for number in range(6):
        login = {"key": KEY, "token": f"wrong {number}"}
        answers.append(call(service, "POST", "/api/login", login, None))
    # Of one address ten are enough.
    assert answers[-1].status == 429
    wait_until(lambda: api(service, "GET", "/device/types").status == 200, DEADLINE, "the wait to be over")


def test_guesses_of_one_device(service):
    """A device that has a wrong token holds up itself, and not those behind the same address that were right."""
    assert api(service, "POST", f"{E1}/events/status", {"d": 1}, DEVICE).status == 200
    path = "/device/types/edge/devices/e2/events/status"
    statuses = [api(service, "POST", path, {"d": 1}, ("use-token-auth", "wrong")).status for _ in range(12)]
    assert statuses == [403] * 6 + [429] * 6
    wait_until(lambda: api(service, "POST", f"{E1}/commands/+/request", None, DEVICE).status == 204, 1, "e1's answer")


def test_names_of_the_certificate(start_service, authority):
    """Whoever comes by a name of the certificate means this platform."""
    issued = authority.issue("DNS:platform.example,DNS:*.site.example")
    service = start_service("--certificate", issued.certificate, "--key", issued.key, "--https", "0")
    for host, status in (("platform.example", 200), ("a.site.example", 200), ("evil.example", 421)):
        assert call(service, "GET", "/health", auth=None, headers={"Host": host}).status == status


def test_guesses_at_a_time(service):
    """Many connections do not make it faster."""
    statuses = []

    def guess(number):
        statuses.append(api(service, "GET", "/device/types", auth=(KEY, f"wrong {number}")).status)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(401) < 40 and statuses.count(429) == 100 - statuses.count(401)


# Slow and half-open connections

def test_slow_body(service):
    """A body that comes byte by byte has an end before it is whole."""
    with open_http(service) as peer:
        peer.sendall(b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        peer.settimeout(2)
        for _ in range(30):
            with contextlib.suppress(TimeoutError):
                assert peer.recv(100).startswith(b"HTTP/1.1 408 ")
                break
            peer.sendall(b" ")
        else:
            pytest.fail("it is still read")


def test_chunk_extensions(service):
    """What is around a body's bytes has a bound as well."""
    with open_http(service) as peer:
        peer.sendall(b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;x=")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                peer.sendall(b"x" * 65_536)
            pytest.fail("13 MB of an extension were taken")


def test_closes_after_the_last_answer(service):
    """Also where the client keeps its end open."""
    with open_http(service) as peer:
        begin = time.monotonic()
        assert exchange(peer, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert peer.recv(1) == b""
        # The platform's end is closed: a reset tells so.
        with pytest.raises(ConnectionError):
            while time.monotonic() - begin < DEADLINE:
                peer.sendall(b"x")
                time.sleep(0.1)


def test_pipelined_requests(service):
    """Requests that do not wait for answers are answered in order."""
    with open_http(service) as peer:
        get = "GET /health HTTP/1.1\r\nHost: localhost\r\n"
        assert exchange(peer, (get + "\r\n") * 3 + get + "Connection: close\r\n\r\n").count("HTTP/1.1 200 ") == 4


def test_connections_of_one_address(service):
    """One address does not take all of the HTTP port, and who has logged in stays."""
    known = Stream(service, "/api/live/fleet", APPLICATION)
    try:
        known.next("devices")
        before = resident(service)
        peers = [open_http(service) for _ in range(1200)]
        try:
            wait_until(lambda: is_closed(peers[0]), DEADLINE, "the oldest to be closed")
            assert call(service, "GET", "/health", auth=None).status == 200
            assert not is_closed(peers[-1])
            assert resident(service) - before < 64 * MEGABYTE
        finally:
            for peer in peers:
                peer.close()
        api(service, "PUT", f"{E1}/location", {"latitude": 1, "longitude": 2})
        known.next("changes")
    finally:
        known.close()


def test_memory_is_given_back(service):
    """After a flood has gone, what it took is the system's again."""
    before = resident(service)
    head = b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    peers = []
    for number in range(3000):
        peer = socket.socket()
        peers.append(peer)
        # Of several addresses, as one alone has its bound.
        peer.bind((f"127.0.0.{2 + number % 4}", 0))
        peer.connect(("127.0.0.1", service.ports["http"]))
        peer.sendall(head)
    wait_until(lambda: resident(service) - before > 20 * MEGABYTE, DEADLINE, "the flood")
    for peer in peers:
        peer.close()
    wait_until(lambda: resident(service) - before < 20 * MEGABYTE, 2 * DEADLINE, "the memory")


def is_closed(peer):
    """Whether the platform has closed a connection that it says nothing on."""
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_half_open_connects(service):
    """A first packet is small, and does not wait for ever: a flood of halves holds little, and is gone in the end."""
    before = resident(service)
    packet = connect_packet("d:quickstart:t:d1", "u" * 1000, "p" * 2900)
    peers = [socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) for _ in range(1000)]
    try:
        for peer in peers:
            peer.sendall(packet[:-1])
        with socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) as other:
            other.sendall(connect_packet("d:quickstart:t:d2"))
            assert other.recv(4) == b"\x20\x02\x00\x00"
        assert resident(service) - before < 24 * MEGABYTE
        wait_until(lambda: is_closed(peers[-1]), 2 * DEADLINE, "the last one to be closed")
    finally:
        for peer in peers:
            peer.close()
    with socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) as peer:
        peer.sendall(connect_packet("d:quickstart:t:d1", "u" * 1000, "p" * 3500)[:10])
        assert peer.recv(1) == b""
    service.wait_log("connection", "closed", code=165)


# Clients that go

def test_commands_are_not_taken_for_nobody(service):
    """A device that waited for a command and has gone does not get it; the next one that asks does."""
    path = f"{API}{E1}/commands/+/request"
    assert call(service, "POST", path, None, DEVICE).status == 204
    body = '{"waitTimeSecs": 600}'
    for _ in range(20):
        with open_http(service) as peer:
            peer.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization(*DEVICE)}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            # It waits: nothing comes.
            peer.settimeout(0.05)
            with pytest.raises(TimeoutError):
                peer.recv(1)
    assert api(service, "POST", "/application/types/edge/devices/e1/commands/blink", {"d": 1}).status == 200
    answer = call(service, "POST", path, None, DEVICE)
    assert answer.status == 200 and answer.headers["X-commandId"] == "blink"


def test_streams_of_one_address(service):
    """Nobody takes all streams, and one that has gone makes room at once."""
    streams = [Stream(service, "/api/live/quickstart/devices/q1") for _ in range(101)]
    try:
        assert [stream.status for stream in streams] == [200] * 100 + [503]
        assert Stream(service, "/api/live/fleet", APPLICATION).status == 200
        streams.pop(0).close()
        wait_until(lambda: Stream(service, "/api/live/quickstart/devices/q1").status == 200, DEADLINE, "room")
    finally:
        for stream in streams:
            stream.close()
