"""An image on its way to an agent over HTTPS: what that takes, beside curl, and what events notice of it."""

import datetime
import hashlib
import os
import pathlib
import resource
import subprocess
import sys
import threading
import time

import clients
from harness.agent import Agent as Watched, Program
from harness.broker import Platform
from harness.machine import Machine, ManagementServer
from harness.waiting import free_port, wait_until

SERVER = pathlib.Path(__file__).parent / "serve.py"
IMAGE_BYTES = 64 << 20
PATIENCE_SECONDS = 120
# A look at processes takes one or two milliseconds.
LOOK_SECONDS = 0.02
# The least interval of an event: so the longest wait is seen.
EVENTS = "100ms"
# An agent at rest has let go of what it started with.
REST_SECONDS = 3
TICKS = os.sysconf("SC_CLK_TCK")


def family(process):
    """A process and its children."""
    try:
        return [process, *map(int, pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split())]
    except OSError:
        return []


def own(process):
    """KB that a process and its children have for themselves, what they share counted once."""
    total = 0
    for member in family(process):
        try:
            lines = pathlib.Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
    return total


def processor_seconds(process):
    """What a process and those children of its that have ended have spent."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


class Watch:
    """Looks at an agent's memory again and again."""

    def __init__(self, process):
        self.most = 0
        self._process, self._is_over = process, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self):
        while not self._is_over.wait(LOOK_SECONDS):
            self.most = max(self.most, own(self._process))

    def close(self):
        """Looks no more."""
        self._is_over.set()
        self._thread.join()


def waits(platform, begin, end):
    """Milliseconds from when each event was read, as it says itself, to when it had come."""
    ahead = time.time() - time.monotonic()
    read = [(event.moment, datetime.datetime.fromisoformat(event.json["ts"]).timestamp())
            for event in platform.events if begin <= event.moment <= end]
    return [1000 * (moment + ahead - stamp) for moment, stamp in read]


def curl(url, trust, into):
    """Seconds that curl takes for the same, and its processor's."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["curl", "--silent", "--fail", "--cacert", trust, "--output", into, url], check=True,
                   timeout=PATIENCE_SECONDS)
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return end - begin, spent


def measure(bench, agent):
    """The download of an image: memory, time, processor, and the wait of events; and what curl takes."""
    folder = bench.folder / "download"
    folder.mkdir()
    image = folder / "image"
    image.write_bytes(os.urandom(IMAGE_BYTES))
    certificate = bench.authority.issue()
    port = free_port()
    server = subprocess.Popen([sys.executable, "-B", SERVER, image, str(port), certificate.certificate,
                               certificate.key])
    machine, management = Machine(folder / "machine"), ManagementServer(bench.plain.side_port)
    platform = Platform(bench.plain.side_port)
    path = clients.write_configuration(
        bench, "download", False, interval=EVENTS, qos=1,
        more={"management": {}, "firmware": {"installer": "command", "run": "/bin/true", "ca-file": bench.trust}})
    watched = Watched(Program([str(agent.program)], 10), "run", "--config", path, prefix=machine.prefix)
    url = f"https://localhost:{port}/image"
    try:
        wait_until(lambda: watched.find("info", "management", "managed"), PATIENCE_SECONDS, "the agent is managed")
        time.sleep(REST_SECONDS)
        connected, spent = own(watched.pid), processor_seconds(watched.pid)
        quiet = max(waits(platform, time.monotonic() - REST_SECONDS, time.monotonic()))
        watch, begin = Watch(watched.pid), time.monotonic()
        record = {"version": "2", "name": "image", "uri": url, "state": 0, "updateStatus": 0, "updatedDateTime": "",
                  "verifier": f"sha256:{hashlib.sha256(image.read_bytes()).hexdigest()}"}
        management.send("device/update", {
            "reqId": "u", "d": {"fields": [{"field": "mgmt.firmware", "value": record}]}})
        management.send("mgmt/initiate/firmware/download", {"reqId": "d"})
        wait_until(lambda: watched.find("info", "firmware", "downloaded"), PATIENCE_SECONDS, "the image is there")
        end = time.monotonic()
        watch.close()
        seconds, spent = end - begin, processor_seconds(watched.pid) - spent
        longest = max(waits(platform, begin, end))
        curls = [curl(url, bench.trust, folder / "copy") for _ in range(3)]
    finally:
        watched.close()
        platform.close()
        management.close()
        server.terminate()
        server.wait()
    times, processors = zip(*curls)
    return {"memory": watch.most - connected, "seconds": seconds, "processor": spent, "wait": longest,
            "wait at rest": quiet, "curl": {"seconds": min(times), "processor": min(processors)},
            "duration": seconds / min(times), "work": spent / min(processors)}
