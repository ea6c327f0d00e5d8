"""Events: what arrives, when, and what happens when sensors misbehave."""

import datetime
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from harness.configuration import ORGANIZATION, TYPE, seldom, status
from harness.files import overwrite, put
from harness.waiting import DEADLINE, wait_until

# Runs a program whose standard error is what JOURNAL_STREAM says, and prints what came out of it.
WITH_JOURNAL = """
import os, subprocess, sys
read, write = os.pipe()
stream = os.fstat(write)
subprocess.Popen(sys.argv[1:], stderr=write, env={"JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"})
os.close(write)
sys.stdout.write(os.fdopen(read).read())
"""
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def moment_of(event):
    """The time stamp in an event, in seconds."""
    text = event.json["ts"]
    assert TIMESTAMP.fullmatch(text), text
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@pytest.mark.core
def test_an_event_arrives_with_exact_numbers_and_its_time(broker, platform, run_agent):
    began = time.time()
    agent = run_agent(broker.port, status(
        "300ms", 1, tenth="constant:0.1", negative="constant:-0.050",
        scaled={"read": "constant:1234", "scale": "0.805664", "offset": "-12"},
        large="constant:123456789012345678", word={"read": "constant:say \"hi\" \\ ü", "type": "text"},
        flag={"read": "constant:on", "type": "boolean"}))
    event = platform.next_event("status")
    assert event.topic == "iot-2/evt/status/fmt/json"
    # (1234 - 12) × 0.805664, to the last digit: no binary fraction comes near it.
    numbers = '"tenth":0.1,"negative":-0.05,"scaled":984.521408,"large":123456789012345678'
    assert event.text.startswith('{"d":{' + numbers + ","), event.text
    assert event.data["word"] == 'say "hi" \\ ü' and event.data["flag"] is True
    assert began - 0.001 < moment_of(event) <= time.time()
    assert not event.retain and event.qos == 1
    agent.wait_log("info", "mqtt", "connected", session="new")
    assert agent.find("info", "agent", "starting")[0].fields["client-id"] == "d:ab12cd:edge:e7-0042"
    memory = agent.find("info", "agent", "memory")[0].fields
    terms = {name: int(value) for name, value in memory.items()}
    assert terms.pop("total") == sum(terms.values()) > 0 and len(terms) >= 4, memory


def test_events_keep_their_intervals_without_drift(broker, platform, run_agent):
    run_agent(broker.port, {
        **status("500ms", 0, up="uptime"),
        "event slow": {"interval": "1s", "qos": 1}, "sensor b": {"event": "slow", "read": "uptime"}})
    wait_until(lambda: len(platform.named("status")) > 12 and len(platform.named("slow")) > 6, DEADLINE, "some events")
    # Each is due at a multiple of its interval in the time since the machine's start, told in hundredths of a second.
    fast, slow = ([round(event.data[sensor] * 100) for event in platform.named(name)[1:]]
                  for name, sensor in (("status", "up"), ("slow", "b")))
    for times, interval in ((fast, 50), (slow, 100)):
        assert len({time // interval for time in times}) == len(times), f"twice in an interval: {times}"
        # A busy machine makes some late, but not later and later.
        late = [time % interval for time in times]
        assert min(late[len(late) // 2:]) < 10, f"interval {interval}: late by {late}"
    # Related intervals come due together: one wake-up serves both, unless it was interrupted between them.
    distances = sorted(min(abs(time - other) for other in fast) for time in slow)
    assert distances[len(distances) // 2] < 5, distances


def test_events_that_are_more_than_a_packet_holds_all_arrive(broker, platform, run_agent):
    names = [f"e{number}" for number in range(12)]
    sections = {f"event {name}": {"interval": "500ms", "qos": 0} for name in names}
    sections.update({f"sensor {name}": {"event": name, "read": f"constant:{'x' * 200}", "type": "text"}
                     for name in names})
    run_agent(broker.port, {"mqtt": {"packet-size": "1KB"}, **sections})
    # Due together, they are sent one packet's size after the other.
    wait_until(lambda: min(len(platform.named(name)) for name in names) >= 4, DEADLINE, "some of each")
    counts = [len(platform.named(name)) for name in names]
    assert max(counts) - min(counts) <= 1, counts


def test_qos_2_events_arrive_once_each(broker, platform, run_agent):
    run_agent(broker.port, status("200ms", 2, up="uptime"))
    wait_until(lambda: len(platform.named("status")) >= 10, DEADLINE, "some events")
    stamps = [event.json["ts"] for event in platform.named("status")]
    assert len(set(stamps)) == len(stamps)


def test_kernel_sensors_have_the_kernels_values(broker, platform, run_agent):
    run_agent(broker.port, status(
        "1s", 1, load="loadavg:1", available="memory:available", used="memory:used", uptime="uptime",
        received="network:lo/rx-bytes", free="disk:/free", usage="cpu:usage"))
    platform.next_event("status")
    data = platform.next_event("status").data
    with open("/proc/loadavg", encoding="ascii") as file:
        assert abs(data["load"] - float(file.read().split()[0])) < 5
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    assert abs(data["available"] - memory["MemAvailable"]) < 2**30
    assert abs(data["used"] - (memory["MemTotal"] - memory["MemAvailable"])) < 2**30
    with open("/proc/uptime", encoding="ascii") as file:
        assert 0 <= float(file.read().split()[0]) - data["uptime"] < DEADLINE
    assert data["received"] > 0 and 0 <= data["usage"] <= 100
    filesystem = os.statvfs("/")
    assert abs(data["free"] - filesystem.f_bfree * filesystem.f_frsize) < 2**33


def test_a_sensor_that_vanishes_is_left_out_and_logged_once(broker, platform, run_agent, tmp_path):
    source = tmp_path / "level"
    source.write_text("21.50\n")
    agent = run_agent(broker.port, status("200ms", 1, level=f"file:{source}", other="constant:1"))
    assert platform.next_event("status").text.startswith('{"d":{"level":21.5,"other":1}')

    overwrite(source, "22.00\n")
    platform.next_event("status", where=lambda event: event.data["level"] == 22)

    source.unlink()
    platform.next_event("status", where=lambda event: event.data == {"other": 1})
    agent.wait_log("warning", "sensor", "failed", sensor="level", reason="not-found")
    time.sleep(1)
    assert len(agent.find("warning", "sensor", "failed")) == 1

    put(source, "-3.25\n")
    platform.next_event("status", where=lambda event: event.data.get("level") == -3.25)
    agent.wait_log("info", "sensor", "recovered", sensor="level")
    assert len(agent.find("info", "sensor", "recovered")) == 1


def test_a_file_replaced_by_another_is_read_anew(broker, platform, run_agent, tmp_path):
    source, fresh = tmp_path / "level", tmp_path / "fresh"
    source.write_text("1\n")
    run_agent(broker.port, status("200ms", 1, level=f"file:{source}"))
    platform.next_event("status", where=lambda event: event.data["level"] == 1)
    fresh.write_text("2\n")
    fresh.rename(source)
    platform.next_event("status", where=lambda event: event.data["level"] == 2)


def test_a_file_that_is_missing_at_the_start_is_used_when_it_comes(broker, platform, run_agent, tmp_path):
    agent = run_agent(broker.port, status("200ms", 1, level=f"file:{tmp_path / 'late'}", other="constant:1"))
    assert platform.next_event("status").data == {"other": 1}
    agent.wait_log("warning", "sensor", "failed", sensor="level", reason="not-found")
    put(tmp_path / "late", "7")
    platform.next_event("status", where=lambda event: event.data.get("level") == 7)


@pytest.mark.core
def test_a_source_that_blocks_stalls_nothing(broker, platform, run_agent, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The event with the blocking source may wait for it as long as the source's time limit; the other one may not.
    agent = run_agent(broker.port, {
        "agent": {"source-timeout": "500ms"}, **status("200ms", 1, good="constant:1"),
        "event stuck": {"interval": "1s", "qos": 1},
        "sensor fifo": {"event": "stuck", "read": f"file:{fifo}"},
        "sensor calm": {"event": "stuck", "read": "constant:2"}})
    agent.wait_log("warning", "sensor", "failed", sensor="fifo")
    assert platform.next_event("stuck").data == {"calm": 2}
    platform.forget()
    times = [moment_of(platform.next_event("status")) for _ in range(15)]
    # Most come in time, even on a busy machine.
    gaps = sorted(later - earlier for earlier, later in zip(times, times[1:]))
    assert gaps[len(gaps) // 2] < 0.3, gaps
    assert agent.stop() == 0


@pytest.fixture
def slow_files(tmp_path):
    """A folder with a file `slow1` that takes 0.3 seconds to be read."""
    folder = tmp_path / "slow"
    folder.mkdir()
    script = pathlib.Path(__file__).parents[1] / "LinuxHostTests/slowfiles.py"
    with subprocess.Popen([sys.executable, script, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        ready = server.stdout.readline()
        if not ready.startswith(b"ready"):
            pytest.skip(ready.decode())
        yield folder
        server.stdin.close()


@pytest.mark.native
def test_a_late_value_is_in_the_next_event_and_carries_its_age(broker, platform, run_agent, slow_files):
    # A quarter of its interval is less than the sensor takes.
    agent = run_agent(broker.port, {
        **status("1s", 1, late=f"file:{slow_files}/slow1", other="constant:1"),
        "agent": {"align": "yes", "source-timeout": "30s"}})
    assert platform.next_event("status").data == {"other": 1}
    event = platform.next_event("status", where=lambda event: "late" in event.data)
    # The event's time is not that of the value: the age says by how much.
    assert list(event.data) == ["late", "late-age", "other"], event.text
    assert 0.3 <= event.data["late-age"] <= 30, event.text
    assert not agent.find("warning", "sensor", "failed")


def test_rubbish_and_huge_files_are_survived(broker, platform, run_agent, tmp_path):
    contents = {
        "empty": b"", "blank": b"\n \n", "words": b"no value here\n", "binary": bytes(range(256)) * 8,
        "zeros": b"\0" * 5000, "infinite": b"nan inf -inf\n", "digits": b"9" * 3000, "huge": b"x" * 5_000_000,
        "unit": b"45000 mC\n", "hexadecimal": b"0x2a\n", "comma": b"12,5\n", "tail": b"45000\n\0",
    }
    sensors = {"good": "constant:1"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        sensors[name] = f"file:{tmp_path / name}"
    sensors["folder"] = f"file:{tmp_path}"
    sensors["endless"] = "file:/dev/zero"
    # A field at the beginning of a huge file is a value like any other.
    (tmp_path / "long").write_bytes(b"level: 42 " + b"y" * 1_000_000)
    sensors["long"] = {"read": f"file:{tmp_path / 'long'}", "field": "level"}
    agent = run_agent(broker.port, status("300ms", 1, **sensors))
    platform.next_event("status")
    data = platform.next_event("status", where=lambda event: "long" in event.data).data
    assert data["good"] == 1 and data["long"] == 42
    for name in ("empty", "blank", "words", "zeros", "infinite", "digits", "huge", "unit", "hexadecimal", "comma",
                 "tail", "folder", "endless"):
        assert name not in data, f"{name} gave {data[name]!r}"
        agent.wait_log("warning", "sensor", "failed", sensor=name)
        assert len(agent.find("warning", "sensor", "failed", sensor=name)) == 1, f"{name}:\n{agent.log}"
    assert agent.is_running()


def test_a_named_field_is_found(broker, platform, run_agent, tmp_path):
    source = tmp_path / "fields"
    source.write_text('count: 3\ntemperature = 21.75 C\n{"pressure": 1013.2}\n')
    run_agent(broker.port, status(
        "300ms", 1, t={"read": f"file:{source}", "field": "temperature"},
        p={"read": f"file:{source}", "field": "pressure"}))
    assert platform.next_event("status").data == {"t": 21.75, "p": 1013.2}


def test_an_event_too_large_for_a_packet_is_left_out_and_logged(broker, platform, run_agent, tmp_path):
    # Every byte is escaped to six: no check of the configuration can foresee that.
    source = tmp_path / "text"
    source.write_bytes(b"a" + b"\1" * 240)
    agent = run_agent(broker.port, {
        "mqtt": {"packet-size": "1KB"}, **status("300ms", 1, text={"read": f"file:{source}", "type": "text"})})
    agent.wait_log("error", "event", "too-large")
    put(source, "short")
    assert platform.next_event("status").data == {"text": "short"}


def phase(identifier):
    """The phase of a device, in milliseconds: CRC-32C of its identity, within a week."""
    rest = 0xFFFFFFFF
    for byte in f"{ORGANIZATION}{TYPE}{identifier}".encode():
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
    return (rest ^ 0xFFFFFFFF) % 604_800_000


@pytest.mark.native
@pytest.mark.parametrize("identifier", ["e7-0042", "e7-0043"])
def test_a_device_has_a_phase_of_its_own(broker, platform, run_agent, identifier):
    run_agent(broker.port, {
        "device": {"id": identifier}, "agent": {"align": None},
        **status("1s", 1, up="uptime"), "event slow": {"interval": "2s", "qos": 1},
        "sensor b": {"event": "slow", "read": "uptime"}})
    wait_until(lambda: len(platform.named("slow")) >= 4, DEADLINE, "events")
    # The first is due at once. A busy machine may make some late, and hundredths of a second are cut off.
    ups = [event.data["up"] for event in platform.named("status")][1:]
    slow = [event.data["b"] for event in platform.named("slow")][1:]
    for interval, times in ((1000, ups), (2000, slow)):
        late = sorted((round(up * 1000) + 10 + phase(identifier)) % interval for up in times)
        assert late[len(late) // 2] < 200, (interval, late)


@pytest.mark.native
def test_an_idle_agent_sleeps(broker, platform, run_agent):
    agent = run_agent(broker.port, status(seldom(), 0, a="constant:1"))
    platform.next_event("status")

    def switches():
        with open(f"/proc/{agent.pid}/status", encoding="ascii") as file:
            return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(), re.MULTILINE)[1])

    def switches_in_a_while():
        before = switches()
        time.sleep(4)
        return switches() - before

    # On a busy machine it may have had something left to do.
    assert any(switches_in_a_while() <= 3 for _ in range(5))


@pytest.mark.native
def test_the_journal_gets_priorities(broker, run_agent, tmp_path):
    # systemd names the journal's socket by device and inode; anything else on standard error gets plain lines.
    agent = run_agent(broker.port, status(a="uptime"), environment={"JOURNAL_STREAM": "1:1"})
    agent.wait_connected()
    assert not re.search(r"^<\d>", agent.log, re.MULTILINE)
    def lines_in_the_journal(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", WITH_JOURNAL, *agent.program.command, "run", "--config", str(agent.configuration),
             *arguments], capture_output=True, text=True, timeout=DEADLINE, check=True)
        return done.stdout.splitlines()

    lines = lines_in_the_journal("--for", "500ms")
    assert lines and all(re.match(r"<[3467]>(error|warning|info|debug) ", line) for line in lines), lines
    assert any(line.startswith("<6>info agent starting ") for line in lines)
    # What is wrong with a configuration as well.
    lines = lines_in_the_journal("--log-level", "loud")
    assert lines and all(line.startswith("<3>") for line in lines), lines
