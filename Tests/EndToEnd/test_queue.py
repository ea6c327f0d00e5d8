"""The queue on flash: what was taken is delivered, whatever happens to the agent, the disk and its files."""

import os
import signal
import subprocess

import pytest

from harness.configuration import seldom, status
from harness.machine import Machine
from harness.waiting import DEADLINE, wait_until
from test_control import ask, report

pytestmark = pytest.mark.native


@pytest.fixture
def start(run_agent, broker, tmp_path, start_proxy):
    """Starts an agent with a queue on flash that reaches the broker through a proxy."""
    machine = Machine(tmp_path / "machine")
    proxy = start_proxy(broker.port)

    def run(*, prefix=None, mqtt=None, **queue):
        keys = {key.replace("_", "-"): value for key, value in {"flush": "each", **queue}.items()}
        sections = {"queue": keys, "mqtt": mqtt or {}, "agent": {"control-socket": tmp_path / "control"},
                    **status(seldom(), 0, a="constant:1")}
        if (tmp_path / "control").exists():
            (tmp_path / "control").unlink()
        agent = run_agent(proxy.port, sections, prefix=prefix or machine.prefix)
        agent.socket = tmp_path / "control"
        wait_until(agent.socket.exists, DEADLINE, "the control socket")
        return agent
    run.proxy, run.state = proxy, machine.state
    return run


def publish(agent, numbers):
    """Has the agent publish events with these numbers."""
    for number in numbers:
        answer = ask(agent.socket, f"publish count --qos 1 n={number}\n".encode()).decode()
        assert answer in ("=0 queued\n", "=0 sent\n"), answer


def on_flash(state):
    """How many records there are in the segments of normal priority."""
    return sum(file.read_bytes().count(b"iot-2/evt/count/") for file in state.glob("queue.*"))


def wait_numbers(platform, expected):
    """Waits until exactly these numbers have come, each once and in their order."""
    def numbers():
        return [event.data["n"] for event in platform.named("count")]
    wait_until(lambda: len(numbers()) >= len(expected), DEADLINE, "all events")
    assert numbers() == list(expected)


def test_events_outlive_an_agent_that_is_killed_without_a_network(start, platform):
    start.proxy.shut()
    agent = start()
    publish(agent, range(200))
    wait_until(lambda: on_flash(start.state) == 200, DEADLINE, "all on flash")
    agent.signal(signal.SIGKILL)
    agent.wait_end()
    # Another one, which is killed as well.
    agent = start()
    publish(agent, range(200, 250))
    wait_until(lambda: on_flash(start.state) == 250, DEADLINE, "all on flash")
    agent.signal(signal.SIGKILL)
    agent.wait_end()
    start.proxy.open()
    agent = start()
    wait_numbers(platform, range(250))
    # Behind an orderly end nothing comes again.
    assert agent.stop() == 0
    agent = start()
    publish(agent, [1000])
    wait_numbers(platform, [*range(250), 1000])


def test_an_agent_that_is_killed_in_the_middle_of_traffic_loses_nothing(start, platform):
    sent = 0
    for _ in range(5):
        agent = start()
        agent.wait_connected()
        publish(agent, range(sent, sent + 40))
        sent += 40
        # What waits in memory for its turn to be written is what `flush` names.
        wait_until(lambda: report(agent.socket)["queued"] == 0, DEADLINE, "everything with the server or on flash")
        agent.signal(signal.SIGKILL)
        agent.wait_end()
    start()
    wait_until(lambda: {event.data["n"] for event in platform.named("count")} >= set(range(sent)), DEADLINE, "all")


def test_a_queue_that_is_larger_than_memory(start, platform):
    start.proxy.shut()
    agent = start(mqtt={"queue-size": "16KB", "packet-size": "8KB"})
    for count in range(100, 1001, 100):
        publish(agent, range(count - 100, count))
        wait_until(lambda count=count: on_flash(start.state) == count, DEADLINE, "all on flash")
    assert sum(file.stat().st_size for file in start.state.glob("queue.*")) > 4 * 16 * 1024
    start.proxy.open()
    wait_numbers(platform, range(1000))
    assert report(agent.socket)["dropped"] == 0
    gap = platform.next_event("queue").data
    assert gap.pop("seconds") <= DEADLINE
    assert gap == {"delivered": 1000, "dropped": 0, "expired": 0, "damaged": 0, "abandoned": 0}
    found = report(agent.socket)
    assert (found["on-flash"], found["flash-delivered"], found["flash-errors"]) == (0, 1000, 0)


def test_what_the_server_confirms_in_time_is_not_written(start, platform):
    agent = start(flush="1h")
    agent.wait_connected()
    publish(agent, range(100))
    wait_numbers(platform, range(100))
    assert agent.stop() == 0
    assert not list(start.state.glob("queue*"))


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system")
def test_a_full_disk_is_waited_for(start, platform, tmp_path):
    start.proxy.shut()
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        (disk / "mote").mkdir()
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
            while file.write(b"x" * 4096):
                pass
        agent = start(prefix=["unshare", "--mount", "sh", "-c", f'mount --bind {disk} /var/lib && exec "$@"', "sh"])
        publish(agent, range(20))
        agent.wait_log("warning", "queue", "not-stored", reason="no-space")
        filler.unlink()
        start.proxy.open()
        wait_numbers(platform, range(20))
        assert len(agent.find("warning", "queue", "not-stored")) == 1
        assert agent.stop() == 0
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_folder_that_is_not_ours_is_named_once(start, platform):
    if os.getuid() == 0:
        # Root may do anything: a folder that is not there is as little use.
        start.state.rmdir()
    else:
        start.state.chmod(0o500)
    agent = start()
    agent.wait_connected()
    publish(agent, range(20))
    wait_numbers(platform, range(20))
    start.proxy.shut()
    publish(agent, range(20, 30))
    agent.wait_log("warning", "queue", "not-stored", reason="read-only")
    start.proxy.open()
    wait_numbers(platform, range(30))
    assert len(agent.find("warning", "queue", "not-stored")) == 1


def test_damaged_files_cost_what_is_damaged(start, platform):
    start.proxy.shut()
    agent = start()
    publish(agent, range(60))
    wait_until(lambda: on_flash(start.state) == 60, DEADLINE, "all on flash")
    agent.signal(signal.SIGKILL)
    agent.wait_end()
    file, = start.state.glob("queue.*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content + b"torn")
    # Of another device: set aside, and not sent as ours.
    other = bytearray(content[:32]) + b"\0" * 100
    other[12] ^= 1
    (start.state / "queue-high.0000000000000001").write_bytes(b"MoQu\0\2" + other[6:])
    start.proxy.open()
    agent = start()
    wait_until(lambda: len(platform.named("count")) == 59, DEADLINE, "all but one")
    numbers = [event.data["n"] for event in platform.named("count")]
    assert numbers == sorted(set(numbers)) and numbers[0] == 0 and numbers[-1] == 59
    agent.wait_log("warning", "queue", "file-set-aside", number=1)
    assert (start.state / "queue-high~0000000000000001").exists()
    assert report(agent.socket)["dropped"] == 1
