"""Device management against a server that knows the protocol from its description, in the shapes of all its years."""

import json
import shutil

import pytest

from harness.configuration import status
from harness.files import wait_written
from harness.machine import Machine, ManagementServer
from harness.running import joining
from harness.waiting import DEADLINE, wait_until

# What starts the agent is this machine's; emulated programs have no mount namespace of their own.
pytestmark = pytest.mark.native
REBOOT = "mgmt/initiate/device/reboot"
RESET = "mgmt/initiate/device/factory_reset"
# The protocol's own example of what is told about a device.
INFORMATION = {"serial-number": "S-0042", "manufacturer": "Acme", "model": "E7", "device-class": "Edge",
               "description": "press monitor", "firmware-version": "1.4.0", "hardware-version": "B",
               "location": "hall 3, row 2"}
DEVICE_INFO = {"serialNumber": "S-0042", "manufacturer": "Acme", "model": "E7", "deviceClass": "Edge",
               "description": "press monitor", "fwVersion": "1.4.0", "hwVersion": "B",
               "descriptiveLocation": "hall 3, row 2"}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "machine")


@pytest.fixture
def server(closing, broker, program):
    return joining(closing, lambda: ManagementServer(broker.side_port, program.patience))()


@pytest.fixture
def start(broker, run_agent, machine, server):
    """Starts a managed agent, and waits until it has said so."""
    def run(managed=True, **management):
        keys = {key.replace("_", "-"): value for key, value in management.items()}
        agent = run_agent(broker.port, {"management": {**INFORMATION, **keys}, **status("1h", 1, a="constant:1")},
                          prefix=machine.prefix)
        if managed:
            agent.wait_log("info", "management", "managed")
        return agent
    return run


@pytest.fixture
def script(tmp_path):
    """Writes a program that notes that it ran, and does `body`."""
    def write(body="", mode=0o755):
        path = tmp_path / "action"
        path.write_text(f"#!/bin/sh\necho x >> {tmp_path / 'ran'}\n{body}")
        path.chmod(mode)
        return path
    return write


def count(tmp_path):
    """How often the program ran."""
    path = tmp_path / "ran"
    return len(path.read_text().split()) if path.exists() else 0


def test_it_is_managed(server, start):
    """The manage request is the protocol's own example, and comes again with each connection and each change."""
    agent = start(lifetime="2h", reboot="yes")
    # No delay is configured. That its record is read first is no wait that anybody would notice.
    assert not agent.find("info", "link", "waiting")
    manage = server.next_manage()
    identifier = manage.pop("reqId")
    assert isinstance(identifier, str) and len(identifier) == 16
    assert manage == {"d": {"lifetime": 7200, "supports": {"deviceActions": True, "firmwareActions": False},
                            "deviceInfo": DEVICE_INFO}}
    agent.configuration.write_text(agent.configuration.read_text().replace("row 2", "row 7"))
    agent.reload()
    assert server.next_manage()["d"]["deviceInfo"]["descriptiveLocation"] == "hall 3, row 7"
    assert agent.stop() == 0
    assert not [topic for topic, _ in server.all if "unmanage" in topic]


def test_what_the_board_says(broker, run_agent, machine, server):
    """Without a word about the device the board's own are taken, and never an empty or missing one."""
    run_agent(broker.port, {"management": {}}, prefix=machine.prefix).wait_log("info", "management", "managed")
    manage = server.next_manage()["d"]
    assert manage["lifetime"] == 3600
    assert manage["supports"] == {"deviceActions": False, "firmwareActions": False}
    assert all(isinstance(value, str) and value for value in manage.get("deviceInfo", {"x": "y"}).values())


@pytest.mark.parametrize("path, request_, answer", [
    ("observe", '{"d":{"fields":[{"field":"mgmt.firmware"}]},"reqId":"o1"}',
     {"rc": 404, "reqId": "o1", "d": {"fields": [{"field": "mgmt.firmware"}]}}),
    ("observe", '{"d":{"fields":["deviceInfo"]},"reqId":"o2"}',
     {"rc": 200, "reqId": "o2", "d": {"fields": [{"field": "deviceInfo", "value": DEVICE_INFO}]}}),
    ("cancel", '{"d":{"fields":[{"field":"mgmt.firmware"}]},"reqId":"c1"}', {"rc": 200, "reqId": "c1"}),
    ("cancel", '{"d":{"fields":["mgmt.firmware"]},"reqId":"c2"}', {"rc": 200, "reqId": "c2"}),
    ("cancel", '{"d":{"data":[{"field":"mgmt.firmware"}]},"reqId":"c3"}', {"rc": 200, "reqId": "c3"}),
    ("device/update", '{"d":{"fields":[{"field":"metadata","value":{"site":"hall-3"}}]},"reqId":"u1"}',
     {"rc": 204, "reqId": "u1"}),
    ("device/update", '{"d":{"fields":[{"field":"mgmt.firmware","value":{"version":"1.5.0"}}]},"reqId":"u2"}',
     {"rc": 404, "reqId": "u2", "d": {"fields": [{"field": "mgmt.firmware"}]}}),
    ("mgmt/initiate/firmware/download", '{"reqId":"f1"}', {"rc": 501, "reqId": "f1", "message": "not supported"}),
    ("mgmt/initiate/firmware/update", '{"reqId":17}', {"rc": 501, "reqId": 17, "message": "not supported"}),
    ("mgmt/custom/acme-tools-v1/setInterval", '{"d":{"fields":[{"field":"seconds","value":"30"}]},"reqId":"c-9"}',
     {"rc": 501, "reqId": "c-9", "message": "not supported"}),
    (REBOOT, '{"reqId":"r1"}', {"rc": 501, "reqId": "r1", "message": "not supported"}),
    (RESET, '{"reqId":"r2"', {"rc": 400, "reqId": "r2", "message": "malformed"}),
])
def test_each_request_has_one_answer(server, start, path, request_, answer):
    start()
    # None of these has an identifier, and so none an answer.
    for unheard in ('{"d":{"fields":["x"]}}', "rubbish", "", '{"reqId":null}', "[" * 50):
        server.send(path, unheard)
    assert server.ask(path, request_) == answer
    assert server.ask("cancel", '{"d":{"fields":[]},"reqId":"last"}') == {"rc": 200, "reqId": "last"}


def test_a_restart_by_a_program(server, start, script, machine, broker, tmp_path):
    """202, a clean end of the session, the program, and after the restart the manage request; never a second time."""
    agent = start(reboot=script())
    server.next_manage()
    assert server.ask(REBOOT, {"reqId": "r-1"}) == {"rc": 202, "reqId": "r-1"}
    assert wait_written(tmp_path / "ran") == "x"
    agent.wait_log("info", "management", "action-begun", action="reboot")
    wait_until(lambda: "Received DISCONNECT from d:ab12cd:edge:e7-0042" in broker.log, DEADLINE, "DISCONNECT")
    # The same machine, and an agent that somebody started anew: it waits for the restart, and says nothing.
    agent.process.kill()
    agent.wait_end()
    waiting = start(managed=False, reboot=script())
    waiting.wait_log("info", "agent", "memory")
    assert waiting.stop() == 0
    assert not waiting.find("info", "link", "connecting")
    machine.restart()
    back = start(reboot=script())
    back.wait_log("info", "management", "action-done", action="reboot")
    server.next_manage()
    # An application that asks again in the same words has asked before.
    assert server.ask(REBOOT, {"reqId": "r-1"}) == {"rc": 202, "reqId": "r-1"}
    assert server.ask("cancel", {"d": {"fields": []}, "reqId": "c"})["rc"] == 200
    assert count(tmp_path) == 1
    # And in other words it is another restart.
    assert server.ask(REBOOT, {"reqId": "r-2"}) == {"rc": 202, "reqId": "r-2"}
    wait_until(lambda: count(tmp_path) == 2, DEADLINE, "the second restart")


def test_a_restart_that_fails(server, start, script, tmp_path):
    """What was accepted and came to nothing is told before the device says that it is there."""
    agent = start(reboot=script("exit 3"))
    server.next_manage()
    assert server.ask(REBOOT, {"reqId": "r"}) == {"rc": 202, "reqId": "r"}
    assert server.answers.get(timeout=DEADLINE) == {"rc": 500, "reqId": "r", "message": "status 3"}
    server.next_manage()
    agent.wait_log("error", "management", "action-failed", action="reboot", reason="status", status="3")
    assert [body.get("rc", "manage") for _, body in server.all] == ["manage", 202, 500, "manage"]
    assert count(tmp_path) == 1


@pytest.mark.parametrize("mode", [0o644, None])
def test_a_restart_that_cannot_be(server, start, script, tmp_path, mode):
    """Refused at once where there is no such program, or none that can be executed."""
    start(reboot=script(mode=mode) if mode else tmp_path / "nothing")
    answer = server.ask(REBOOT, {"reqId": "r"})
    assert answer == {"rc": 500, "reqId": "r", "message": "not permitted, or not executable"}


def test_a_restart_that_cannot_be_kept(server, start, script, machine, tmp_path):
    """Refused where nothing can be written."""
    start(reboot=script())
    # With the control socket in it.
    shutil.rmtree(machine.state)
    assert server.ask(REBOOT, {"reqId": "r"}) == {"rc": 500, "reqId": "r", "message": "read-only"}
    assert server.ask("cancel", {"d": {"fields": []}, "reqId": "c"})["rc"] == 200
    assert count(tmp_path) == 0


def test_a_reset_by_a_program(server, start, script, tmp_path):
    """It is done when its program has ended well; identity and record are the program's to spare."""
    agent = start(factory_reset=script())
    server.next_manage()
    assert server.ask(REBOOT, {"reqId": "a"})["rc"] == 501
    for number in (1, 2):
        assert server.ask(RESET, {"reqId": f"b{number}"}) == {"rc": 202, "reqId": f"b{number}"}
        server.next_manage()
        assert count(tmp_path) == number
    assert not agent.find("error", "management", "action-failed")
    assert json.dumps([body for _, body in server.all]).count('"rc": 202') == 2


def test_the_program_outlives_the_agent(server, start, script, tmp_path):
    """A program that has the agent ended goes on."""
    waiting = f"while ! [ -e {tmp_path / 'go'} ]; do sleep 0.05; done"
    agent = start(factory_reset=script(f"{waiting}; echo > {tmp_path / 'end'}"))
    server.next_manage()
    assert server.ask(RESET, {"reqId": "a"})["rc"] == 202
    wait_until(lambda: count(tmp_path), DEADLINE, "the reset begins")
    assert agent.stop() == 0
    (tmp_path / "go").touch()
    wait_until((tmp_path / "end").exists, DEADLINE, "the reset goes on")


@pytest.fixture
def start_actions(broker, run_agent, machine, server, tmp_path):
    """Starts a managed agent whose bundle `acme-tools-v1` has an action `do`, a program that does `body`."""
    def run(body, **keys):
        path = tmp_path / "do"
        path.write_text(f"#!/bin/sh\necho x >> {tmp_path / 'ran'}\n{body}\n")
        path.chmod(0o755)
        agent = run_agent(broker.port, {
            "management": {}, **status("1h", 1, a="constant:1"),
            "action acme-tools-v1/do": {"run": path, **keys},
            "action acme-tools-v1/no": {"run": tmp_path / "nothing"}}, prefix=machine.prefix)
        agent.wait_log("info", "management", "managed")
        return agent
    return run


ACTION = "mgmt/custom/acme-tools-v1/do"


def test_a_custom_action(server, start_actions, tmp_path):
    """It has its parameters in the environment and on its input; the answer comes when it has ended."""
    start_actions(f"env > {tmp_path / 'environment'}; cat > {tmp_path / 'input'}; "
                  f"while ! [ -e {tmp_path / 'go'} ]; do sleep 0.05; done")
    assert server.next_manage()["d"]["supports"] == {
        "deviceActions": False, "firmwareActions": False, "acme-tools-v1": True}
    fields = [{"field": "seconds", "value": "30"}, {"field": "a.b-c", "value": "x; rm -rf /\n$(id) \u00e4"}]
    server.send(ACTION, json.dumps({"d": {"fields": fields}, "reqId": "c-9"}))
    wait_until(lambda: count(tmp_path), DEADLINE, "it begins")
    # Whatever else is asked for meanwhile has its answer first.
    assert server.ask("cancel", {"d": {"fields": []}, "reqId": "c"}) == {"rc": 200, "reqId": "c"}
    (tmp_path / "go").touch()
    assert server.answers.get(timeout=DEADLINE) == {"rc": 200, "reqId": "c-9"}
    environment = (tmp_path / "environment").read_text()
    for variable in ("MOTE_COMMAND=acme-tools-v1/do", "MOTE_PARAM_a_b_c=x; rm -rf /\n$(id) \u00e4",
                     "MOTE_PARAM_seconds=30"):
        assert f"{variable}\n" in environment
    names = {line.split("=")[0] for line in environment.splitlines() if "=" in line}
    assert names <= {"PATH", "PWD", "OLDPWD", "SHLVL", "_", "MOTE_COMMAND", "MOTE_PARAM_a_b_c", "MOTE_PARAM_seconds"}
    assert json.loads((tmp_path / "input").read_text()) == {"fields": fields}


def test_a_custom_action_that_fails(server, start_actions, tmp_path):
    agent = start_actions("cat > /dev/null; echo trying; echo no such device >&2; exit 3")
    assert server.ask(ACTION, {"reqId": "a"}) == {"rc": 500, "reqId": "a", "message": "status 3: no such device"}
    agent.wait_log("warning", "management", "action-ended", action="acme-tools-v1/do", outcome="failed", status="3")
    for action, request_, answer in (
            ("no", {"reqId": 1}, {"rc": 500, "reqId": 1, "message": "not-executable"}),
            ("none", {"reqId": 2}, {"rc": 501, "reqId": 2, "message": "not supported"}),
            ("do", {"reqId": 3, "d": []}, {"rc": 400, "reqId": 3, "message": "refused"}),
            ("do", {"reqId": 4, "d": {"fields": [{"field": "a b", "value": 1}]}},
             {"rc": 400, "reqId": 4, "message": "refused"})):
        assert server.ask(f"mgmt/custom/acme-tools-v1/{action}", request_) == answer
    assert count(tmp_path) == 1


def test_a_custom_action_at_the_agents_end(server, start_actions, tmp_path):
    """It ends with the agent, and that is answered while it can be."""
    agent = start_actions(f"trap '' TERM; sleep 60; echo > {tmp_path / 'end'}")
    server.send(ACTION, '{"reqId":"a"}')
    wait_until(lambda: count(tmp_path), DEADLINE, "it begins")
    assert agent.stop() == 0
    assert server.answers.get(timeout=DEADLINE) == {"rc": 500, "reqId": "a", "message": "interrupted"}
    assert not (tmp_path / "end").exists()


def test_a_custom_action_outlasts_a_connection(server, start_actions, broker, tmp_path):
    agent = start_actions(f"while ! [ -e {tmp_path / 'go'} ]; do sleep 0.05; done")
    server.send(ACTION, '{"reqId":"a"}')
    wait_until(lambda: count(tmp_path), DEADLINE, "it begins")
    agent.configuration.write_text(agent.configuration.read_text().replace("1h", "2h"))
    agent.reload()
    (tmp_path / "go").touch()
    assert server.answers.get(timeout=DEADLINE) == {"rc": 200, "reqId": "a"}
    assert count(tmp_path) == 1
