"""Messages that a server does not take: given up once it is proved, and never for a bad network."""

import random

import pytest

from harness.configuration import seldom, status
from harness.waiting import DEADLINE, wait_until

pytestmark = [pytest.mark.native, pytest.mark.long, pytest.mark.seconds(140)]
# Waits between connections are random and grow, and are 20 seconds at least behind three short ones in a row.
PATIENCE = 10 * DEADLINE


def large_event(folder, name, qos=1):
    """An event of some 1,700 bytes that comes once."""
    (folder / "text").write_text("x" * 240)
    texts = {f"sensor {name}-{number}": {"event": name, "read": f"file:{folder / 'text'}", "type": "text"}
             for number in range(7)}
    return {f"event {name}": {"interval": seldom(), "qos": qos}, **texts}


def ups(platform):
    return [event.data["up"] for event in platform.named("status")]


def test_what_the_server_resets_is_given_up_and_its_limit_kept(start_broker, join_platform, run_agent, tmp_path):
    broker = start_broker(options="max_packet_size 600")
    platform = join_platform(broker)
    agent = run_agent(broker.port, {**status("1s", 1, up="uptime"), **large_event(tmp_path, "large")})
    abandoned = agent.wait_log("error", "event", "abandoned", timeout=PATIENCE)
    assert abandoned.fields["attempts"] == "7" and int(abandoned.fields["bytes"]) > 1600, abandoned.text
    limit = agent.wait_log("warning", "server", "packet-limit")
    assert int(limit.fields["bytes"]) == int(abandoned.fields["bytes"]) - 1
    # Nothing else was lost, and what is too large is not tried again.
    connections = len(agent.find("info", "mqtt", "connected"))
    wait_until(lambda: len(agent.find("info", "mqtt", "connected")) > connections, PATIENCE, "connected again")
    platform.forget()
    platform.next_event("status", timeout=PATIENCE)
    platform.command("publish", {"d": {"event": "large"}})
    agent.wait_log("error", "event", "too-large", **{"packet-size": limit.fields["bytes"]})
    assert platform.outcome("publish")["outcome"] == "ok"
    times = sorted(set(map(int, ups(platform))))
    assert times == list(range(times[0], times[-1] + 1))
    assert len(agent.find("info", "mqtt", "connected")) == connections + 1


def test_a_link_that_is_cut_again_and_again_costs_no_message(broker, platform, run_agent, start_proxy):
    dice = random.Random(1)
    proxy = start_proxy(broker.port)
    # CONNECT alone has some 80 bytes.
    proxy.life = lambda: dice.randint(60, 500)
    agent = run_agent(proxy.port, status("1s", 1, up="uptime"))
    wait_until(lambda: proxy.worn_out >= 6, PATIENCE, "six cuts")
    proxy.life = None
    count = len(ups(platform))
    wait_until(lambda: len(ups(platform)) >= count + 10, PATIENCE, "events come again")
    assert not agent.find("error", "event", "abandoned")
    times = sorted(set(map(int, ups(platform))))
    assert times == list(range(times[0], times[-1] + 1))
