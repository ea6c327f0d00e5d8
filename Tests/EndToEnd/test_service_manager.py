"""What a service manager is told (sd_notify(3), sd_watchdog_enabled(3)), by a real socket of either kind of name."""

import os
import signal
import subprocess
import time

import pytest

from harness.configuration import configuration, seldom, status
from harness.manager import Manager
from harness.waiting import DEADLINE, wait_until

# A second is as impatient as a test can be; the agent gives its sign at half of it.
PATIENCE = 1.0
QUIET = status(seldom(), 0, a="constant:1")


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, closing):
    made = Manager(tmp_path / "notify" if request.param == "path" else f"@mote-{os.getpid()}-{id(closing)}")
    closing.append(made)
    return made


def watching(manager, process=None):
    """The environment of a service with WatchdogSec=; `process` is set by a shell, as only it knows its number."""
    return manager.environment(WATCHDOG_USEC=str(int(PATIENCE * 1e6)), **({"WATCHDOG_PID": process} if process else {}))


# As a service manager does: the process that becomes the agent is the one that is named.
AS_MAIN = ("sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh")


@pytest.mark.core
def test_a_life_from_ready_to_stopping(broker, manager, run_agent, program):
    agent = run_agent(broker.port, QUIET, environment=manager.environment())
    assert manager.wait(2, program.patience) == ["READY=1\nSTATUS=not connected", "STATUS=connected"]
    broker.kill()
    assert manager.wait(3, program.patience)[2:] == ["STATUS=not connected"]
    agent.stop()
    assert manager.wait(4, program.patience)[3:] == ["STOPPING=1"]
    assert manager.signs == [], "nobody asked for signs of life"


def test_readiness_does_not_wait_for_a_server(manager, run_agent):
    run_agent(9, QUIET, environment=manager.environment())
    assert manager.wait(1) == ["READY=1\nSTATUS=not connected"]


@pytest.mark.core
def test_a_reload_begins_and_ends(broker, manager, run_agent, program):
    """In this order, for one that is taken over, one that is wrong, and one that takes another connection."""
    agent = run_agent(broker.port, QUIET, environment=manager.environment())
    count = len(manager.wait(2, program.patience))
    for text, news in [(configuration(broker.port, status("1h", 0, a="constant:2")), ["READY=1"]),
                       ("[nonsense", ["READY=1"]),
                       (configuration(broker.port, {"mqtt": {"inflight-max": 3}, **QUIET}),
                        ["READY=1\nSTATUS=not connected", "STATUS=connected"])]:
        agent.configuration.write_text(text)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        agent.reload()
        words = manager.wait(count + 1 + len(news), program.patience)[count:]
        reloading, moment = words[0].split("\nMONOTONIC_USEC=")
        assert (reloading, words[1:]) == ("RELOADING=1", news)
        # Later than the signal, as systemd wants it of Type=notify-reload, and decimal.
        assert before <= int(moment) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 and moment[0] != "0"
        count += len(words)
    assert "STOPPING=1" not in manager.words


def wait_signs(manager, count):
    wait_until(lambda: len(manager.signs) >= count, DEADLINE, f"{count} signs of life")
    return manager.signs


@pytest.mark.seconds(5)
def test_signs_of_life_come_in_time_and_not_from_a_loop_that_hangs(manager, run_agent):
    agent = run_agent(9, QUIET, environment=watching(manager), prefix=AS_MAIN)
    signs = wait_signs(manager, 5)
    # Not more often than at half of the patience. That none is late a busy machine cannot promise.
    assert all(later - earlier > 0.4 * PATIENCE for earlier, later in zip(signs, signs[1:]))
    os.kill(agent.pid, signal.SIGSTOP)
    wait_until(lambda: open(f"/proc/{agent.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", DEADLINE, "it hangs")
    count = len(manager.signs)
    time.sleep(2 * PATIENCE)
    assert len(manager.signs) <= count + 1, "what was under way may still come"
    os.kill(agent.pid, signal.SIGCONT)
    wait_signs(manager, count + 3)


@pytest.mark.parametrize("microseconds", ["0", "", "soon", "-1", "99999999999999999999999"])
def test_what_is_no_time_asks_for_nothing(broker, manager, run_agent, microseconds):
    agent = run_agent(broker.port, QUIET, environment=manager.environment(WATCHDOG_USEC=microseconds))
    manager.wait(2)
    assert agent.stop() == 0 and manager.signs == []


def test_another_process_s_watchdog_is_left_to_it(broker, manager, run_agent):
    agent = run_agent(broker.port, QUIET, environment=watching(manager, "1"))
    manager.wait(2)
    # Also of the process that has started it: it might hang, and nobody would notice.
    other = run_agent(broker.port, QUIET, environment=watching(manager, str(os.getpid())))
    manager.wait(4)
    assert (other.stop(), agent.stop()) == (0, 0)
    assert manager.signs == []


@pytest.mark.parametrize("name", ["", "@", "/nowhere/notify", "relative", "/" + "x" * 120, "@" + "x" * 120])
def test_a_socket_that_is_not_there_stops_nothing(broker, platform, run_agent, name):
    agent = run_agent(broker.port, status("1h", 1, a="constant:1"), environment={"NOTIFY_SOCKET": name})
    platform.next_event("status")
    assert agent.stop() == 0


def test_a_manager_that_does_not_read_stops_nothing(broker, platform, run_agent, tmp_path, closing):
    """Its socket is full, which is waited for at the start for a second each, and then no more."""
    import socket
    full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    closing.append(full)
    full.bind(str(tmp_path / "full"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.connect(str(tmp_path / "full"))
        with pytest.raises(BlockingIOError):
            while True:
                own.send(b"x")
        agent = run_agent(broker.port, status("1h", 1, a="constant:1"), environment={
            "NOTIFY_SOCKET": str(tmp_path / "full"), "WATCHDOG_USEC": "200000"})
        platform.next_event("status")
        assert agent.stop() == 0


def test_a_supervised_agent_speaks_for_its_supervisor(broker, manager, program, write_configuration, start_agent):
    """The supervisor is the service's main process, and has nothing to say."""
    path = write_configuration(broker.port, QUIET)
    supervisor = start_agent("supervise", "run", "--config", path, environment=watching(manager), prefix=AS_MAIN)
    assert manager.wait(2) == ["READY=1\nSTATUS=not connected", "STATUS=connected"]
    wait_signs(manager, 3)
    supervisor.process.send_signal(signal.SIGTERM)
    assert supervisor.process.wait(timeout=DEADLINE) == 0
    assert manager.wait(3)[2:] == ["STOPPING=1"]


def test_commands_do_not_speak_for_the_agent(broker, platform, manager, run_agent, tmp_path):
    script = tmp_path / "show"
    script.write_text("#!/bin/sh\nenv\n")
    script.chmod(0o700)
    agent = run_agent(broker.port, {"command show": {"run": script}, **QUIET}, environment=watching(manager))
    agent.wait_log("info", "mqtt", "connected")
    platform.command("show", {"d": {}})
    output = platform.outcome("show")["output"]
    assert "PATH=" in output and "NOTIFY" not in output and "WATCHDOG" not in output


@pytest.mark.skipif(subprocess.run(["sh", "-c", "command -v systemd-notify"], capture_output=True).returncode,
                    reason="there is no systemd-notify")
def test_systemd_s_own_client_is_heard_as_the_agent_is(manager):
    """That the test's side is right."""
    subprocess.run(["systemd-notify", "--ready", "--no-block"], env={**os.environ, **manager.environment()},
                   check=True, timeout=DEADLINE)
    assert manager.wait(1)[0].startswith("READY=1")
