"""Servers that die and networks that fail: nothing acknowledged is lost, and nobody is hammered."""

import time

import pytest

from harness.agent import seconds
from harness.configuration import seldom, status
from harness.waiting import DEADLINE, wait_until
from test_events import moment_of

pytestmark = pytest.mark.seconds(6)


def sequence(**mqtt):
    """An event that is due twice a second, and tells when."""
    return {"mqtt": mqtt, **status("500ms", 1, up="uptime")}


def missing(platform, interval=50):
    """Numbers of the intervals, in hundredths of a second since the machine's start, whose event did not come, between
    the first and the last that did. An event is due when an interval begins; a busy machine may make it late."""
    numbers = {round(event.data["up"] * 100) // interval for event in platform.named("status")}
    return sorted(set(range(min(numbers), max(numbers))) - numbers)


def wait_event_of(platform, moment):
    """Waits for an event that was due after a moment."""
    wait_until(lambda: (events := platform.named("status")) and moment_of(events[-1]) > moment, 100,
               "the queue is drained")


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
    agent.wait_connected(2, timeout=2 * DEADLINE)
    platform.forget()
    platform.next_event("status")
    platform.command("ping")
    assert platform.outcome("ping")["outcome"] == "ok", "the subscription was restored"


def test_the_first_connection_is_waited_for_and_the_log_says_so(broker, run_agent):
    agent = run_agent(broker.port, sequence(**{"connect-delay-max": "3s"}))
    waiting = agent.wait_log("info", "link", "waiting", reason="connect-delay-max")
    connecting = agent.wait_log("info", "link", "connecting")
    wait = seconds(waiting.fields["connect-in"])
    assert 0 <= wait <= 3 and connecting.moment - waiting.moment >= wait - 0.1, (wait, waiting, connecting)
    at_once = run_agent(broker.port, {**sequence(), "device": {"id": "e7-0043"}})
    at_once.wait_connected()
    assert not at_once.find("info", "link", "waiting")


def test_an_agent_that_starts_before_its_broker(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    proxy.shut()
    agent = run_agent(proxy.port, sequence())
    agent.wait_log("warning", "link", "failed", reason="connection-refused")
    time.sleep(1.5)
    opened = time.time()
    proxy.open()
    agent.wait_connected()
    # What was due before the first connection is not lost either.
    assert moment_of(platform.next_event("status")) < opened - 1
    wait_event_of(platform, opened)
    assert not missing(platform)


def test_waits_between_attempts_grow_and_differ(run_agent, start_proxy, broker):
    proxy = start_proxy(broker.port)
    proxy.shut()
    agents = [run_agent(proxy.port, name) for name in ({}, {}, {})]
    for agent in agents:
        agent.wait_log("warning", "link", "failed", count=3)
    waits = [[seconds(line.fields["retry-in"]) for line in agent.find("warning", "link", "failed")[:3]]
             for agent in agents]
    assert all(1 <= one[0] <= 2 and 1 <= one[1] <= 6 and 1 <= one[2] <= 18 for one in waits), waits
    assert len({tuple(one) for one in waits}) == 3, "no jitter"
    errors = []
    for agent, one in zip(agents, waits):
        attempts = [line.moment for line in agent.find("info", "link", "connecting")]
        errors += [abs(attempts[index + 1] - attempts[index] - wait) for index, wait in enumerate(one[:2])]
    # What was said is what was done; a busy machine may keep some of the agents, or us, from it.
    assert sorted(errors)[len(errors) // 2] < 0.3, (errors, waits)


def test_a_network_that_forgets_us_is_noticed(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, {"mqtt": {"keep-alive": "3s"}, **status(seldom(), 0, a="constant:1")})
    broker.wait_subscribed()
    frozen = time.monotonic()
    proxy.freeze()
    # A ping after three seconds of silence, and as long again for its answer.
    fault = agent.wait_log("warning", "mqtt", "fault")
    assert "PINGRESP" in fault.fields["what"] or "answer" in fault.fields["what"], fault.text
    assert fault.moment - frozen > 2.5
    broker.wait_subscribed(count=2)
    platform.command("ping")
    assert platform.outcome("ping")["outcome"] == "ok"


def test_a_dead_link_is_noticed_while_events_are_sent(broker, platform, run_agent, start_proxy):
    # Nothing comes back, but there is always something to send: sending alone must not keep the link alive.
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, {"mqtt": {"keep-alive": "3s"}, **status("500ms", 0, a="constant:1")})
    agent.wait_connected()
    platform.next_event("status")
    proxy.freeze()
    agent.wait_log("warning", "mqtt", "fault")
    agent.wait_connected(2)


def test_one_byte_at_a_time(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    proxy.piece_bytes = 1
    agent = run_agent(proxy.port, sequence())
    platform.next_event("status")
    platform.command("ping", "x" * 1000)
    assert platform.outcome("ping")["outcome"] == "ok"
    assert not agent.find("error", "mqtt", "fault")


@pytest.mark.long
@pytest.mark.seconds(45)
def test_no_event_is_lost_over_many_short_outages(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, sequence(**{"queue-size": "256KB"}))
    agent.wait_connected()
    # Up for three seconds, down for one, whatever the agent is just doing. Of more outages it would sleep through most:
    # its waits grow.
    for number in range(6):
        time.sleep(3)
        proxy.cut(reset=number % 2 == 1)
        proxy.shut()
        time.sleep(1)
        proxy.open()
    # So many short connections look like another client with our name: waits of 20 s and more are right.
    wait_event_of(platform, time.time() + 1)
    assert len(agent.find("info", "mqtt", "connected")) >= 3
    assert not missing(platform)
    assert not agent.find("warning", "queue", "dropping")


def test_a_full_queue_drops_the_oldest_and_says_so_once(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, {"mqtt": {"queue-size": "2KB"}, **status("200ms", 1, up="uptime")})
    platform.next_event("status")
    proxy.shut()
    agent.wait_log("warning", "queue", "dropping", policy="oldest")
    time.sleep(2)
    proxy.open()
    drained = agent.wait_log("info", "queue", "drained", timeout=2 * DEADLINE)
    assert int(drained.fields["dropped"]) > 0
    assert len(agent.find("warning", "queue", "dropping")) == 1
    wait_event_of(platform, time.time())
    assert abs(len(missing(platform, 20)) - int(drained.fields["dropped"])) <= 2, "what is missing is what was counted"


def test_qos_0_events_are_not_kept(broker, platform, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, status("200ms", 0, up="uptime"))
    platform.next_event("status")
    proxy.shut()
    agent.wait_log("warning", "link", "failed")
    lost = time.time()
    time.sleep(1)
    opened = time.time()
    proxy.open()
    wait_event_of(platform, opened)
    assert not [moment for moment in map(moment_of, platform.named("status")) if lost < moment < opened]


def test_reported_fault_of_a_link_is_one_line_each(broker, run_agent, start_proxy):
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, sequence())
    agent.wait_connected()
    proxy.shut()
    agent.wait_log("warning", "link", "failed", count=2)
    # One line per change of state: an attempt is announced, and fails; nothing else is said.
    words = [line.split()[1:3] for line in agent.log.splitlines()]
    after = words[words.index(["mqtt", "disconnected"]) + 1:]
    assert all(pair in (["link", "connecting"], ["link", "failed"]) for pair in after), after
