"""The hardware's watchdog, by a file that behaves like one: opened, fed by the loop alone, and what is left of it."""

import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from harness.configuration import configuration, seldom, status
from harness.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.native
ROOT = pathlib.Path(__file__).resolve().parents[2]
QUIET = status(seldom(), 0, a="constant:1")


class Watchdog:
    """A mounted watchdog, and what it says."""

    def __init__(self, folder, *options):
        folder.mkdir()
        self.device = folder / "watchdog"
        self.said = []
        self._process = subprocess.Popen(
            [sys.executable, ROOT / "Tests/LinuxHostTests/watchdogfile.py", folder, *options], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.first = self._process.stdout.readline().strip()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self.said.append(line.strip())

    def wait(self, word, count=1):
        wait_until(lambda: self.said.count(word) >= count, DEADLINE, f"{count} {word} of {self.said}")

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=DEADLINE)


@pytest.fixture
def make_watchdog(tmp_path, closing):
    def make(*options):
        watchdog = Watchdog(tmp_path / "dev", *options)
        closing.append(watchdog)
        if watchdog.first != "ready":
            pytest.skip(f"no file systems here: {watchdog.first}")
        return watchdog
    return make


def guarded(watchdog, timeout="5s", **more):
    return {"watchdog": {"device": watchdog.device, "timeout": timeout, **more}, **QUIET}


def test_it_is_armed_and_fed_until_the_loop_hangs(make_watchdog, run_agent):
    watchdog = make_watchdog()
    agent = run_agent(9, guarded(watchdog))
    # What it has made of five seconds counts, and is read back.
    agent.wait_log("info", "watchdog", "armed", seconds=4, asked=5)
    watchdog.wait("feed", 4)
    assert watchdog.said[:6] == ["open", "set 5", "feed", "feed", "feed", "feed"]
    os.kill(agent.pid, signal.SIGSTOP)
    watchdog.wait("bite")
    assert "magic" not in watchdog.said and "close" not in watchdog.said


@pytest.mark.parametrize("more, left", [({}, ["close"]), ({"stop-at-end": "yes"}, ["magic", "close"])])
def test_an_orderly_end_stops_it_where_that_is_wanted(make_watchdog, run_agent, more, left):
    watchdog = make_watchdog()
    agent = run_agent(9, guarded(watchdog, "3s", **more))
    watchdog.wait("feed")
    assert agent.stop() == 0
    wait_until(lambda: "close" in watchdog.said, DEADLINE, "it is let go")
    assert [word for word in watchdog.said if word not in ("open", "set 3", "feed", "bite")] == left
    if more:
        agent.wait_log("info", "watchdog", "disarmed")
    else:
        # Whoever comes next has this long.
        agent.wait_log("warning", "watchdog", "left-armed")
        watchdog.wait("bite")


def test_one_that_cannot_be_stopped_is_not_stopped(make_watchdog, run_agent):
    watchdog = make_watchdog("nowayout")
    agent = run_agent(9, guarded(watchdog, "3s", **{"stop-at-end": "yes"}))
    watchdog.wait("feed")
    assert agent.stop() == 0
    watchdog.wait("bite")


def test_an_agent_that_is_killed_stops_nothing(make_watchdog, run_agent):
    watchdog = make_watchdog()
    agent = run_agent(9, guarded(watchdog, "3s", **{"stop-at-end": "yes"}))
    watchdog.wait("feed")
    agent.process.kill()
    watchdog.wait("bite")
    assert "magic" not in watchdog.said


def test_one_that_says_nothing_of_its_timeout_is_fed_each_second(make_watchdog, run_agent):
    watchdog = make_watchdog("mute")
    agent = run_agent(9, guarded(watchdog, "1h"))
    agent.wait_log("info", "watchdog", "armed", seconds=0, asked=3600)
    watchdog.wait("feed", 2)


def test_one_that_another_has_is_taken_as_soon_as_it_is_free(make_watchdog, run_agent):
    watchdog = make_watchdog()
    other = os.open(watchdog.device, os.O_WRONLY)
    try:
        agent = run_agent(9, guarded(watchdog, "3s"))
        agent.wait_log("warning", "watchdog", "not-armed", reason="busy", hint="RuntimeWatchdogSec")
        watchdog.wait("busy", 2)
        assert len(agent.find("warning", "watchdog", "not-armed")) == 1
    finally:
        os.close(other)
    agent.wait_log("info", "watchdog", "armed")
    watchdog.wait("feed")


@pytest.mark.parametrize("device, reason", [("/dev/no-such-watchdog", "not-found"), ("/dev", "failed")])
def test_one_that_is_not_there_stops_nothing(broker, platform, run_agent, device, reason):
    agent = run_agent(broker.port, {"watchdog": {"device": device}, **status("1h", 1, a="constant:1")})
    platform.next_event("status")
    agent.wait_log("warning", "watchdog", "not-armed", reason=reason)
    assert agent.stop() == 0


def test_reloads_keep_it_change_it_and_let_it_go(make_watchdog, broker, run_agent):
    watchdog = make_watchdog()
    sections = guarded(watchdog, "3s")
    agent = run_agent(broker.port, sections)
    agent.wait_log("info", "mqtt", "connected")
    watchdog.wait("feed")

    def reload(sections, count, connection):
        agent.configuration.write_text(configuration(broker.port, sections))
        agent.reload()
        agent.wait_log("info", "agent", "reloaded", connection=connection, count=count)
        return [word for word in watchdog.said if word != "feed"]

    # Another interval is none of its affairs.
    assert reload({**sections, **status("2h", 0, a="constant:1")}, 1, "kept") == ["open", "set 3"]
    reload(guarded(watchdog, "7s"), 2, "kept")
    watchdog.wait("set 7")
    assert [word for word in watchdog.said if word != "feed"] == ["open", "set 3", "magic", "close", "open", "set 7"]
    # The agent of the new connection opens it anew, and it has run all the time.
    reload({"mqtt": {"inflight-max": 3}, **guarded(watchdog, "7s")}, 1, "new")
    watchdog.wait("set 7", 2)
    assert [word for word in watchdog.said if word != "feed"][6:] == ["close", "open", "set 7"]
    # Who takes it out of the configuration wants no restart.
    reload({"mqtt": {"inflight-max": 4}, **QUIET}, 2, "new")
    watchdog.wait("close", 3)
    assert watchdog.said[-2:] == ["magic", "close"]
    assert "bite" not in watchdog.said
