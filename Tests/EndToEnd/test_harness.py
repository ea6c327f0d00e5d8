"""The harness itself: a test that cannot see a fault proves nothing."""

import datetime
import socket
import ssl
import subprocess
import time

import paho.mqtt.client
import pytest

from harness import packets
from harness.agent import parse_log_line, seconds
from harness.configuration import seldom_seconds
from harness.peer import ScriptedBroker
from harness.plugin import parts, seconds_of
from harness.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.native


@pytest.fixture
def peer(closing):
    broker = ScriptedBroker()
    closing.append(broker)
    return broker


def publish_with_mosquitto(port, topic, payload, *options):
    return subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-m", payload, *options],
                          capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_platform_receives_events_and_sends_commands(broker, platform):
    assert publish_with_mosquitto(broker.port, "iot-2/evt/status/fmt/json", '{"d":{"a":1.50}}').returncode == 0
    event = platform.next_event("status")
    assert (event.text, event.data) == ('{"d":{"a":1.50}}', {"a": 1.5})


def test_broker_asks_for_the_password(start_broker):
    guarded = start_broker(users={"user": "right"})
    right, wrong = (publish_with_mosquitto(guarded.port, "a", "b", "-q", "1", "-u", "user", "-P", password)
                    for password in ("right", "wrong"))
    assert right.returncode == 0 and wrong.returncode == 5, (right, wrong)


def test_scripted_broker_records_what_a_client_sends(peer):
    done = publish_with_mosquitto(
        peer.port, "a/b", "hello", "-q", "1", "-i", "me", "-u", "user", "-P", "pass", "-k", "7")
    assert done.returncode == 0, done.stderr
    connection = peer.accept()
    fields = connection.expect(packets.CONNECT).connect
    assert (fields["client"], fields["user"], fields["password"]) == ("me", "user", b"pass")
    assert (fields["level"], fields["keep_alive"], fields["clean"]) == (4, 7, True)
    published = connection.expect(packets.PUBLISH)
    assert (published.topic, published.payload, published.qos, published.dup) == ("a/b", b"hello", 1, False)
    connection.expect(packets.DISCONNECT)
    assert connection.wait_ended() == "closed"


def test_scripted_broker_delivers_qos_2_in_full(peer):
    received = []
    client = paho.mqtt.client.Client(client_id="two")
    client.on_message = lambda _client, _user, message: received.append(message.payload)
    client.connect("127.0.0.1", peer.port)
    client.loop_start()
    connection = peer.accept()
    connection.expect(packets.CONNECT)
    connection.send(packets.command("ping", "x", qos=2, identifier=9), piece=1)
    assert connection.expect(packets.PUBCOMP).identifier == 9
    client.disconnect()
    client.loop_stop()
    assert received == [b"x"]


def test_proxy_forwards_cuts_and_freezes(broker, start_proxy):
    proxy = start_proxy(broker.port)
    proxy.piece_bytes = 1
    assert publish_with_mosquitto(proxy.port, "a", "b", "-q", "1").returncode == 0
    proxy.piece_bytes = None

    events = []
    client = paho.mqtt.client.Client(client_id="frozen")
    client.on_disconnect = lambda *_: events.append(time.monotonic())
    client.connect("127.0.0.1", proxy.port, keepalive=2)
    client.loop_start()
    wait_until(client.is_connected, DEADLINE, "the connection")
    begin = time.monotonic()
    proxy.freeze()
    wait_until(lambda: events, DEADLINE, "the end of a connection that gives no answers")
    client.loop_stop()
    # Nobody was told; the client's own keep-alive noticed.
    assert events[0] - begin > 1.5

    proxy.shut()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE)
    proxy.open()
    assert publish_with_mosquitto(proxy.port, "a", "b").returncode == 0


def test_certificates_have_the_dates_and_names_asked_for(authority, tls_broker, start_broker):
    context = ssl.create_default_context(cafile=str(authority.certificate))

    def handshake(port, name):
        with socket.create_connection(("127.0.0.1", port)) as stream:
            with context.wrap_socket(stream, server_hostname=name) as secured:
                return secured.getpeercert()

    assert handshake(tls_broker.port, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(tls_broker.port, "other.test")
    for days_from, days_to, words in ((-20, -10, "has expired"), (10, 20, "not yet valid")):
        wrong = start_broker(certificate=authority.issue(days_from=days_from, days_to=days_to))
        with pytest.raises(ssl.SSLCertVerificationError, match=words):
            handshake(wrong.port, "localhost")
    shown = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", authority.certificate],
                           capture_output=True, text=True, check=True).stdout
    assert str((datetime.datetime.utcnow() + datetime.timedelta(days=30)).year) in shown


def test_log_lines_are_taken_apart():
    line = parse_log_line('<4>warning mqtt fault clause=MQTT-2.2.2-2 what="a \\"b\\" = c" retry-in=1.5s')
    assert (line.level, line.component, line.event) == ("warning", "mqtt", "fault")
    assert line.fields == {"clause": "MQTT-2.2.2-2", "what": 'a "b" = c', "retry-in": "1.5s"}
    assert seconds("1.5s") == 1.5 and seconds("250ms") == 0.25 and seconds("2m") == 120
    for wrong in ("info agent", "notice agent starting", "info agent starting a", "info agent starting a=b c", "x"):
        assert parse_log_line(wrong) is None, wrong


def test_what_comes_seldom_does_not_come_again_soon():
    # Around every hour of a year, and every multiple of the longest interval in ten years.
    hours, weeks = range(0, 366 * 24 * 3600, 3600), range(0, 10 * 366 * 24 * 3600, 7 * 24 * 3600)
    for uptime in (moment + offset for moment in (*hours, *weeks) for offset in (0, 1, 3590, 3599.9)):
        interval = seldom_seconds(uptime)
        assert 3600 <= interval <= 7 * 24 * 3600 and interval - uptime % interval >= 600, (uptime, interval)


def test_parts_have_every_test_once_and_take_equally_long(request):
    items = request.session.items * 8
    for count in (1, 4, 7):
        shares = parts(items, count)
        assert sorted(map(id, sum(shares, []))) == sorted(map(id, items))
        loads = [sum(map(seconds_of, share)) for share in shares]
        assert max(loads) - min(loads) <= max(map(seconds_of, items))


@pytest.mark.seconds(45)
def test_a_mark_says_how_long_a_test_takes(request):
    assert seconds_of(request.node) == 45
