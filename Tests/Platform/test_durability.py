"""What is kept: durable sessions, their messages, registrations; over lost connections and SIGKILL."""

import contextlib
import http.client
import random
import resource
import sqlite3
import stat
import subprocess
import time

import pytest

from harness.waiting import DEADLINE, wait_until
from rest import api

EVENTS = "iot-2/type/+/id/+/evt/+/fmt/+"


@pytest.mark.parametrize("qos", [1, 2])
def test_commands_wait(service, device, application, qos):
    """Commands for a durable session that is not connected are delivered later, in order."""
    first = device(service, clean=False)
    assert not first.session_present
    first.subscribe("iot-2/cmd/+/fmt/+", qos=2)
    first.close()
    commander = application(service)
    for number in range(30):
        commander.publish(f"iot-2/type/edge/id/e1/cmd/c{number}/fmt/json", str(number), qos=qos)
    second = device(service, clean=False)
    assert second.session_present
    assert [second.next().payload for _ in range(30)] == [str(number).encode() for number in range(30)]
    second.nothing(0.2)


def modes(folder):
    """Who may what with a folder and the files in it."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}


def test_files_are_the_users_alone(durable):
    """Hashes, events and addresses: nobody else reads them, also where an older version had let them."""
    folder = durable.folder / "data"
    expected = {"data": 0o700, "platform.sqlite": 0o600, "platform.sqlite-wal": 0o600}
    assert modes(folder).items() >= expected.items()
    durable.stop()
    folder.chmod(0o755)
    (folder / "platform.sqlite").chmod(0o644)
    durable.start()
    assert modes(folder).items() >= expected.items()
    assert not [name for name, mode in modes(folder).items() if mode & 0o077]


def test_folder_of_other_things(start_service, tmp_path):
    """A folder that is not the platform's stays open to whom it was; what the platform keeps in it is closed."""
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    (folder / "other").write_text("")
    service = start_service("--data", folder)
    service.wait_log("store", "folder-open-to-others", folder=folder)
    assert modes(folder)["shared"] == 0o755
    assert modes(folder)["platform.sqlite"] == 0o600


def test_last_events_outlive_a_stop(durable, device):
    """Last events are there after a stop at once, and after SIGKILL those of ten seconds ago."""
    device(durable).publish("iot-2/evt/status/fmt/json", {"d": {"n": 1}})
    durable.stop()
    durable.start()
    found = api(durable, "GET", "/device/types/edge/devices/e1/events").json
    assert [event["eventId"] for event in found] == ["status"]


def test_clean_session_discards(service, device, application):
    """A clean session discards what was there."""
    first = device(service, clean=False)
    first.subscribe("iot-2/cmd/+/fmt/+")
    first.close()
    application(service).publish("iot-2/type/edge/id/e1/cmd/c/fmt/json", "{}")
    device(service, clean=True).close()
    third = device(service, clean=False)
    assert not third.session_present
    third.nothing(0.3)


def test_unacknowledged_comes_again(service, device, application):
    """What was in flight when the connection broke is sent again, marked as a repetition."""
    first = device(service, clean=False)
    first.subscribe("iot-2/cmd/+/fmt/+", qos=1)
    first.client.loop_stop()
    application(service).publish("iot-2/type/edge/id/e1/cmd/c/fmt/json", "{}")
    first.drop()
    second = device(service, clean=False)
    assert second.next().dup


def test_queue_is_bounded(start_service, device, application):
    """Of more messages than a session may hold the newest are kept."""
    service = start_service("--rates", "unlimited")
    first = device(service, clean=False)
    first.subscribe("iot-2/cmd/+/fmt/+")
    first.close()
    commander = application(service)
    commander.client.max_inflight_messages_set(500)
    for number in range(5100):
        commander.client.publish("iot-2/type/edge/id/e1/cmd/c/fmt/json", str(number), 1)
    commander.publish("iot-2/type/edge/id/e1/cmd/c/fmt/json", "last")
    second = device(service, clean=False)
    assert second.next().payload == b"101"


def test_survives_kill(durable, device, application):
    """Registrations, sessions and messages are there after SIGKILL."""
    first = device(durable, clean=False)
    first.subscribe("iot-2/cmd/+/fmt/+", qos=2)
    first.close()
    commander = application(durable)
    for qos in (1, 2):
        commander.publish("iot-2/type/edge/id/e1/cmd/c/fmt/json", str(qos), qos=qos)
    durable.kill()
    durable.start()
    second = device(durable, clean=False)
    assert second.session_present
    assert [second.next().payload for _ in range(2)] == [b"1", b"2"]


def test_makes_an_api_key(durable):
    """A platform with registered keys makes none; its database is nobody else's business."""
    assert durable.stop() == 0
    assert not (durable.folder / "data/api-key").exists()


def test_first_key_and_its_file(motectl, tmp_path):
    """The first API key is never without its file: where that cannot be written there is no key, but a refusal."""
    data = tmp_path / "data"
    (data / "api-key").mkdir(parents=True)
    words = [motectl, "platform", "--mqtt", "0", "--http", "0", "--data", data]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78 and "api-key" in done.stderr
    (data / "api-key").rmdir()
    with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline().rsplit(":", 1)[1])
            assert stat.S_IMODE((data / "api-key").stat().st_mode) == 0o600
            key, token = [line.split("=", 1)[1] for line in (data / "api-key").read_text().splitlines()]
            service = type("Ports", (), {"ports": {"http": port}})
            assert api(service, "GET", "/device/types", auth=(key, token)).status == 200
        finally:
            process.terminate()
    assert [path.name for path in data.glob("api-key*")] == ["api-key"]


def execute(service, statement):
    """Changes the database of a platform that does not run."""
    with contextlib.closing(sqlite3.connect(service.folder / "data" / "platform.sqlite")) as database:
        database.execute(statement)
        database.commit()


def test_refused_for_good(durable):
    """What the database will never take is not tried again for ever: the program ends, status 70."""
    durable.stop()
    execute(durable, "CREATE TRIGGER never BEFORE INSERT ON type BEGIN SELECT RAISE(ABORT, 'never'); END")
    durable.start()
    with pytest.raises((OSError, http.client.HTTPException)):
        api(durable, "POST", "/device/types", {"id": "new"})
    assert durable.process.wait(10) == 70
    durable.wait_log("store", "commit-failed")
    durable.wait_log("store", "given-up")


@pytest.mark.parametrize("statement, row", [
    ("UPDATE device SET record = '{\"typeID\":7}' WHERE deviceID = 'e2'",
     'table device, row typeID="edge" deviceID="e2"'),
    ("UPDATE type SET record = x'00ff' WHERE id = 'sensor'", 'table type, row id="sensor"'),
    ("INSERT INTO bundle (id, record) VALUES ('tools', 'no JSON')", 'table bundle, row id="tools"'),
    ("INSERT INTO message VALUES (1, 2, 'text', x'00', 1000, 0)", "table message, row session=1 sequence=2"),
])
def test_damaged_row(durable, motectl, statement, row):
    """A row that is no record of ours is named, and the exit status is that of a damaged database."""
    durable.stop()
    execute(durable, statement)
    done = subprocess.run([motectl, "platform", "--mqtt", "0", "--http", "0", "--data", durable.folder / "data"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 65, done.stderr
    assert row in done.stderr.replace('\\"', '"'), done.stderr


def is_acknowledged(message):
    """Not paho's `is_published`, which throws for what was published between two connections."""
    return message._published  # pylint: disable=protected-access


@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_acknowledged_is_lost(durable, device, application, qos):
    """Killed over and over in the middle of traffic: all that was published arrives in the end, and with QoS 2 once."""
    receiver = application(durable, "keeper", clean=False)
    receiver.subscribe(EVENTS, qos=2)
    receiver.close()
    sender = device(durable, clean=False)
    sent = []
    for turn in range(6):
        end, before = time.monotonic() + random.uniform(0.3, 0.8), sum(map(is_acknowledged, sent))
        while time.monotonic() < end or sum(map(is_acknowledged, sent)) < before + 3:
            sent.append(sender.client.publish("iot-2/evt/status/fmt/json", str(len(sent)), qos))
            time.sleep(0.01)
        durable.kill()
        sender.wait_closed()
        sender.client.loop_stop()
        durable.start()
        # The same session of the same client: it sends again what was not acknowledged.
        sender.client.reconnect()
        sender.client.loop_start()
        code, present = sender.codes.get(timeout=DEADLINE)
        assert (code, present) == (0, True), f"turn {turn}"
    wait_until(lambda: all(map(is_acknowledged, sent)), 2 * DEADLINE, "all acknowledgements")
    collector = application(durable, "keeper", clean=False)
    assert collector.session_present
    wait_until(lambda: len({message.payload for message in collector.all}) == len(sent), DEADLINE, "all messages")
    collector.catch_up()
    received = [int(message.payload) for message in collector.all]
    if qos == 2:
        assert received == list(range(len(sent)))


def test_second_platform_is_refused(durable, motectl, start_service):
    """A database has one platform at a time."""
    done = subprocess.run([motectl, "platform", "--mqtt", "0", "--http", "0", "--data", durable.folder / "data"],
                          capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 65, done.stderr
    assert "locked" in done.stderr


def test_damaged_database(durable, motectl):
    """A database that is none is refused, with a message."""
    durable.stop()
    for path in (durable.folder / "data").glob("platform.sqlite*"):
        path.write_bytes(b"rubbish" * 1000)
    done = subprocess.run([motectl, "platform", "--mqtt", "0", "--http", "0", "--data", durable.folder / "data"],
                          capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 65, done.stderr


def test_full_disk(durable, device, application):
    """What cannot be stored is not acknowledged, until there is room again; nothing is lost."""
    keeper = application(durable, "keeper", clean=False)
    keeper.subscribe(EVENTS)
    keeper.close()
    sender = device(durable)
    # No file may grow any more.
    _, hard = resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
    sent = sender.client.publish("iot-2/evt/status/fmt/json", "x" * 10_000, 1)
    durable.wait_log("store", "commit-failed")
    time.sleep(0.5)
    assert not sent.is_published()
    # The others are served meanwhile.
    live = application(durable, "live")
    live.subscribe(EVENTS, qos=0)
    sender.client.publish("iot-2/evt/status/fmt/json", "live", 0)
    assert live.next().payload == b"live"
    refusal = api(durable, "POST", "/device/types/edge/devices", {"deviceId": "late"})
    assert refusal.status == 503 and "may still be made" in refusal.message
    resource.prlimit(durable.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    sent.wait_for_publish(DEADLINE)
    assert sent.is_published()
    # It was made, with a token that nobody has: another one is there for the asking.
    assert api(durable, "POST", "/device/types/edge/devices", {"deviceId": "late"}).status == 409
    token = api(durable, "POST", "/device/types/edge/devices/late/token").json["authToken"]
    event = "/device/types/edge/devices/late/events/status"
    assert api(durable, "POST", event, {"d": {}}, ("use-token-auth", token)).status == 200
    durable.kill()
    durable.start()
    assert len(application(durable, "keeper", clean=False).next().payload) == 10_000
