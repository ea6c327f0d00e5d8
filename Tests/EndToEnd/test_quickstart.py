"""Quickstart: anyone's device, with the little that it may do."""

import json
import re
import signal
import time

from harness import packets
from harness.packets import CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE


def test_quickstart_keeps_the_rules_of_quickstart(start_peer, start_agent):
    peer = start_peer()
    agent = start_agent("quickstart", "--host", "127.0.0.1", "--port", peer.port, "--for", "6s")
    connection = peer.accept()
    fields = connection.expect(CONNECT).connect
    assert (fields["user"], fields["password"], fields["will"], fields["clean"]) == (None, None, None, True)
    assert re.fullmatch(r"d:quickstart:[A-Za-z0-9_.-]{1,36}:[A-Za-z0-9_.-]{1,36}", fields["client"]), fields["client"]
    assert agent.wait_end() == 0
    connection.wait_ended()
    sent = connection.all(PUBLISH)
    assert len(sent) >= 3
    assert not connection.all(SUBSCRIBE) and not connection.all(UNSUBSCRIBE)
    for one in sent:
        assert one.qos == 0 and not one.retain and not one.dup
        assert re.fullmatch(r"iot-2/evt/[A-Za-z0-9_.-]{1,36}/fmt/json", one.topic)
    # At most one message a second, those aside that a busy machine made late.
    times = [one.moment for one in sent]
    gaps = sorted(later - earlier for earlier, later in zip(times, times[1:]))
    assert gaps[len(gaps) // 2] > 0.9 and len(gaps) <= 1 + times[-1] - times[0], times
    assert connection.received[-1].kind == DISCONNECT
    assert agent.output == b""


def test_quickstart_sends_this_machines_values_in_a_flat_object(start_peer, start_agent):
    peer = start_peer()
    start_agent("quickstart", "--host", "127.0.0.1", "--port", peer.port)
    connection = peer.accept()
    connection.expect(PUBLISH)
    payload = json.loads(connection.expect(PUBLISH).payload)
    values = payload["d"]
    assert values and all(isinstance(value, (int, float, str, bool)) for value in values.values()), values
    numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
    assert len(numbers) >= 3, values


def test_type_and_id_can_be_given_and_are_random_otherwise(start_peer, start_agent):
    peer = start_peer()
    given = ("--type", "lamp", "--id", "kitchen-1")
    identities, waits = [], []
    for more in (given, (), ()):
        begin = time.monotonic()
        start_agent("quickstart", "--host", "127.0.0.1", "--port", peer.port, *more)
        identities.append(peer.accept().expect(CONNECT).connect["client"])
        waits.append(time.monotonic() - begin)
    assert identities[0] == "d:quickstart:lamp:kitchen-1"
    assert identities[1] != identities[2]
    # There is no random delay of up to ten seconds before the first connection: somebody is watching.
    assert sorted(waits)[1] < 2, waits


def test_quickstart_ignores_what_a_server_sends(start_peer, start_agent):
    peer = start_peer()
    agent = start_agent("quickstart", "--host", "127.0.0.1", "--port", peer.port)
    connection = peer.accept()
    connection.expect(PUBLISH)
    connection.send(packets.command("interval", '{"d":{"interval":"100ms"}}', 1, 3))
    time.sleep(2.5)
    sent = [one for one in connection.all(PUBLISH) if "/command/" in one.topic]
    assert all(one.qos == 0 for one in connection.all(PUBLISH)), "an outcome at QoS 1"
    assert not sent and agent.is_running()


def test_a_hangup_ends_it_as_there_is_no_file_to_read_again(start_peer, start_agent):
    peer = start_peer()
    agent = start_agent("quickstart", "--host", "127.0.0.1", "--port", peer.port)
    connection = peer.accept()
    connection.expect(PUBLISH)
    agent.signal(signal.SIGHUP)
    assert agent.wait_end() == 0
    agent.wait_log("info", "agent", "stopping", reason="SIGHUP")
    connection.wait_ended()
    assert connection.received[-1].kind == DISCONNECT


def test_credentials_in_the_environment_stay_there(start_peer, start_agent):
    peer = start_peer()
    start_agent("quickstart", "--host", "127.0.0.1", "--port", peer.port,
                environment={"WIOTP_AUTH_TOKEN": "abc", "WIOTP_IDENTITY_ORGID": "ab12cd"})
    fields = peer.accept().expect(CONNECT).connect
    assert (fields["user"], fields["password"]) == (None, None)
    assert fields["client"].startswith("d:quickstart:")
