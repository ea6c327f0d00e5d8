"""SIGHUP: a right configuration is taken over, a wrong one changes nothing."""

import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

from harness import packets
from harness.configuration import CLIENT, configuration, seldom, status
from harness.peer import ScriptedBroker
from harness.waiting import DEADLINE, end_process, wait_until


@pytest.fixture
def change(run_agent):
    """Writes a new configuration and asks the agent to read it."""
    def write(agent, text):
        agent.configuration.write_text(text)
        agent.reload()
    return write


@pytest.mark.core
def test_the_connection_is_kept_where_identity_and_server_are_the_same(broker, platform, run_agent, change):
    agent = run_agent(broker.port, status(seldom(), 1, a="constant:1"))
    platform.next_event("status")
    change(agent, configuration(broker.port, status("200ms", 1, a="constant:2", b="constant:3")))
    agent.wait_log("info", "agent", "reloaded", connection="kept")
    platform.next_event("status", where=lambda event: event.data == {"a": 2, "b": 3})
    wait_until(lambda: len(platform.named("status")) >= 5, DEADLINE, "the new interval")
    change(agent, configuration(broker.port, {
        "event other": {"interval": "200ms", "qos": 0}, "sensor c": {"event": "other", "read": "constant:4"}}))
    assert platform.next_event("other").data == {"c": 4}
    count = len(platform.named("status"))
    time.sleep(0.6)
    assert len(platform.named("status")) == count, "an event that is gone is not sent any more"
    assert len(agent.find("info", "mqtt", "connected")) == 1
    assert broker.log.count(f"as {CLIENT} ") == 1


def test_what_did_not_change_is_not_published_for_a_reload(broker, platform, run_agent, change):
    kept = status(seldom(), 1, a="constant:1")
    agent = run_agent(broker.port, kept)
    platform.next_event("status")
    for number in range(1, 6):
        # The others change, and their values are those of the new configuration.
        other = {f"event n{number}": {"interval": seldom(), "qos": 1},
                 "sensor b": {"event": f"n{number}", "read": f"constant:{number}"}}
        change(agent, configuration(broker.port, {**kept, **other}))
        assert platform.next_event(f"n{number}").data == {"b": number}
    assert len(platform.named("status")) == 1
    platform.command("publish", {"d": {"event": "status"}})
    platform.outcome("publish")
    wait_until(lambda: len(platform.named("status")) == 2, DEADLINE, "the event asked for")


@pytest.mark.core
def test_a_wrong_configuration_changes_nothing(broker, platform, run_agent, change):
    agent = run_agent(broker.port, status("200ms", 1, a="constant:1"))
    platform.next_event("status")
    change(agent, configuration(broker.port, {"mqtt": {"keep-alife": "1s"}, **status("x", 1, a="constant:2")}))
    agent.wait_log("error", "agent", "reload-refused")
    wait_until(lambda: "keep-alive" in agent.log and re.search(r"mote\.conf:\d+:\d+", agent.log), DEADLINE,
               "the reasons")
    platform.forget()
    for _ in range(3):
        assert platform.next_event("status").data == {"a": 1}
    assert len(agent.find("info", "mqtt", "connected")) == 1
    # A file that is gone is as wrong as one with faults.
    agent.configuration.unlink()
    agent.reload()
    agent.wait_log("error", "agent", "reload-refused", count=2)
    assert platform.next_event("status").data == {"a": 1}
    agent.configuration.write_text(configuration(broker.port, status("200ms", 1, a="constant:5")))
    agent.reload()
    platform.next_event("status", where=lambda event: event.data == {"a": 5})


def test_another_identity_makes_a_new_connection(broker, platform, run_agent, change):
    agent = run_agent(broker.port, status("200ms", 1, a="constant:1"))
    platform.next_event("status")
    change(agent, configuration(broker.port, {"device": {"id": "e7-0043"}, **status("200ms", 1, a="constant:2")}))
    agent.wait_log("info", "agent", "reloaded", connection="new")
    agent.wait_connected(2)
    platform.next_event("status", where=lambda event: event.data == {"a": 2})
    wait_until(lambda: f"{CLIENT[:-1]}3" in broker.log, DEADLINE, "the new identity at the broker")


def test_another_server_makes_a_new_connection(broker, start_broker, join_platform, run_agent, change):
    other = start_broker()
    agent = run_agent(broker.port, status("200ms", 1, a="constant:1"))
    agent.wait_connected()
    change(agent, configuration(other.port, status("200ms", 1, a="constant:1")))
    agent.wait_log("info", "agent", "reloaded", connection="new")
    join_platform(other).next_event("status")


def test_signals_between_two_connections_are_kept(broker, run_agent, change):
    agent = run_agent(broker.port, status("200ms", 1, a="constant:1"))
    agent.wait_connected()
    for number in range(3, 8):
        device = {"device": {"id": f"e7-004{number}"}}
        change(agent, configuration(broker.port, {**device, **status("200ms", 1, a="constant:1")}))
        end = time.monotonic() + 0.5
        # Each identity has its connection, so that the next change comes between two of them.
        while time.monotonic() < end or len(agent.find("info", "mqtt", "connected")) < number - 1:
            agent.signal(signal.SIGHUP)
    assert agent.stop() == 0


def test_the_newest_of_several_configurations_wins(broker, platform, run_agent, change):
    agent = run_agent(broker.port, status("200ms", 1, a="constant:1"))
    agent.wait_connected()
    for number in (3, 4, 2):
        device = {"device": {"id": f"e7-004{number}"}}
        change(agent, configuration(broker.port, {**device, **status("200ms", 1, a=f"constant:{number}")}))
        time.sleep(0.02)
    agent.wait_log("info", "agent", "reloaded")
    platform.next_event("status", where=lambda event: event.data == {"a": 2})
    assert agent.find("info", "agent", "starting")[-1].fields["client-id"] == CLIENT
    platform.forget()
    for _ in range(3):
        assert platform.next_event("status").data == {"a": 2}


def test_an_end_cannot_be_undone_by_a_reload(start_peer, run_agent, change):
    peer = start_peer(answers=ScriptedBroker.ALL - {packets.PUBLISH})
    agent = run_agent(peer.port, status(seldom(), 1, a="constant:1"))
    peer.accept().expect(packets.PUBLISH)
    agent.signal(signal.SIGTERM)
    agent.wait_log("info", "agent", "stopping")
    change(agent, configuration(peer.port, {"device": {"id": "another"}}))
    assert agent.wait_end() == 0


def test_commands_come_and_go(broker, platform, run_agent, change, tmp_path):
    program = tmp_path / "hello"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    agent = run_agent(broker.port, status(seldom(), 1, a="constant:1"))
    platform.next_event("status")
    platform.command("hello")
    assert platform.outcome("hello")["outcome"] == "unknown"
    change(agent, configuration(broker.port, {"command hello": {"run": program}}))
    agent.wait_log("info", "agent", "reloaded")
    platform.command("hello")
    assert platform.outcome("hello") == {"command": "hello", "outcome": "ok", "status": 0, "output": "hello\n"}


def test_many_reloads_cost_no_memory(broker, platform, run_agent, change):
    agent = run_agent(broker.port, status("200ms", 1, a="loadavg:1", b="uptime"))
    platform.next_event("status")

    def resident():
        with open(f"/proc/{agent.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])

    def descriptors():
        return len(os.listdir(f"/proc/{agent.pid}/fd"))

    sizes = []
    for number in range(1, 41):
        change(agent, configuration(broker.port, status("200ms", 1, a="loadavg:1", b=f"constant:{number}")))
        agent.wait_log("info", "agent", "reloaded", count=number)
        sizes.append((resident(), descriptors()))
    # Where the agent had time to rest, it had given memory back.
    assert sizes[-1][0] <= max(kib for kib, _ in sizes[:5]) + 64, sizes
    # One more is open for the moment in which a source is read.
    fewest = min(count for _, count in sizes[:5])
    wait_until(lambda: descriptors() <= fewest, DEADLINE, f"the {fewest} descriptors of the beginning: {sizes}")
    platform.next_event("status", where=lambda event: event.data["b"] == 40)
    assert len(agent.find("info", "mqtt", "connected")) == 1


def test_signals_in_quick_succession(broker, platform, run_agent):
    agent = run_agent(broker.port, status("200ms", 1, a="constant:1"))
    platform.next_event("status")
    for _ in range(50):
        agent.reload()
    platform.forget()
    platform.next_event("status")
    assert agent.stop() == 0


def fill(pipe):
    """Fills a pipe that nobody reads."""
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)
    os.set_blocking(pipe, True)


def test_a_reader_that_does_not_read_stops_no_agent(broker, platform, program, write_configuration):
    reading, writing = os.pipe()
    path = write_configuration(broker.port, status("200ms", 1, a="constant:1"))
    process = subprocess.Popen([*program.command, "run", "--config", path], env={}, stdin=subprocess.DEVNULL,
                               stderr=writing)
    try:
        platform.next_event("status")
        fill(writing)
        # More than a pipe holds, of diagnostics and of lines about refusals.
        path.write_text(configuration(broker.port, {"mqtt": {f"no-such-key-{number}": "1" for number in range(60)}}))
        for _ in range(40):
            process.send_signal(signal.SIGHUP)
            platform.forget()
            platform.next_event("status")
        path.write_text(configuration(broker.port, status("200ms", 1, a="constant:2")))
        process.send_signal(signal.SIGHUP)
        platform.next_event("status", where=lambda event: event.data == {"a": 2})
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    finally:
        end_process(process)
        os.close(reading)
        os.close(writing)


def test_a_reader_that_does_not_read_holds_up_no_last_words(broker, platform, program, write_configuration):
    reading, writing = os.pipe()
    path = write_configuration(broker.port, status("200ms", 1, a="constant:1"))
    process = subprocess.Popen([*program.command, "run", "--config", path], env={}, stdin=subprocess.DEVNULL,
                               stderr=writing)
    try:
        platform.next_event("status")
        fill(writing)
        process.send_signal(signal.SIGILL)
        assert process.wait(DEADLINE) == -signal.SIGILL
    finally:
        end_process(process)
        os.close(reading)
        os.close(writing)
