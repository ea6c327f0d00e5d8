"""The bytes on the wire, seen by scripted peers: what the agent sends, and what it does with what it should not get."""

import time

import pytest

from harness import packets
from harness.agent import seconds
from harness.configuration import CLIENT, TOKEN, seldom, status
from harness.packets import (CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL,
                             SUBACK, SUBSCRIBE, acknowledgement, command, packet, publish, suback)
from harness.peer import ScriptedBroker
from harness.files import wait_written
from harness.waiting import DEADLINE, wait_until

ALL = ScriptedBroker.ALL


@pytest.mark.core
def test_connect_and_subscribe(start_peer, run_agent):
    peer = start_peer()
    run_agent(peer.port, {"mqtt": {"keep-alive": "45s"}, **status("300ms", 1, a="constant:1")})
    connection = peer.accept()
    fields = connection.expect(CONNECT).connect
    assert fields == {"protocol": "MQTT", "level": 4, "flags": 0xC2, "keep_alive": 45, "clean": True, "will": None,
                      "user": "use-token-auth", "password": TOKEN.encode(), "client": CLIENT}
    subscription = connection.expect(SUBSCRIBE)
    assert subscription.flags == 2 and subscription.filters == [("iot-2/cmd/+/fmt/+", 1)]
    first = connection.expect(PUBLISH)
    assert not first.dup and not first.retain and first.identifier > 0


def test_a_durable_session_is_asked_for(start_peer, run_agent):
    peer = start_peer()
    run_agent(peer.port, {"mqtt": {"clean-session": "no"}})
    assert peer.accept().expect(CONNECT).connect["clean"] is False


def test_nothing_is_sent_before_the_server_accepts(start_peer, run_agent):
    peer = start_peer(answers=ALL - {CONNECT})
    run_agent(peer.port, status("100ms", 1, a="constant:1"))
    connection = peer.accept()
    connection.expect(CONNECT)
    time.sleep(1)
    assert len(connection.received) == 1
    connection.send(packets.connack())
    connection.expect(PUBLISH)


@pytest.mark.parametrize("code, name, least", [
    (1, "protocol-level", 60), (2, "client-identifier", 60), (3, "server-unavailable", 1), (4, "bad-credentials", 60),
    (5, "not-authorized", 60), (77, "unknown-code", 60)])
def test_refusals_are_named_and_answered_with_patience(start_peer, run_agent, code, name, least):
    peer = start_peer(connack=packets.connack(code))
    agent = run_agent(peer.port)
    line = agent.wait_log("error", "mqtt", "refused", code=code, reason=name)
    assert seconds(line.fields["retry-in"]) >= least
    assert peer.accept().wait_ended()


@pytest.mark.seconds(6)
def test_no_more_than_the_window_is_in_flight(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PUBLISH})
    run_agent(peer.port, status("100ms", 1, a="constant:1"))
    connection = peer.accept()

    def comes_to_rest_at(count):
        wait_until(lambda: len(connection.all(PUBLISH)) >= count, DEADLINE, f"{count} messages")
        time.sleep(1)
        assert len(connection.all(PUBLISH)) == count

    comes_to_rest_at(10)
    sent = connection.all(PUBLISH)
    assert len({one.identifier for one in sent}) == 10
    for one in sent[:4]:
        connection.send(acknowledgement(PUBACK, one.identifier))
    comes_to_rest_at(14)


@pytest.mark.seconds(6)
def test_what_was_not_acknowledged_is_sent_again_with_its_identifier(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PUBLISH}, connack=packets.connack())
    run_agent(peer.port, {"mqtt": {"clean-session": "no"}, **status(seldom(), 1, a="uptime")})
    connection = peer.accept()
    first = connection.expect(PUBLISH)
    peer.connack = packets.connack(session_present=True)
    connection.close()
    again = peer.accept().expect(PUBLISH)
    assert again.dup and (again.identifier, again.payload) == (first.identifier, first.payload)


@pytest.mark.seconds(6)
def test_without_a_session_it_is_sent_as_a_new_message(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PUBLISH})
    run_agent(peer.port, status(seldom(), 1, a="uptime"))
    connection = peer.accept()
    first = connection.expect(PUBLISH)
    connection.close()
    again = peer.accept().expect(PUBLISH)
    # [MQTT-3.3.1-1]: DUP belongs to a re-delivery within a session.
    assert not again.dup and again.payload == first.payload


def test_qos_2_is_finished_where_it_was_interrupted(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PUBLISH, PUBREL})
    run_agent(peer.port, {"mqtt": {"clean-session": "no"}, **status(seldom(), 2, a="uptime")})
    connection = peer.accept()
    first = connection.expect(PUBLISH)
    assert first.qos == 2
    connection.send(acknowledgement(PUBREC, first.identifier))
    connection.expect(PUBREL)
    peer.connack = packets.connack(session_present=True)
    connection.close()
    connection = peer.accept()
    release = connection.expect(PUBREL)
    assert release.identifier == first.identifier and not connection.all(PUBLISH)
    connection.send(acknowledgement(PUBCOMP, first.identifier))


def test_a_redelivered_command_runs_once(start_peer, run_agent, tmp_path):
    program = tmp_path / "count"
    program.write_text(f"#!/bin/sh\necho x >> {tmp_path / 'ran'}\n")
    program.chmod(0o755)
    peer = start_peer(connack=packets.connack(session_present=True))
    run_agent(peer.port, {"mqtt": {"clean-session": "no"}, "command count": {"run": program}})
    connection = peer.accept()
    connection.expect(SUBSCRIBE)
    connection.send(command("count", "one", qos=1, identifier=7))
    assert connection.expect(PUBACK).identifier == 7
    wait_written(tmp_path / "ran")
    # The server did not get the acknowledgement: it delivers again in the next connection.
    connection.close()
    connection = peer.accept()
    connection.expect(CONNECT)
    connection.send(command("count", "one", qos=1, identifier=7, dup=True))
    assert connection.expect(PUBACK).identifier == 7
    connection.send(command("count", "two", qos=1, identifier=7))
    assert connection.expect(PUBACK).identifier == 7
    wait_until(lambda: (tmp_path / "ran").read_text() == "x\nx\n", DEADLINE, "the second one runs")
    time.sleep(0.5)
    assert (tmp_path / "ran").read_text() == "x\nx\n"


def test_a_qos_2_command_that_is_delivered_again_runs_once(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PUBREC}, connack=packets.connack(session_present=True))
    agent = run_agent(peer.port, {"mqtt": {"clean-session": "no"}})
    connection = peer.accept()
    connection.expect(SUBSCRIBE)
    connection.send(command("ping", "one", qos=2, identifier=11))
    assert connection.expect(PUBREC).identifier == 11
    connection.send(command("ping", "one", qos=2, identifier=11, dup=True))
    assert connection.expect(PUBREC).identifier == 11
    connection.close()
    connection = peer.accept()
    connection.expect(CONNECT)
    connection.send(command("ping", "one", qos=2, identifier=11, dup=True))
    assert connection.expect(PUBREC).identifier == 11
    connection.send(acknowledgement(PUBREL, 11))
    assert connection.expect(PUBCOMP).identifier == 11
    connection.send(command("ping", "next", qos=2, identifier=11))
    connection.expect(PUBREC)
    agent.wait_log("info", "command", "finished", count=2)
    time.sleep(0.3)
    assert len(agent.find("info", "command", "finished")) == 2


@pytest.mark.seconds(6)
def test_pings_are_sent_when_it_is_quiet_and_their_answer_is_awaited(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PINGREQ})
    agent = run_agent(peer.port, {"mqtt": {"keep-alive": "2s"}})
    connection = peer.accept()
    connection.expect(SUBSCRIBE)
    quiet = connection.received[-1].moment
    ping = connection.expect(PINGREQ)
    connection.send(packet(PINGRESP, 0))
    second = connection.expect(PINGREQ)
    waits = [ping.moment - quiet, second.moment - ping.moment]
    # A busy machine may have made one of them longer, and the other one shorter.
    assert max(waits) > 1 and min(waits) < 2.6, waits
    line = agent.wait_log("warning", "mqtt", "fault")
    assert "PINGRESP" in line.fields["what"]
    assert connection.wait_ended()


@pytest.mark.core
def test_a_clean_end_waits_for_acknowledgements(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PUBLISH})
    agent = run_agent(peer.port, status(seldom(), 1, a="constant:1"))
    connection = peer.accept()
    sent = connection.expect(PUBLISH)
    agent.signal(15)
    agent.wait_log("info", "agent", "stopping", reason="SIGTERM")
    time.sleep(1)
    assert agent.is_running() and not connection.all(DISCONNECT)
    connection.send(acknowledgement(PUBACK, sent.identifier))
    connection.expect(DISCONNECT)
    assert connection.wait_ended() == "closed"
    assert agent.wait_end() == 0
    assert connection.received[-1].kind == DISCONNECT
    agent.wait_log("info", "agent", "stopped")


def test_a_clean_end_does_not_wait_for_ever(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PUBLISH})
    agent = run_agent(peer.port, status(seldom(), 1, a="constant:1"))
    connection = peer.accept()
    connection.expect(PUBLISH)
    begin = time.monotonic()
    agent.signal(2)
    assert agent.wait_end() == 0
    assert time.monotonic() - begin > 1
    agent.wait_log("info", "agent", "stopping", reason="SIGINT")
    # What was sent last arrives before the end of the connection, and perhaps behind that of the process.
    assert connection.wait_ended() == "closed"
    assert connection.received[-1].kind == DISCONNECT


@pytest.mark.parametrize("answers", [ALL - {PUBLISH}, ALL], ids=["owed", "answered"])
def test_the_end_of_its_time_turns_no_loop(start_peer, run_agent, tmp_path, answers):
    peer = start_peer(answers=answers)
    trace = tmp_path / "polls"
    agent = run_agent(peer.port, status(seldom(), 1, a="constant:1"), "--for", "1s",
                      prefix=("strace", "-qq", "-e", "trace=poll,ppoll", "-o", str(trace)))
    peer.accept().expect(PUBLISH)
    assert agent.wait_end() == 0
    agent.wait_log("info", "agent", "stopping", reason="duration")
    agent.wait_log("info", "agent", "stopped", unacknowledged="0" if PUBLISH in answers else "1")
    polls = trace.read_text().splitlines()
    # Each for something: the connection, two answers, the storage, the ends of waits. It was 70,000 of them.
    assert 2 < len(polls) < 40, polls[:100]


def test_a_clean_end_without_a_connection_is_at_once(start_peer, run_agent):
    peer = start_peer(answers=set())
    agent = run_agent(peer.port, status("100ms", 1, a="constant:1"))
    peer.accept().expect(CONNECT)
    begin = time.monotonic()
    assert agent.stop() == 0
    # Less than it would wait for acknowledgements.
    assert time.monotonic() - begin < 5


@pytest.mark.seconds(6)
def test_another_client_with_our_identity_is_noticed(start_peer, run_agent):
    peer = start_peer()
    agent = run_agent(peer.port)
    for _ in range(3):
        connection = peer.accept()
        connection.expect(SUBSCRIBE)
        connection.close()
    agent.wait_log("warning", "agent", "duplicate-identity")
    lost = agent.find("warning", "mqtt", "disconnected")[2]
    assert seconds(lost.fields["retry-in"]) >= 20


CONNECTED = packets.connack()
# What a peer sends behind (or instead of) CONNACK, and the clause of MQTT 3.1.1 that the log names.
MALFORMED = {
    "reserved-type-0": (CONNECTED + packet(0, 0), "MQTT-2.2.1"),
    "reserved-type-15": (CONNECTED + packet(15, 0), "MQTT-2.2.1"),
    "length-of-five-bytes": (CONNECTED + b"\x30\xff\xff\xff\xff\x01", "MQTT-2.2.3"),
    "flags-of-puback": (CONNECTED + b"\x41\x02\x00\x01", "MQTT-2.2.2-2"),
    "flags-of-pubrel": (CONNECTED + b"\x60\x02\x00\x01", "MQTT-2.2.2-2"),
    "flags-of-pingresp": (CONNECTED + b"\xd1\x00", "MQTT-2.2.2-2"),
    "length-of-pingresp": (CONNECTED + b"\xd0\x01\x00", "MQTT-2.2.3"),
    "length-of-puback": (CONNECTED + b"\x40\x03\x00\x01\x00", "MQTT-2.2.3"),
    "qos-3": (CONNECTED + packet(PUBLISH, 6, packets.text("iot-2/cmd/a/fmt/json") + b"\0\1"), "MQTT-3.3.1-4"),
    "dup-at-qos-0": (CONNECTED + packet(PUBLISH, 8, packets.text("iot-2/cmd/a/fmt/json")), "MQTT-3.3.1-2"),
    "identifier-0": (CONNECTED + publish("iot-2/cmd/a/fmt/json", "", 1, 0), "MQTT-2.3.1-1"),
    "topic-with-wildcard": (CONNECTED + publish("iot-2/cmd/+/fmt/json", ""), "MQTT-3.3.2-2"),
    "topic-of-no-utf-8": (CONNECTED + publish(b"iot-2/\xff", ""), "MQTT-1.5.3-1"),
    "topic-with-surrogate": (CONNECTED + publish(b"iot-2/\xed\xa0\x80", ""), "MQTT-1.5.3-1"),
    "topic-with-nul": (CONNECTED + publish(b"iot-2/\0", ""), "MQTT-1.5.3-2"),
    "topic-longer-than-its-packet": (CONNECTED + b"\x30\x04\x00\x09ab", "MQTT-2.2.3"),
    "publish-without-topic": (CONNECTED + b"\x30\x01\x00", "MQTT-2.2.3"),
    "server-sends-connect": (CONNECTED + packet(CONNECT, 0, b"\0\4MQTT\4\2\0\0\0\1a"), "MQTT-4.8.0-1"),
    "server-sends-subscribe": (CONNECTED + packet(SUBSCRIBE, 2, b"\0\1\0\1a\0"), "MQTT-4.8.0-1"),
    "server-sends-disconnect": (CONNECTED + packet(DISCONNECT, 0), "MQTT-4.8.0-1"),
    "second-connack": (CONNECTED + CONNECTED, "MQTT-4.8.0-1"),
    "connack-with-flags": (packet(CONNACK, 0, b"\2\0"), "MQTT-3.2.2"),
    "connack-too-long": (packet(CONNACK, 0, b"\0\0\0"), "MQTT-2.2.3"),
    "session-present-when-refused": (packet(CONNACK, 0, b"\1\5"), "MQTT-3.2.2-4"),
    "session-present-when-clean": (packet(CONNACK, 0, b"\1\0"), "MQTT-3.2.2-1"),
    "publish-before-connack": (publish("iot-2/cmd/ping/fmt/json", ""), "MQTT-3.2.0-1"),
    "suback-before-connack": (suback(1, 0), "MQTT-3.2.0-1"),
    "suback-with-reserved-code": (CONNECTED + suback(1, 3), "MQTT-3.9.3-2"),
    "suback-without-code": (CONNECTED + packet(SUBACK, 0, b"\0\1"), "MQTT-3.8.4-5"),
    "pingresp-too-large": (CONNECTED + b"\xd0\xff\xff\xff\x7f" + b"x" * 1000, "MQTT-2.2.3"),
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "MQTT-3.2.0-1"),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("piece", [None, 1], ids=["at-once", "in-pieces"])
def test_malformed_bytes_end_the_connection_with_the_clause(start_peer, run_agent, name, piece):
    data, clause = MALFORMED[name]
    peer = start_peer(answers=ALL - {CONNECT, SUBSCRIBE})
    agent = run_agent(peer.port)
    connection = peer.accept()
    connection.expect(CONNECT)
    try:
        connection.send(data, piece=piece)
    except OSError:
        assert connection.wait_ended(), "closed while we were still sending"
    line = agent.wait_log("error", "mqtt", "fault")
    assert line.fields["clause"] == clause, line.text
    assert line.fields["what"] and seconds(line.fields["retry-in"]) >= 1
    assert connection.wait_ended()
    assert agent.is_running()


@pytest.mark.parametrize("data", [
    acknowledgement(PUBACK, 999), acknowledgement(PUBREC, 999), acknowledgement(PUBCOMP, 999), packet(PINGRESP, 0),
    publish("iot-2/unknown", "x"), publish("iot-2/cmd/ping/fmt/json/more", "x"), publish("iot-2/cmd//fmt/json", "x"),
    publish("x" * 60_000, "y"), suback(999, 0),
], ids=["puback", "pubrec", "pubcomp", "pingresp", "topic", "longer", "empty-level", "long-topic", "suback"])
def test_what_is_unexpected_but_well_formed_does_no_harm(start_peer, run_agent, data):
    peer = start_peer()
    agent = run_agent(peer.port)
    connection = peer.accept()
    connection.expect(SUBSCRIBE)

    def outcomes():
        return [one for one in connection.all(PUBLISH) if b'"ping"' in one.payload]

    connection.send(data + command("ping", "", 1, 5))
    wait_until(lambda: connection.ended or outcomes(), DEADLINE, "an outcome, or the end of the connection")
    if connection.ended:
        # Refusing the peer is a way to deal with it as well, as long as the log says why.
        agent.wait_log("error", "mqtt", "fault")
        connection = peer.accept()
        connection.expect(SUBSCRIBE)
        connection.send(command("ping", "", 1, 5))
        wait_until(outcomes, DEADLINE, "an outcome")
    assert agent.is_running()


def test_a_flood_of_commands_does_not_stop_the_events(start_peer, run_agent):
    peer = start_peer()
    agent = run_agent(peer.port, status("100ms", 0, a="constant:1"))
    connection = peer.accept()
    connection.expect(SUBSCRIBE)
    connection.send(b"".join(command("ping", "x" * 200) for _ in range(2000)) + command("last", ""))
    # Outcomes that the queue has no room for are dropped, the oldest first: never the last one.
    connection.expect(PUBLISH, where=lambda one: b'"last"' in one.payload)
    seen = len(connection.all(PUBLISH))
    wait_until(lambda: sum("/status/" in one.topic for one in connection.all(PUBLISH)[seen:]) >= 5, DEADLINE,
               "events go on")
    assert agent.is_running() and not agent.find("error", "mqtt", "fault")


@pytest.mark.seconds(6)
def test_a_peer_that_never_reads_does_not_block_the_agent(start_peer, run_agent):
    peer = start_peer(answers=ALL - {PUBLISH})
    agent = run_agent(peer.port, status("100ms", 1, a="constant:1"))
    connection = peer.accept()
    connection.expect(SUBSCRIBE)
    time.sleep(2)
    assert agent.stop() == 0
