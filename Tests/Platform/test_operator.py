"""`motectl`'s commands for operators, over MQTT: events, commands, monitoring; and where the platform is said to be."""

import json
import pathlib
import re
import socket
import stat
import termios
import threading
import time

import pytest

from harness.configuration import ini
from harness.waiting import DEADLINE, free_port, wait_until
from operating import Operator
from rest import api
from service import KEY, KEY_TOKEN, ORGANIZATION, TOKEN

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def operator(service, motectl, tmp_path):
    """An operator of a platform in memory."""
    return Operator(motectl, service, tmp_path / "home")


@pytest.fixture
def start_mote(service, start_agent, tmp_path):
    """Starts Mote's agent as device e1, with an event twice a second and a program for the command `greet`."""
    def start():
        program = tmp_path / "greet"
        program.write_text('#!/bin/sh\nread -r who\necho "hello $who"\nprintf "\\033[31mred\\n"\nexit 3\n')
        program.chmod(0o755)
        path = tmp_path / "mote.conf"
        path.touch(mode=0o600)
        path.write_text(ini({
            "device": {"org": ORGANIZATION, "type": "edge", "id": "e1", "auth-method": "token", "auth-token": TOKEN},
            "server": {"host": "127.0.0.1", "port": service.port, "tls": "no", "allow-plaintext-token": "yes"},
            "mqtt": {"connect-delay-max": "0s"},
            "event status": {"interval": "500ms", "qos": 1},
            "sensor answer": {"event": "status", "read": "constant:42.5"},
            "command greet": {"run": program}}))
        agent = start_agent("run", "--config", path)
        # Its first event comes behind its subscription to commands.
        wait_until(lambda: api(service, "GET", "/device/types/edge/devices/e1/events").json, DEADLINE,
                   f"the agent's first event: {agent.log}")
        return agent
    return start


def test_events_of_the_agent(operator, start_mote):
    """The agent's events, as lines and as JSON."""
    start_mote()
    line = operator.run("events", "--type", "edge", "--count", "1").split(" ", 5)
    assert line[1:5] == ["edge", "e1", "status", "json"]
    assert json.loads(line[5])["d"] == {"answer": 42.5}
    event, = operator.json("events", "--event", "status", "--id", "e1", "--count", "1")
    assert (event["typeId"], event["deviceId"], event["event"], event["format"]) == ("edge", "e1", "status", "json")
    assert event["payload"]["d"] == {"answer": 42.5}


def test_only_the_events_asked_for(operator, service, device):
    """--type, --id and --event."""
    one, two = device(service, "e1"), device(service, "e2")
    with operator.subscribed("events", "--id", "e2", "--event", "wanted", "--count", "2") as events:
        for client in (one, two):
            for name in ("wanted", "other", "wanted"):
                client.publish(f"iot-2/evt/{name}/fmt/json", {"d": {}})
        assert events.wait() == 0
    assert [line.split(" ")[2:4] for line in events.text.splitlines()] == [["e2", "wanted"]] * 2


def test_events_in_a_terminal(operator, start_mote):
    """A live table; Ctrl-C ends it."""
    start_mote()
    with operator.terminal("events") as events:
        events.wait_text("answer=42.5", count=3)
        assert "TYPE  ID  EVENT   COUNT  AGE  VALUES" in events.text
        assert events.interrupt() == 0


def test_keys_of_the_table(operator, service, device):
    """More rows than fit are a key away; so are another order and a filter. The terminal is as it was afterwards."""
    sender = device(service)
    names = ["lamp", *(f"event-{letter}" for letter in "abcdefghijk")]
    with operator.subscribed("events", size=(8, 100)) as events:
        modes = termios.tcgetattr(events.descriptor)
        for name in names:
            sender.publish(f"iot-2/evt/{name}/fmt/json", {"d": {"x": 1}})
        for keys, expected in (("", "rows 1 to 5 of 12"), (" ", "rows 6 to 10 of 12"), ("  ", "rows 8 to 12 of 12"),
                               ("b", "rows 3 to 7 of 12"), ("/lamp\n", "filter 'lamp': 1 of 12")):
            events.press(keys)
            events.wait_text(expected)
        assert events.interrupt() == 0
        # Of the terminal's modes the last four bytes of a line's are the local ones.
        assert modes[3] & termios.ICANON == 0 and termios.tcgetattr(events.descriptor)[3] & termios.ICANON


def test_filter_of_lines(operator, service, device):
    """What does not have the text in it is not written, nor counted."""
    sender = device(service)
    with operator.subscribed("events", "--filter", "OPEN", "--count", "1") as events:
        for state in ("closed", "open"):
            sender.publish("iot-2/evt/door/fmt/json", {"d": {"state": state}})
        assert events.wait() == 0
    line, = events.text.splitlines()
    assert '"open"' in line


def test_text_from_devices_controls_no_terminal(operator, service, device):
    """Escapes, direction marks and broken UTF-8, in payloads and topics, as lines, as JSON and in a terminal."""
    client = device(service)
    evil = '{"d":{"\\u001b]0;title\\u0007":"\\u202etxt","raw":"\x1b[2J\x9b31m"}}'
    for options in ([], ["--json"]):
        with operator.subscribed("events", "--count", "2", *options) as events:
            client.publish("iot-2/evt/st\u202eat/fmt/te\u009bxt", evil.encode())
            client.publish("iot-2/evt/bytes/fmt/bin", b"\xff\x1b[2J")
            assert events.wait() == 0
        lines = events.text.splitlines()
        assert len(lines) == 2
        assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 or letter == "\u202e"
                       for line in lines for letter in line)
    with operator.subscribed("events", size=(24, 100)) as events:
        client.publish("iot-2/evt/stat/fmt/json", evil.encode())
        events.wait_text(r"\x1b[2J")
        assert events.interrupt() == 0
        assert "\x1b[2J" not in events.text and "\u202e" not in events.text and "\x07" not in events.text


def test_pipe_that_is_closed(operator, start_mote):
    """Whoever reads the output may stop, and that is no failure."""
    start_mote()
    with operator.running("events") as events:
        events.wait_text("status")
        events.process.stdout.close()
        assert events.process.wait(DEADLINE) == 0
        events.process.stdout = open("/dev/null", "rb")  # pylint: disable=consider-using-with


def test_commands_to_the_agent(operator, start_mote):
    """Built-in commands and a program, with their outcomes."""
    start_mote()
    assert operator.run("command", "edge", "e1", "ping", "--wait") == "ok\n"
    changed, = operator.json(
        "command", "edge", "e1", "interval", '{"d":{"event":"status","interval":"250ms"}}', "--wait")
    assert changed == {"typeId": "edge", "deviceId": "e1", "command": "interval", "outcome": "ok"}
    assert operator.run("command", "edge", "e1", "publish", "--wait") == "ok\n"
    greeting = operator.run("command", "edge", "e1", "greet", "-", "--format", "text", "--wait", stdin="Ann\n",
                            status=1)
    assert greeting == "failed status=3\nhello Ann\n\\x1b[31mred\n"
    assert operator.run("command", "edge", "e1", "nothing", "--wait", status=1) == "unknown\n"


def test_configuration_for_this_machine(operator, service, mote, start_agent, tmp_path):
    """A platform without TLS, an agent on the same machine: one command writes all that it needs."""
    path = tmp_path / "local.conf"
    # The options of a place stand for the usual one.
    said = operator.run("device", "add", "edge", "e7-0042", "--config", path)
    assert f"mote run --config {path}" in said and "auth-token" not in said
    with path.open("a", encoding="utf-8") as file:
        file.write("\n[mqtt]\nconnect-delay-max = 0s\n")
    start_agent("run", "--config", path).wait_connected()
    assert operator.run("command", "edge", "e7-0042", "ping", "--wait") == "ok\n"
    # A token that cannot stand in a configuration is none for it; nothing is registered then.
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(" with a blank in front")
    operator.run("device", "add", "edge", "e8", "--config", tmp_path / "e8.conf", "--device-token-file", secret,
                 status=78)
    assert "e8" not in operator.run("devices") and not (tmp_path / "e8.conf").exists()


def test_agent_of_the_readme(operator, service, mote, start_agent, tmp_path):
    """The README's configuration of an agent for the local platform is right, and connects with the device's token."""
    blocks = re.findall(r"```ini\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    text, = [block for block in blocks if f"org = {ORGANIZATION}\n" in block]
    token, path = tmp_path / "token", tmp_path / "local.conf"
    operator.run("device", "add", "edge", "e7-0042", "--save-token", token)
    path.write_text(text.replace("/etc/mote/token", str(token)).replace("port = 1883", f"port = {service.port}")
                    + "\n[mqtt]\nconnect-delay-max = 0s\n")
    checked = mote.run("check", "--config", path)
    assert checked.returncode == 0, checked.stderr
    start_agent("run", "--config", path).wait_connected()
    assert operator.run("command", "edge", "e7-0042", "ping", "--wait") == "ok\n"


def test_command_that_nobody_answers(operator, service):
    """A limit of time; without --wait, the platform's word suffices."""
    assert operator.run("command", "edge", "e2", "ping", "--wait", "--timeout", "1s", status=75) == ""
    assert "edge e2: no event 'command' about 'ping'" in operator.complaint
    assert operator.run("command", "edge", "e2", "ping") == ""
    assert operator.json("command", "edge", "e2", "ping")[0]["sent"] is True
    service.stop()
    operator.run("command", "edge", "e2", "ping", status=69)
    assert "Connection refused: is the platform running? 'motectl platform' starts it" in operator.complaint


def test_command_to_nobody(operator):
    """A device that is not there is a failure at once, unless only MQTT can be asked."""
    for options in ([], ["--wait"]):
        started = time.monotonic()
        assert operator.run("command", "edge", "typo", "ping", *options, status=67) == ""
        assert "typo" in operator.complaint and time.monotonic() - started < DEADLINE
    nowhere = [*operator.place[:3], f"http://127.0.0.1:{free_port()}"]
    assert operator.json("command", "edge", "e2", "ping", place=nowhere)[0]["sent"] is True
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_place = [*operator.place[:3], f"http://127.0.0.1:{silent.getsockname()[1]}"]
        assert operator.json("command", "edge", "e2", "ping", place=silent_place)[0]["sent"] is True


def test_command_interrupted(operator):
    """Ctrl-C while waiting is a failure of its own."""
    with operator.subscribed("command", "edge", "e2", "ping", "--wait") as command:
        assert command.interrupt() == 130


def test_monitor(operator, service, device):
    """Who was there already, who comes and who goes."""
    first = device(service, "e1")
    with operator.running("monitor") as monitor:
        monitor.wait_text("connect d:local0:edge:e1 ")
        assert "(remembered)" in monitor.text
        second = device(service, "e2")
        monitor.wait_text("connect d:local0:edge:e2 ")
        second.close()
        monitor.wait_text("disconnect d:local0:edge:e2 ")
        monitor.wait_text("connect a:local0:motectl-")
        assert monitor.interrupt() == 0
    first.close()
    service.wait_log("client", "disconnected", client_id="d:local0:edge:e1")
    with operator.running("monitor", "--type", "edge", "--id", "e1", "--json") as monitor:
        monitor.wait_text("Disconnect")
        assert monitor.interrupt() == 0
    told = json.loads(monitor.text.splitlines()[0])
    assert told["topic"] == "iot-2/type/edge/id/e1/mon" and told["retained"] is True
    assert told["payload"]["Action"] == "Disconnect"


def test_connection_that_is_lost(operator, service, device):
    """The connection is made again, with all subscriptions."""
    with operator.subscribed("events") as events:
        service.kill()
        events.wait_text("trying again in")
        service.start()
        client = device(service)
        deadline = time.monotonic() + DEADLINE
        while '{"n":1}' not in events.text and time.monotonic() < deadline:
            client.publish("iot-2/evt/status/fmt/json", '{"n":1}')
            time.sleep(0.2)
        events.wait_text('{"n":1}')
        assert events.interrupt() == 0


@pytest.mark.parametrize("answer, status, words", [
    (b"\x20\x02\x00\x05", 77, "expected a known key"), (b"\x20\x02\x00\x03", 69, "try again later"),
    (b"\x20\x02\x00\x02", 78, "client identifier"), (b"\x20\x02\x00\x01", 76, "MQTT 3.1.1"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", 76, "[MQTT-"), (b"", 69, "without an answer to CONNECT"),
    (b"\x20\x02\x00\x00\x90\x03\x00\x01\x80", 77, "does not grant"),
    (b"\x20\x02\x00\x00\x30\xff\xff\xff\xff", 76, "[MQTT-2.2.3"),
])
def test_scripted_brokers(operator, closing, answer, status, words):
    """Whatever a broker answers to CONNECT and SUBSCRIBE has an exit status of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing.append(listener)

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer[:4])
            if answer[4:]:
                connection.recv(65536)
                connection.sendall(answer[4:])
                connection.recv(65536)

    threading.Thread(target=serve, daemon=True).start()
    place = ["--server", f"mqtt://127.0.0.1:{listener.getsockname()[1]}"]
    operator.run("events", "--for", f"{DEADLINE}s", place=place, status=status)
    assert words in operator.complaint


def test_silent_server(operator, closing):
    """Ctrl-C ends what waits for an answer that does not come."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(DEADLINE)
    closing.append(listener)
    port = listener.getsockname()[1]
    place = ["--server", f"mqtt://127.0.0.1:{port}", "--api", f"http://127.0.0.1:{port}"]
    for words, status in (["events"], 0), (["devices"], 130), (["command", "edge", "e1", "ping"], 130):
        with operator.running(*words, place=place) as running:
            connection, _ = listener.accept()
            time.sleep(0.3)
            assert running.interrupt() == status
            connection.close()


def test_quickstart(operator, service, join):
    """One device at a time, without credentials."""
    client = join(service, "d:quickstart:mote:q1")
    options = ["events", "--organization", "quickstart", "--type", "mote"]
    with operator.subscribed(*options, "--id", "q1", "--count", "1") as events:
        client.publish("iot-2/evt/status/fmt/json", {"d": {"x": 1}}, qos=0)
        assert events.wait() == 0
    assert 'mote q1 status json {"d": {"x": 1}}' in events.text
    operator.run(*options, status=78)
    assert "quickstart: shows one device at a time" in operator.complaint


def test_credentials(operator, service, tmp_path):
    """Wrong ones, none, a profile, a token file, and files that others can read."""
    operator.run("events", "--for", f"{DEADLINE}s", status=77, WIOTP_AUTH_TOKEN="wrong-token")
    assert "refused a:local0:motectl-" in operator.complaint and "wrong-token" not in operator.complaint
    nothing = {"WIOTP_AUTH_KEY": None, "WIOTP_AUTH_TOKEN": None}
    operator.run("events", "--for", f"{DEADLINE}s", status=78, **nothing)
    assert "WIOTP_AUTH_KEY" in operator.complaint
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(KEY_TOKEN + "\n")
    operator.reaches(service, "--key", KEY, "--token-file", token, **nothing)
    profile = operator.home / ".config/motectl/default"
    profile.parent.mkdir(parents=True)
    profile.touch(mode=0o600)
    profile.write_text(f"[application]\nauth-key = {KEY}\nauth-token = {KEY_TOKEN}\nserver = {operator.place[1]}\n")
    operator.reaches(service, place=[], **nothing)
    profile.chmod(0o644)
    operator.run("events", "--for", f"{DEADLINE}s", place=[], status=78, **nothing)
    assert "chmod 600" in operator.complaint
    profile.chmod(0o600)
    profile.write_text("auth-kee = x\n")
    operator.run("events", "--for", f"{DEADLINE}s", place=[], status=78)
    assert f"{profile}:1: unknown key 'auth-kee'" in operator.complaint
    assert KEY_TOKEN not in operator.complaint


def test_the_platforms_own_key_file(start_service, motectl, tmp_path):
    """The file that the platform writes at its first start is a profile."""
    registrations = tmp_path / "none.json"
    registrations.write_text("{}")
    service = start_service("--registrations", registrations, durable=True)
    operator = Operator(motectl, service, tmp_path / "home", WIOTP_AUTH_KEY="", WIOTP_AUTH_TOKEN="")
    path = service.folder / "data/api-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    operator.reaches(service, "--profile", path)


def test_tls(start_service, motectl, authority, tmp_path):
    """TLS with a CA file; another CA, another name, and no check at all."""
    right, wrong = authority.issue(), authority.issue("DNS:elsewhere.example")
    service = start_service("--mqtts", "0", "--certificate", right.certificate, "--key", right.key)
    operator = Operator(motectl, service, tmp_path / "home")
    place = ["--server", f"mqtts://localhost:{service.ports['mqtts']}"]
    operator.reaches(service, "--ca-file", authority.certificate, place=place)
    operator.run("events", "--for", f"{DEADLINE}s", place=place, status=69)
    assert "certificate is not trusted" in operator.complaint
    assert "not checked" in operator.reaches(service, "--allow-unverified-server", place=place)
    operator.run("events", "--for", f"{DEADLINE}s", "--ca-file", tmp_path / "none.pem", place=place, status=78)
    address = ["--server", f"mqtts://127.0.0.1:{service.ports['mqtts']}"]
    operator.reaches(service, "--ca-file", authority.certificate, place=address)
    service = start_service("--mqtts", "0", "--certificate", wrong.certificate, "--key", wrong.key)
    place = ["--server", f"mqtts://localhost:{service.ports['mqtts']}"]
    operator.run("events", "--for", f"{DEADLINE}s", "--ca-file", authority.certificate, place=place, status=69)
    assert "not for this host" in operator.complaint


@pytest.mark.parametrize("words", [
    ["events", "--server", "http://x"], ["events", "--domain", "a b"], ["events", "--organization", "x"]])
def test_wrong_settings(operator, words):
    """Settings that cannot be are told by their flags."""
    operator.run(*words, status=78, place=[])
    assert operator.complaint.startswith(f"motectl: {words[1]}: expected")


def test_usage(operator):
    """Wrong usage, help and completions."""
    operator.run("events", "--typ", "x", status=64, place=[])
    operator.run("evnts", status=64, place=[])
    assert "did you mean 'motectl events'?" in operator.complaint
    assert re.fullmatch(r"motectl \d+\.\d+\.\d+\n", operator.run("--version", place=[]))
    operator.run("command", "edge", "e1", "ping", "no JSON", status=64, place=[])
    assert "motectl help options" in operator.run("events", "--help", place=[])
    assert "WIOTP_AUTH_KEY" in operator.run("help", "options", place=[])
    # Each command has them, and a shell completes them.
    assert operator.run("--generate-completion-script", "bash", place=[]).count("--allow-plaintext-token") > 10
    for shell in ("bash", "zsh", "fish"):
        assert "factory-reset" in operator.run("--generate-completion-script", shell, place=[])
