"""Servers that die and networks that fail: nothing acknowledged is lost, and nobody is hammered."""

import time

import pytest

from harness.agent import seconds
from harness.configuration import status
from harness.waiting import wait_until
from test_events import moment_of

INTERVAL = 0.5


def sequence(**mqtt):
    """An event that is due twice a second: gaps show in its time stamps."""
    return {"mqtt": mqtt, **status("500ms", 1, up="uptime")}


def gaps(platform, end):
    """Where events are missing between the first one and wall time `end`."""
    times = sorted({moment_of(event) for event in platform.named("status")})
    assert times and times[-1] > end - 2 * INTERVAL, "the newest events have not come"
    return [(earlier, later) for earlier, later in zip(times, times[1:]) if later - earlier > 1.5 * INTERVAL]


@pytest.mark.core
def test_a_broker_that_is_killed_and_comes_back(broker, platform, run_agent):
    agent = run_agent(broker.port, sequence())
    platform.next_event("status")
    broker.kill()
    lost = agent.wait_log("warning", "mqtt", "disconnected")
    assert lost.fields["reason"] in ("closed-by-peer", "connection-lost")
    assert 1 <= seconds(lost.fields["retry-in"]) <= 2
    agent.wait_log("warning", "link", "failed", reason="connection-refused")
    broker.start()
    agent.wait_connected(2, timeout=40)
    platform.forget()
    platform.next_event("status", timeout=20)
    platform.command("ping")
    assert platform.outcome("ping")["outcome"] == "ok", "the subscription was restored"


def test_an_agent_that_starts_before_its_broker(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    proxy.shut()
    agent = run_agent(proxy.port, sequence())
    agent.wait_log("warning", "link", "failed", reason="connection-refused")
    time.sleep(1.5)
    proxy.open()
    agent.wait_connected(timeout=20)
    # What was due before the first connection is not lost either.
    first = platform.next_event("status", timeout=20)
    assert moment_of(first) < time.time() - 1
    wait_until(lambda: moment_of(platform.named("status")[-1]) > time.time() - 1, 10, "the queue drains")
    assert not gaps(platform, time.time())


def test_waits_between_attempts_grow_and_differ(run_agent, start_proxy, broker):
    proxy = start_proxy(broker.port)
    proxy.shut()
    agents = [run_agent(proxy.port, name) for name in ({}, {}, {})]
    for agent in agents:
        agent.wait_log("warning", "link", "failed", count=3, timeout=30)
    waits = [[seconds(line.fields["retry-in"]) for line in agent.find("warning", "link", "failed")[:3]]
             for agent in agents]
    assert all(1 <= one[0] <= 2 and 1 <= one[1] <= 6 and 1 <= one[2] <= 18 for one in waits), waits
    assert len({tuple(one) for one in waits}) == 3, "no jitter"
    for agent, one in zip(agents, waits):
        attempts = [line.moment for line in agent.find("info", "link", "connecting")]
        for index, wait in enumerate(one[:2]):
            assert abs(attempts[index + 1] - attempts[index] - wait) < 0.3, (attempts, one)


@pytest.mark.core
def test_a_network_that_forgets_us_is_noticed(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, {"mqtt": {"keep-alive": "3s"}, **status("60s", 0, a="constant:1")})
    agent.wait_connected()
    time.sleep(0.5)
    frozen = time.monotonic()
    proxy.freeze()
    # A ping after three seconds of silence, and as long again for its answer.
    fault = agent.wait_log("warning", "mqtt", "fault", timeout=12)
    assert "PINGRESP" in fault.fields["what"] or "answer" in fault.fields["what"], fault.text
    assert 2.5 < fault.moment - frozen < 8 * agent.program.patience
    agent.wait_connected(2)
    platform.command("ping")
    assert platform.outcome("ping")["outcome"] == "ok"


def test_a_dead_link_is_noticed_while_events_are_sent(broker, platform, run_agent, start_proxy):
    # Nothing comes back, but there is always something to send: sending alone must not keep the link alive.
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, {"mqtt": {"keep-alive": "3s"}, **status("500ms", 0, a="constant:1")})
    agent.wait_connected()
    platform.next_event("status")
    proxy.freeze()
    agent.wait_log("warning", "mqtt", "fault", timeout=12)
    agent.wait_connected(2)


@pytest.mark.core
def test_one_byte_at_a_time(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    proxy.piece_bytes = 1
    agent = run_agent(proxy.port, sequence())
    platform.next_event("status")
    platform.command("ping", "x" * 1000)
    assert platform.outcome("ping")["outcome"] == "ok"
    assert not agent.find("error", "mqtt", "fault")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_no_event_is_lost_over_many_short_outages(broker, platform, run_agent, start_proxy, reset):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, sequence(**{"queue-size": "256KB"}))
    agent.wait_connected()
    # Up for three seconds, down for one, whatever the agent is just doing.
    end = time.monotonic() + 32
    outages = 0
    while time.monotonic() < end:
        time.sleep(3)
        proxy.cut(reset=reset)
        proxy.shut()
        outages += 1
        time.sleep(1)
        proxy.open()
    assert outages >= 8
    connected = len(agent.find("info", "mqtt", "connected"))
    assert connected >= 3
    ended = time.time()

    def caught_up():
        events = platform.named("status")
        return moment_of(events[-1]) > ended + 1

    # So many short connections look like another client with our name: waits of 20 s and more are right.
    wait_until(caught_up, 100, "the queue is drained after the last outage")
    assert not gaps(platform, ended)
    assert not agent.find("warning", "queue", "dropping")


def test_a_full_queue_drops_the_oldest_and_says_so_once(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, {"mqtt": {"queue-size": "2KB"}, **status("100ms", 1, up="uptime")})
    platform.next_event("status")
    proxy.shut()
    agent.wait_log("warning", "queue", "dropping", policy="oldest", timeout=20)
    time.sleep(1)
    proxy.open()
    drained = agent.wait_log("info", "queue", "drained", timeout=60)
    assert int(drained.fields["dropped"]) > 0
    assert len(agent.find("warning", "queue", "dropping")) == 1
    time.sleep(0.5)
    times = sorted({moment_of(event) for event in platform.named("status")})
    missing = sum(round((later - earlier) / 0.1) - 1 for earlier, later in zip(times, times[1:]))
    assert abs(missing - int(drained.fields["dropped"])) <= 2, "what is missing is what was counted"


def test_qos_0_events_are_not_kept(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, status("200ms", 0, up="uptime"))
    platform.next_event("status")
    proxy.shut()
    agent.wait_log("warning", "link", "failed")
    proxy.open()
    back = agent.wait_connected(2, timeout=30)
    platform.forget()
    fresh = platform.next_event("status")
    assert fresh.moment >= back.moment - 0.5 and time.time() - moment_of(fresh) < 1


def test_reported_fault_of_a_link_is_one_line_each(broker, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, sequence())
    agent.wait_connected()
    proxy.shut()
    agent.wait_log("warning", "link", "failed", count=2, timeout=30)
    # One line per change of state: an attempt is announced, and fails; nothing else is said.
    words = [line.split()[1:3] for line in agent.log.splitlines()]
    after = words[words.index(["mqtt", "disconnected"]) + 1:]
    assert all(pair in (["link", "connecting"], ["link", "failed"]) for pair in after), after
