"""RabbitMQ in earnest: it answers QoS 2 with PUBACK, and numbers anew what it delivers again."""

import pytest

from harness.broker import Platform
from harness.configuration import status
from harness.proxy import Proxy
from harness.rabbit import TOKEN, RabbitMQ
from harness.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory):
    """One for all tests, since its start takes seconds: each test has a device of its own."""
    broker = RabbitMQ(tmp_path_factory.mktemp("rabbitmq") / "broker")
    yield broker
    broker.close()


@pytest.fixture
def platform(rabbit, closing):
    application = Platform(rabbit.port)
    closing.append(application)
    return application


@pytest.fixture
def count(tmp_path):
    """A program that notes its input, and the file in which it does."""
    program, notes = tmp_path / "count", tmp_path / "notes"
    program.write_text(f"#!/bin/sh\necho $(cat) >> {notes}\n")
    program.chmod(0o755)
    notes.touch()
    return program, notes


def device(name):
    return {"id": name, "auth-token": TOKEN}


def wait_listening(platform):
    """Waits until an agent gets commands: RabbitMQ does not say when it has subscribed."""
    def answers():
        platform.command("ping")
        try:
            return platform.outcome("ping", timeout=1)
        except AssertionError:
            return None
    wait_until(answers, DEADLINE, "the agent gets commands")


@pytest.mark.seconds(15)
def test_qos_2_falls_to_1(rabbit, platform, run_agent):
    agent = run_agent(rabbit.port, {"device": device("lowered"), **status("200ms", 2, a="constant:1", t="uptime")})
    for _ in range(8):
        assert platform.next_event("status").qos == 1
    agent.wait_log("warning", "mqtt", "qos-lowered", to="1")
    assert agent.stop() == 0
    agent.wait_log("info", "agent", "stopped", unacknowledged="0")
    assert len(agent.find("warning", "mqtt", "qos-lowered")) == len(agent.find("info", "mqtt", "connected")) == 1
    assert not agent.find("error", "mqtt", "fault")
    # None of them came twice.
    payloads = [event.payload for event in platform.named("status")]
    assert len(payloads) == len(set(payloads))


class DeafProxy(Proxy):
    """Lets nothing through any more behind the message that has `word` in it, which still gets to the agent."""

    word = None

    def downward(self, chunk):
        if self.word and self.word in chunk:
            self.freeze()

    def end(self):
        """Ends the connections there are, which both sides notice."""
        self.word = None
        for pair in self.pairs:
            pair.cut()
        self.pairs = []


@pytest.mark.seconds(10)
def test_a_command_that_is_delivered_again_with_a_new_identifier_runs_once(
        rabbit, platform, run_agent, count, closing):
    program, notes = count
    proxy = DeafProxy(rabbit.port)
    closing.append(proxy)
    agent = run_agent(proxy.port, {
        "device": device("again"), "mqtt": {"clean-session": "no"}, **status("60s", 1, a="constant:1"),
        "command count": {"run": program}})
    wait_listening(platform)
    # Its acknowledgement, and all behind it, does not reach the server.
    proxy.word = b"iot-2/cmd/count"
    platform.command("count", "one")
    wait_until(lambda: notes.read_text() == "one\n", DEADLINE, "the program runs")
    proxy.end()
    agent.wait_log("warning", "command", "redelivered", command="count")
    agent.wait_log("info", "mqtt", "connected", session="present")
    assert sorted(platform.outcome("count")["outcome"] for _ in range(2)) == ["ok", "redelivered"]
    # An equal one that is new is carried out.
    platform.command("count", "one")
    assert platform.outcome("count")["outcome"] == "ok"
    assert notes.read_text() == "one\none\n"


@pytest.mark.seconds(10)
def test_what_it_kept_for_the_agent_runs_in_order(rabbit, platform, run_agent, count):
    program, notes = count
    sections = {"device": device("kept"), "mqtt": {"clean-session": "no"}, **status("60s", 1, a="constant:1"),
                "command count": {"run": program}}
    agent = run_agent(rabbit.port, sections)
    wait_listening(platform)
    assert agent.stop() == 0
    platform.forget()
    # More than it delivers unacknowledged, and more than can run at once.
    numbers = [str(number) for number in range(14)]
    for number in numbers:
        platform.command("count", number)
    again = run_agent(rabbit.port, sections)
    again.wait_log("info", "mqtt", "connected", session="present")
    assert [platform.outcome("count")["outcome"] for _ in numbers] == ["ok"] * len(numbers)
    assert sorted(notes.read_text().split(), key=int) == numbers
