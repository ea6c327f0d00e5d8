"""Local programs ask the running agent: mote status, mote publish, and whoever writes to its socket."""

import grp
import json
import os
import pwd
import signal
import socket
import stat
import threading

import pytest

from harness.configuration import CLIENT, seldom, status
from harness.machine import Machine
from harness.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.native


@pytest.fixture
def start(run_agent, broker, tmp_path):
    """Starts an agent with a control socket."""
    def run(*, port=None, sections=None, **agent):
        keys = {"control-socket": tmp_path / "control"}
        keys.update({key.replace("_", "-"): value for key, value in agent.items()})
        started = run_agent(port or broker.port, {"agent": keys, **(sections or status("300ms", 1, a="constant:47.5"))})
        started.socket = tmp_path / "control"
        wait_until(started.socket.exists, DEADLINE, "the control socket")
        return started
    return run


@pytest.fixture
def mote(program):
    """Runs the program; gives its exit status and both outputs."""
    def run(*arguments):
        done = program.run(*arguments)
        return done.returncode, done.stdout, done.stderr
    return run


def ask(path, request, *, ends=True):
    """All that is answered; who is let go while he talks on may be told so rudely."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(DEADLINE)
        stream.connect(str(path))
        stream.sendall(request)
        if ends:
            stream.shutdown(socket.SHUT_WR)
        try:
            while piece := stream.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def report(path):
    """The status, taken apart."""
    answer, end = ask(path, b"status --json\n").decode().rsplit("=", 1)
    assert end in ("0 ok\n", "75 not-connected\n")
    return json.loads(answer)


def test_status_tells_all(start, mote, broker):
    agent = start(sections={**status("300ms", 1, good="constant:47.5", bad="file:/nonexistent", truth={
        "read": "constant:on", "type": "boolean"}, load="memory:total")})
    agent.wait_connected()
    wait_until(lambda: report(agent.socket)["published"] > 2, DEADLINE, "events")
    found = report(agent.socket)
    assert (found["connection"], found["client"], found["server"], found["port"], found["tls"]) == (
        "connected", CLIENT, "127.0.0.1", broker.port, "no")
    assert f"address=127.0.0.1:{broker.port}" in found["link"]
    assert (found["process"], found["version"], found["management"]) == (agent.pid, "0.1.0", "no")
    assert 0 < found["since"] <= found["uptime"] < DEADLINE * 10 and found["memory"] > 64 * 1024
    assert (found["connections"], found["skipped"], found["dropped"], found["unsendable"], found["commands"]) == (
        1, 0, 0, 0, 0)
    assert found["subscriptions"] == [{"subscription": "iot-2/cmd/+/fmt/+", "state": "granted"}]
    event, = found["events"]
    assert (event["event"], event["qos"], event["interval"]) == ("status", 1, 0.3) and event["last"] < DEADLINE
    good, bad, truth, load = found["sensors"]
    assert (good["sensor"], good["event"], good["value"], good["failing"], good["failure"]) == (
        "good", "status", 47.5, "no", None) and good["age"] < DEADLINE
    assert (bad["value"], bad["age"], bad["failing"], bad["failure"]) == (None, None, "yes", "not-found")
    assert truth["value"] is True and load["unit"] == "B" and load["value"] > 0
    code, text, errors = mote("status", "--socket", agent.socket)
    assert (code, errors) == (0, "")
    lines = text.splitlines()
    assert lines[0].split() == ["connection", "connected"]
    assert "SENSOR EVENT VALUE UNIT AGE FAILING FAILURE".split() in [line.split() for line in lines]
    assert [line.split()[:3] for line in lines[-4:]] == [
        ["good", "status", "47.5"], ["bad", "status", "-"], ["truth", "status", "true"],
        ["load", "status", str(load["value"])]]


def test_status_without_a_connection(start, mote, broker, start_proxy):
    proxy = start_proxy(broker.port)
    agent = start(port=proxy.port)
    agent.wait_connected()
    proxy.shut()
    agent.wait_log("warning", "link", "failed")
    code, text, errors = mote("status", "--config", agent.configuration)
    assert (code, errors) == (75, "") and text.splitlines()[0].split() == ["connection", "waiting"]
    found = report(agent.socket)
    assert found["last-end"] == "connection-refused" and found["attempts"] >= 1 and found["queued"] >= 0


def test_publish_sends_an_event(start, mote, platform, broker):
    agent = start(sections=status(seldom(), 1, a="constant:1"))
    agent.wait_connected()
    words = ("open=true", "angle=-12.50", "who=a person", 'serial="42"')
    code, text, errors = mote("publish", "door", *words, "--socket", agent.socket)
    assert (code, text, errors) == (0, "sent\n", "")
    event = platform.next_event("door").json
    assert event["d"] == {"open": True, "angle": -12.5, "who": "a person", "serial": "42"}
    assert event["ts"].endswith("Z")
    words = ("--qos", "2", "--json", '{\n  "of": [1, {}]\n}')
    assert mote("publish", "list", *words, "--config", agent.configuration) == (0, "sent\n", "")
    assert platform.next_event("list").data == {"of": [1, {}]}


def test_publish_waits_for_the_network(start, mote, broker, platform, start_proxy):
    proxy = start_proxy(broker.port)
    agent = start(port=proxy.port, sections=status(seldom(), 1, a="constant:1"))
    agent.wait_connected()
    proxy.shut()
    agent.wait_log("warning", "mqtt", "disconnected")
    where = ("--socket", agent.socket)
    assert mote("publish", "door", "open=true", *where) == (75, "", "mote: not-connected\n")
    assert mote("publish", "door", "open=true", "--qos", "1", *where) == (0, "queued\n", "")
    proxy.open()
    assert platform.next_event("door").data == {"open": True}


@pytest.mark.parametrize(("words", "code", "complaint"), [
    (["publish"], 65, "event-name: expected 1 to 36 of A-Z a-z 0-9 - _ ."),
    (["publish", "e"], 64, "no-member: expected NAME=VALUE"),
    (["publish", "e", "x=1", "--qos", "7"], 64, "qos: expected 0, 1 or 2"),
    (["publish", "e", "--json", "{"], 65, "not-json: expected a JSON object"),
    (["status", "--jsn"], 64, "unexpected-word: there are more words than expected"),
])
def test_mistakes_are_told(start, mote, words, code, complaint):
    agent = start()
    assert mote(*words, "--socket", agent.socket) == (code, "", f"mote: {complaint}\n")


def test_who_cannot_ask_is_told_why(start, mote, tmp_path, write_configuration):
    missing = tmp_path / "missing"
    code, text, errors = mote("status", "--socket", missing)
    assert (code, text) == (69, "") and errors.startswith(f"mote: {missing}: no agent listens there")
    path = write_configuration("[agent]\ncontrol-socket = no\n", name="off.conf")
    assert mote("status", "--config", path)[::2] == (69, "mote: no: no agent listens there; it may not run, or have "
                                                     "another control-socket (--config, --socket)\n")
    code, _, errors = mote("status", "--config", missing)
    assert (code, errors) == (78, f"mote: {missing}: cannot be read\n")
    code, _, errors = mote("publish", "e", "text=a\nb", "--socket", missing)
    assert code == 64 and "has a tab or a line feed in it" in errors
    code, _, errors = mote("publish", "e", "text=" + 1024 * "x", "--socket", missing)
    assert code == 64 and "more than 1023 bytes" in errors
    assert "did you mean \"status\"" in mote("stauts")[2]


def test_the_socket_is_its_owners(start):
    agent = start()
    status_of = agent.socket.stat()
    assert stat.S_ISSOCK(status_of.st_mode) and stat.S_IMODE(status_of.st_mode) == 0o600
    assert agent.stop() == 0
    assert not agent.socket.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_the_socket_may_be_a_groups(start):
    agent = start(control_group="adm", control_owner="daemon")
    status_of = agent.socket.stat()
    assert stat.S_IMODE(status_of.st_mode) == 0o660
    assert status_of.st_gid == grp.getgrnam("adm").gr_gid and status_of.st_uid == pwd.getpwnam("daemon").pw_uid


def test_a_stale_socket_is_replaced(start, mote):
    agent = start()
    agent.signal(signal.SIGKILL)
    agent.wait_end()
    assert agent.socket.exists()
    again = start()
    again.wait_connected()
    assert report(again.socket)["process"] == again.pid
    assert not again.find("warning", "control", "not-opened")


def test_a_second_agent_leaves_it_alone(start, run_agent, broker):
    first = start()
    second = run_agent(broker.port, {"agent": {"control-socket": first.socket}, "device": {"id": "other"},
                                     **status(seldom(), 0, a="constant:1")})
    second.wait_log("warning", "control", "not-opened", reason="in-use", path=str(first.socket))
    second.wait_connected()
    assert second.stop() == 0
    assert report(first.socket)["process"] == first.pid


@pytest.mark.parametrize(("make", "reason"), [
    (lambda path: None, "not-found"), (lambda path: path.mkdir(), None),
    (lambda path: (path.mkdir(), (path / "control").write_text("mine")), "not-a-socket"),
], ids=["no folder", "a folder", "a file"])
def test_what_is_in_the_way_is_no_reason_to_end(run_agent, broker, tmp_path, make, reason):
    make(tmp_path / "run")
    path = tmp_path / "run/control"
    agent = run_agent(broker.port, {"agent": {"control-socket": path}, **status(seldom(), 0, a="constant:1")})
    agent.wait_connected()
    if reason:
        agent.wait_log("warning", "control", "not-opened", reason=reason, path=str(path))
    else:
        assert report(path)["process"] == agent.pid
    assert agent.stop() == 0
    assert reason != "not-a-socket" or path.read_text() == "mine"


def test_the_usual_places(run_agent, broker, tmp_path):
    """The folder of what is kept, where there is none for what runs; and none at all, as in a container that may write
    nothing, is worth no more than a line."""
    sections = {"agent": {"control-socket": None}, **status(seldom(), 0, a="constant:1")}
    if os.path.exists("/run/mote") or os.path.exists("/var/lib/mote"):
        pytest.skip("the machine has a place of its own")
    machine = Machine(tmp_path / "machine")
    agent = run_agent(broker.port, sections, prefix=machine.prefix)
    agent.wait_connected()
    assert report(machine.state / "control")["connection"] == "connected"
    assert agent.stop() == 0
    assert not (machine.state / "control").exists()
    agent = run_agent(broker.port, sections)
    agent.wait_log("info", "control", "not-opened", reason="not-found", path="/run/mote/control")
    agent.wait_connected()
    assert agent.stop() == 0


def test_a_new_place_is_taken_over_with_a_reload(start, tmp_path):
    agent = start()
    agent.wait_connected()
    text = agent.configuration.read_text()
    agent.configuration.write_text(text.replace(str(agent.socket), str(tmp_path / "other")))
    agent.reload()
    wait_until((tmp_path / "other").exists, DEADLINE, "the new socket")
    assert not agent.socket.exists()
    assert report(tmp_path / "other")["process"] == agent.pid


def cpu_seconds(agent):
    """Processor time of the agent."""
    fields = open(f"/proc/{agent.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(DEADLINE)
    stream.connect(str(path))
    return stream


def test_stuck_and_greedy_clients_hold_nothing_up(start, platform):
    """While clients are stuck, greedy, half closed or talk rubbish, events go out, and others come to their turn."""
    agent = start(sections=status("100ms", 0, a="constant:1"))
    agent.wait_connected()
    stuck = [connect(agent.socket) for _ in range(4)]
    stuck[1].sendall(b"status")
    stuck[2].sendall(b"\x00\xff" * 400)
    before = len(platform.named("status"))
    assert report(agent.socket)["process"] == agent.pid
    wait_until(lambda: len(platform.named("status")) > before + 10, DEADLINE, "events beside stuck clients")
    # One that asks and asks, and takes no answer.
    greedy = connect(agent.socket)
    sender = threading.Thread(target=lambda: send_all(greedy, b"status --json\n" * 100_000))
    sender.start()
    before = len(platform.named("status"))
    wait_until(lambda: len(platform.named("status")) > before + 10, DEADLINE, "events beside a greedy client")
    assert report(agent.socket)["process"] == agent.pid
    sender.join(DEADLINE)
    assert not sender.is_alive()
    for stream in (*stuck, greedy):
        stream.close()
    assert agent.stop() == 0


def send_all(stream, data):
    try:
        stream.sendall(data)
    except OSError:
        pass


def test_half_closed_clients_are_answered(start):
    agent = start()
    assert ask(agent.socket, b"nothing").startswith(b"=64 unknown-verb")
    assert ask(agent.socket, b"") == b""
    two = ask(agent.socket, b"nothing\nstatus\n")
    assert two.startswith(b"=64 unknown-verb") and two.endswith((b"=0 ok\n", b"=75 not-connected\n"))
    assert ask(agent.socket, 5000 * b"x", ends=False).startswith(b"=64 too-long")


def test_clients_cost_nothing_when_they_say_nothing(start):
    agent = start(sections=status(seldom(), 0, a="constant:1"))
    agent.wait_connected()
    report(agent.socket)
    silent = connect(agent.socket)
    wakeups = voluntary_switches(agent)
    # The agent lets it go by itself; until then it sleeps.
    assert silent.recv(1) == b""
    assert voluntary_switches(agent) - wakeups < 30
    silent.close()


def voluntary_switches(agent):
    text = open(f"/proc/{agent.pid}/status", encoding="ascii").read()
    return int(text.split("voluntary_ctxt_switches:")[1].split()[0])


def test_a_large_status_is_whole(start):
    """Hundreds of rows, taken slowly."""
    sensors = {f"sensor-number-{index}": f"constant:{index}" for index in range(256)}
    agent = start(sections={**status("1s", 0, **sensors), "mqtt": {"packet-size": "32KB"}})
    agent.wait_connected()
    wait_until(lambda: report(agent.socket)["sensors"][255]["value"] == 255, DEADLINE, "values")
    stream = connect(agent.socket)
    stream.sendall(b"status --json\n")
    stream.shutdown(socket.SHUT_WR)
    answer = b"".join(iter(lambda: stream.recv(100), b""))
    found = json.loads(answer.rsplit(b"=", 1)[0])
    assert [sensor["value"] for sensor in found["sensors"]] == list(range(256))
