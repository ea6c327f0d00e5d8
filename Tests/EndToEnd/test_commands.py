"""Commands: those built in, programs that behave and programs that do not."""

import pathlib
import stat
import time

import pytest

from harness.configuration import TOKEN, seldom, seldom_seconds, status
from harness.files import wait_written
from harness.waiting import DEADLINE, wait_until

OUTPUT_BYTES_MAX = 1024
PROGRAMS_MAX = 4


@pytest.fixture
def script(tmp_path):
    """Writes an executable shell script and gives its path."""
    def write(name, body, mode=0o755):
        path = tmp_path / name
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(mode)
        return path
    return write


def commands(timeout="10s", **programs):
    """Sections for commands; the names' `_` becomes `-`."""
    return {f"command {name.replace('_', '-')}": {"run": path, "timeout": timeout} for name, path in programs.items()}


@pytest.fixture
def start(broker, platform, run_agent):
    """Starts an agent that is ready for commands."""
    def run(sections=None, *arguments, **options):
        agent = run_agent(broker.port, sections or status(seldom(), 1, a="constant:1"), *arguments, **options)
        agent.wait_connected()
        broker.wait_subscribed()
        return agent
    return run


@pytest.mark.core
def test_ping(platform, start):
    agent = start()
    for _ in range(3):
        platform.command("ping", {"d": {}})
        event = platform.next_event("command")
        assert event.topic == "iot-2/evt/command/fmt/json" and event.qos == 1
        assert event.data["command"] == "ping" and event.data["outcome"] == "ok"
        assert event.json["ts"].endswith("Z")
    agent.wait_log("info", "command", "finished", command="ping", outcome="ok", count=3)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_commands_of_every_qos_run_once(platform, start, script, tmp_path, qos):
    start(commands(count=script("count", f"echo x >> {tmp_path / 'ran'}")))
    for _ in range(5):
        platform.command("count", qos=qos)
        assert platform.outcome("count")["outcome"] == "ok"
    assert (tmp_path / "ran").read_text() == "x\n" * 5


@pytest.mark.core
def test_publish_sends_an_event_now(platform, start):
    start({**status(seldom(), 1, a="constant:1"), "event other": {"interval": seldom(), "qos": 1},
           "sensor b": {"event": "other", "read": "constant:2"}})
    platform.next_event("status")
    platform.next_event("other")
    time.sleep(0.3)
    platform.forget()
    platform.command("publish", {"d": {"event": "other"}})
    assert platform.outcome("publish")["outcome"] == "ok"
    wait_until(lambda: len(platform.named("other")) == 2, DEADLINE, "the event asked for")
    assert len(platform.named("status")) == 1
    platform.command("publish")
    wait_until(lambda: len(platform.named("other")) == 3 and len(platform.named("status")) == 2, DEADLINE,
               "all events")
    # As newer libraries write it.
    platform.command("publish", {"event": "other"})
    wait_until(lambda: len(platform.named("other")) == 4, DEADLINE, "the event asked for without a wrapper")
    assert len(platform.named("status")) == 2
    platform.command("publish", {"d": {"event": "nothing"}})
    platform.next_event("command", where=lambda event: event.data["outcome"] in ("unknown", "failed", "refused"))


def test_interval_changes_an_event(platform, start):
    start(status(seldom(), 1, a="constant:1"))
    platform.next_event("status")
    platform.command("interval", {"d": {"event": "status", "interval": "200ms"}})
    assert platform.outcome("interval")["outcome"] == "ok"
    wait_until(lambda: len(platform.named("status")) >= 6, DEADLINE, "events come faster")
    platform.command("interval", {"d": {"event": "status", "interval": seldom_seconds()}})
    assert platform.outcome("interval")["outcome"] == "ok"
    count = len(platform.named("status"))
    time.sleep(1)
    assert len(platform.named("status")) <= count + 1


@pytest.mark.parametrize("payload", [
    "{", "[]x", '{"d":{"event":"status","interval":"5 parsecs"}}', '{"d":{"event":"status","interval":-1}}',
    '{"d":{"event":"status","interval":0}}', '{"d":{"event":"status"}}', '{"d":{"interval":1e400}}', "{" * 100,
    b"\xff\xfe", '{"d":{"event":"status","interval":99999999999999999999}}'], ids=str)
def test_wrong_requests_are_refused(platform, start, payload):
    agent = start()
    platform.command("interval", payload)
    assert platform.outcome("interval")["outcome"] in ("refused", "failed", "unknown")
    assert agent.is_running()


@pytest.mark.parametrize("payload", [
    *('{"d":{"event":%s}}' % event
      for event in ("5", "true", "null", '["status"]', '{"status":1}', '{"event":"status"}')),
    '{"event":5}', "5", '"status"', '["status"]', "null"])
def test_an_event_that_is_no_text_does_not_become_all_events(platform, start, payload):
    start(status(seldom(), 1, a="constant:1"))
    platform.next_event("status")
    platform.command("publish", payload)
    assert platform.outcome("publish")["outcome"] == "refused"
    assert not platform.named("status")[1:]


@pytest.mark.core
def test_a_program_gets_the_payload_and_its_output_comes_back(platform, start, script):
    body = 'printf "args=%s " "$#"; printf "input="; cat; printf " error" >&2\n'
    start(commands(blink=script("blink", body)))
    platform.command("blink", '{"d":{"times":3}}; $(touch x) `y` "')
    outcome = platform.outcome("blink")
    assert (outcome["outcome"], outcome["status"]) == ("ok", 0)
    assert outcome["output"] == 'args=0 input={"d":{"times":3}}; $(touch x) `y` " error'


def test_a_program_that_does_not_read_its_input(platform, start, script):
    start(commands(deaf=script("deaf", "exit 0\n")))
    platform.command("deaf", b"x" * 3000)
    assert platform.outcome("deaf")["outcome"] == "ok"


def test_a_program_sees_a_clean_environment_and_no_open_files(platform, start, script):
    body = "tr '\\0' '\\n' < /proc/self/environ; echo; ls /proc/self/fd | wc -l; grep SigBlk /proc/self/status\n"
    start({**commands(env=script("env", body)), **status(seldom(), 1, a="loadavg:1")},
          environment={"WIOTP_AUTH_KEY": "secret", "LD_PRELOAD": "/x", "HOME": "/nowhere", "IFS": "x"})
    platform.command("env")
    output = platform.outcome("env")["output"]
    for word in ("WIOTP", "secret", "LD_PRELOAD", "nowhere", "IFS"):
        assert word not in output, output
    assert "PATH=" in output
    # Standard input, output, error, and the folder that `ls` reads.
    assert "\n4\n" in output, output
    assert "SigBlk:\t0000000000000000" in output, output


@pytest.mark.core
def test_a_failing_program(platform, start, script):
    agent = start(commands(fail=script("fail", "echo broken; exit 3\n"), die=script("die", "kill -9 $$\n")))
    platform.command("fail")
    outcome = platform.outcome("fail")
    assert (outcome["outcome"], outcome["status"], outcome["output"].strip()) == ("failed", 3, "broken")
    platform.command("die")
    outcome = platform.outcome("die")
    assert (outcome["outcome"], outcome["status"]) == ("failed", 137)
    agent.wait_log("warning", "command", "finished", command="fail", outcome="failed")


@pytest.mark.core
def test_a_hanging_program_is_ended_with_its_children(platform, start, script, tmp_path):
    body = f"trap '' TERM\nsleep 1000 &\necho $! > {tmp_path / 'child'}\necho started\nwait\nsleep 1000\n"
    start({**commands("2s", hang=script("hang", body)), **status("200ms", 1, a="constant:1")})
    begin = time.monotonic()
    platform.command("hang")
    child = int(wait_written(tmp_path / "child"))
    running = len(platform.named("status"))
    outcome = platform.outcome("hang")
    # The events went on meanwhile.
    assert len(platform.named("status")) >= running + 2
    assert outcome["outcome"] == "timeout" and outcome["output"].strip() == "started"
    assert time.monotonic() - begin > 1.9
    wait_until(lambda: is_gone(child), DEADLINE, "its child is ended too")
    platform.command("ping")
    assert platform.outcome("ping")["outcome"] == "ok"


def is_gone(pid):
    """Whether a process has ended, waited for or not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.core
def test_a_noisy_program_is_cut_short_but_not_stalled(platform, start, script):
    start(commands(noise=script("noise", "head -c 3000000 /dev/zero | tr '\\0' 'n'; exit 4\n")))
    platform.command("noise")
    outcome = platform.outcome("noise")
    assert (outcome["outcome"], outcome["status"]) == ("failed", 4)
    assert outcome["output"] == "n" * OUTPUT_BYTES_MAX and outcome["truncated"] is True


def test_the_outcome_is_cut_to_what_fits_the_smallest_packet(platform, start, script):
    body = "head -c 1000 /dev/zero | tr '\\0' '\\1'; printf end\n"
    agent = start({"mqtt": {"packet-size": "1KB"},
                   **commands(much=script("much", body), little=script("little", "echo a"))})
    platform.command("much")
    outcome = platform.outcome("much")
    assert outcome["outcome"] == "ok" and outcome["truncated"] is True
    assert outcome["output"] and not outcome["output"].strip("\1")
    platform.command("little")
    assert "truncated" not in platform.outcome("little")
    assert not agent.find("error", "event", "too-large")


def test_output_that_is_no_text_is_published_as_json_all_the_same(platform, start, script):
    start(commands(bytes=script("bytes", "printf '\\000\\001\"\\\\\\377\\303\\374ok\\n'\n")))
    platform.command("bytes")
    output = platform.outcome("bytes")["output"]
    assert output.startswith("\0\1\"\\") and "�" in output and "ok" in output


def test_a_program_that_leaves_its_output_open_to_a_child(platform, start, script, tmp_path):
    body = f"sleep 30 &\necho $! > {tmp_path / 'child'}\necho done\nexit 0\n"
    start(commands("5s", leave=script("leave", body)))
    platform.command("leave")
    outcome = platform.outcome("leave")
    assert outcome["outcome"] in ("ok", "timeout") and outcome["output"].strip() == "done"


def test_what_is_not_configured_is_not_run(platform, start, script, tmp_path):
    script("touch", f"echo x > {tmp_path / 'ran'}\n")
    start()
    for name in ("touch", "reboot", "sh", "..", "%2Fbin%2Fsh", "a" * 300):
        platform.command(name, "x")
        assert platform.outcome(name[:36] if len(name) > 36 else name)["outcome"] == "unknown"
    assert not (tmp_path / "ran").exists()


def test_a_longer_name_is_not_taken_for_a_configured_one(platform, start, script, tmp_path):
    name = "a" * 36
    start({f"command {name}": {"run": script("touch", f"echo x > {tmp_path / 'ran'}\n")}})
    platform.command(name + "b")
    assert platform.outcome(name)["outcome"] == "unknown"
    assert not (tmp_path / "ran").exists()
    platform.forget()
    platform.command(name)
    assert platform.outcome(name)["outcome"] == "ok"


def test_a_program_that_cannot_be_executed(platform, start, script, tmp_path):
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF nothing")
    garbage.chmod(garbage.stat().st_mode | stat.S_IXUSR)
    start(commands(missing=tmp_path / "missing", plain=script("plain", "exit 0\n", mode=0o644), garbage=garbage))
    for name in ("missing", "plain"):
        platform.command(name)
        assert platform.outcome(name)["outcome"] == "not-executable"
    platform.command("garbage")
    assert platform.outcome("garbage")["outcome"] in ("not-executable", "failed")


def test_a_few_programs_at_once_and_the_others_wait(platform, start, script, tmp_path):
    body = f"echo $(cat) >> {tmp_path / 'begun'}\nwhile ! [ -e {tmp_path / 'end'} ]; do sleep 0.1; done\n"
    start(commands("60s", slow=script("slow", body)))
    count = PROGRAMS_MAX + 8
    for number in range(count):
        platform.command("slow", str(number))
    wait_until(lambda: len(lines(tmp_path / "begun")) == PROGRAMS_MAX, DEADLINE, "the first programs")
    # What needs no program does not wait for one.
    platform.command("ping")
    assert platform.outcome("ping")["outcome"] == "ok"
    assert len(lines(tmp_path / "begun")) == PROGRAMS_MAX
    (tmp_path / "end").touch()
    assert [platform.outcome("slow")["outcome"] for _ in range(count)] == ["ok"] * count
    # They are started in the order in which they came; which of them writes first is the system's.
    assert sorted(lines(tmp_path / "begun"), key=int) == [str(number) for number in range(count)]


def lines(path):
    """The lines of a file that need not be there yet."""
    return path.read_text().split() if path.exists() else []


@pytest.mark.core
def test_an_oversized_payload_is_told_and_does_not_reconnect_for_ever(platform, start, script, tmp_path):
    agent = start(commands(count=script("count", f"echo x >> {tmp_path / 'ran'}")))
    platform.command("count", b"x" * 200_000)
    assert platform.outcome("count")["outcome"] == "too-large"
    platform.command("ping")
    assert platform.outcome("ping")["outcome"] == "ok"
    assert len(agent.find("info", "mqtt", "connected")) == 1 and not (tmp_path / "ran").exists()


@pytest.mark.core
def test_a_durable_session_has_its_commands_waiting(broker, platform, run_agent, script, tmp_path):
    sections = {"mqtt": {"clean-session": "no"}, **status(seldom(), 1, a="constant:1"),
                **commands(note=script("note", f"echo $(cat) >> {tmp_path / 'notes'}\n"))}
    agent = run_agent(broker.port, sections)
    broker.wait_subscribed()
    platform.command("ping")
    platform.outcome("ping")
    assert agent.stop() == 0
    count = 2 * PROGRAMS_MAX + 2
    for number in range(count):
        platform.command("note", f"{number}")
    again = run_agent(broker.port, sections)
    again.wait_log("info", "mqtt", "connected", session="present")
    # More than can run at once: none is refused, none is lost, none runs twice.
    assert [platform.outcome("note")["outcome"] for _ in range(count)] == ["ok"] * count
    assert sorted(lines(tmp_path / "notes"), key=int) == [str(number) for number in range(count)]


@pytest.mark.core
def test_what_waited_when_the_agent_ended_is_the_server_s(broker, platform, run_agent, script, tmp_path):
    body = f"echo $(cat) >> {tmp_path / 'begun'}\n[ -e {tmp_path / 'quick'} ] || exec sleep 1000\n"
    sections = {"mqtt": {"clean-session": "no"}, **status("60s", 1, a="constant:1"),
                **commands("60s", note=script("note", body))}
    agent = run_agent(broker.port, sections)
    broker.wait_subscribed()
    count = PROGRAMS_MAX + 3
    for number in range(count):
        platform.command("note", f"{number}")
    wait_until(lambda: len(lines(tmp_path / "begun")) == PROGRAMS_MAX, DEADLINE, "the first programs")
    platform.command("ping")
    platform.outcome("ping")
    (tmp_path / "quick").touch()
    assert agent.stop() == 0
    run_agent(broker.port, sections)
    for _ in range(count - PROGRAMS_MAX):
        assert platform.outcome("note")["outcome"] == "ok"
    assert sorted(lines(tmp_path / "begun"), key=int) == [str(number) for number in range(count)]


def test_a_retained_command_is_not_carried_out(broker, platform, run_agent, script, tmp_path):
    # The platform clears the flag, so nobody's commands are retained; a broker that keeps one must do no harm.
    note = commands(note=script("note", f"echo $(cat) >> {tmp_path / 'notes'}\n"))
    platform.command("note", "old", retain=True)
    agent = run_agent(broker.port, note)
    agent.wait_log("warning", "command", "retained", command="note")
    platform.command("note", "new")
    assert platform.outcome("note")["outcome"] == "ok"
    assert lines(tmp_path / "notes") == ["new"]
    assert agent.stop() == 0
    again = run_agent(broker.port, {"mqtt": {"retained-commands": "yes"}, **note})
    again.wait_log("info", "command", "finished", command="note")
    assert lines(tmp_path / "notes") == ["new", "old"]


def test_secrets_of_the_agent_are_not_open_to_its_programs(platform, broker, run_agent, script, tmp_path):
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    run_agent(broker.port, {
        "device": {"auth-token": None, "auth-token-file": token},
        **commands(look=script("look", "cat /proc/$$/environ /proc/$$/cmdline | tr '\\0' ' '\n"))})
    broker.wait_subscribed()
    platform.command("look")
    assert TOKEN not in platform.outcome("look")["output"]


def test_a_clean_end_ends_the_programs_too(platform, start, script, tmp_path):
    agent = start(commands("60s", long=script("long", f"echo $$ > {tmp_path / 'pid'}\nexec sleep 1000\n")))
    platform.command("long")
    pid = int(wait_written(tmp_path / "pid"))
    assert agent.stop() == 0
    wait_until(lambda: is_gone(pid), DEADLINE, "the program is ended")
