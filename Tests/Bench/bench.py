"""Measures the agent beside its peers, in one run on one machine, and holds it against its budgets.

Scripts/bench builds what is measured and runs this.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import platform as machine
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing
from functools import partial

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
sys.path.append(str(ROOT / "Tests/EndToEnd"))

import budgets  # noqa: E402
import clients  # noqa: E402
import download  # noqa: E402
import growth  # noqa: E402
import measure  # noqa: E402
import tables  # noqa: E402
from budgets import ARMV7, KEEP_ALIVE_SECONDS, KEEP_ALIVES, SETTLE_SECONDS  # noqa: E402
from harness.agent import Agent as Watched, Program  # noqa: E402
from harness.broker import Mosquitto  # noqa: E402
from harness.certificates import Authority  # noqa: E402
from harness.proxy import Proxy  # noqa: E402
from harness.waiting import free_port  # noqa: E402

SYSTEM_TRUST = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
START_ROUNDS = 30
# Agents mostly wait for their next event; the others are as fast as they can.
AGENTS_AT_ONCE = 8
# What turns certificates as they are in a file into bytes.
DECODING = re.compile("base64|pem", re.IGNORECASE)
# How old a file of trusted certificates must be for the agent to note where each of them is: a change within three
# seconds may leave no trace.
TRUST_AGE_SECONDS = 4
# An event's third sensor is the loopback's counter. It has eleven digits before anything is counted, as after a day of
# work: a digit less is some hundred instructions less.
LOOPBACK_COUNTER = pathlib.Path("/sys/class/net/lo/statistics/rx_bytes")
LOOPBACK_BYTES_MIN = 10**10


def call(*words):
    """What a command prints; shows what it complains about when it fails."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: {' '.join(map(str, words))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def progress(text):
    print(text, file=sys.stderr, flush=True)


def fill_loopback_counter():
    """Sends as much over the loopback as its counter lacks; takes some seconds after a start of the machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender, receiver = socket.create_connection(listener.getsockname()), listener.accept()[0]
    buffer = bytearray(1 << 20)
    reader = threading.Thread(target=lambda: all(iter(lambda: receiver.recv_into(buffer), 0)))
    reader.start()
    with sender:
        while int(LOOPBACK_COUNTER.read_text()) < LOOPBACK_BYTES_MIN:
            sender.sendall(bytes(64 << 20))
    reader.join()
    receiver.close()


# MARK: What is measured


def counted_costs(bench, client, qos, tls):
    """Instructions and allocations of an event."""
    return measure.per_event(measure.callgrind, bench, client, qos, tls)


def call_costs(bench, client, qos, tls):
    """System calls of an event."""
    costs = {name: round(count, 2) for name, count in measure.per_event(
        measure.strace, bench, client, qos, tls).items() if count > 0.01}
    return {"system-calls": sum(costs.values()), "system-calls-by-name": costs,
            "system-calls-beyond-reads": sum(
                count for name, count in costs.items() if name not in ("pread64", "read"))}


def measure_memory(bench, client, tls):
    """Resident memory in KB, connected and idle after some messages, and the highest until then."""
    process = client.start(bench, [], 1, tls, 10)
    time.sleep(5)
    fields = measure.memory(process.pid)
    process.communicate(timeout=measure.PATIENCE_SECONDS)
    return fields


def measure_reconnects(bench, agent, broker, peer=None):
    """Instructions of a TLS reconnect, full and resumed; the broker forgets its sessions when it is started anew."""
    counter = measure.Counter(bench.folder)
    proxy = Proxy(broker.port)
    time.sleep(max(0, bench.trust.stat().st_ctime + TRUST_AGE_SECONDS - time.time()))
    path = clients.write_configuration(bench, "reconnect", True, interval="1h", port=proxy.port)
    watched = Watched(Program([str(agent.with_names)], 10), "run", "--config", path, prefix=counter.prefix)
    results = {}
    try:
        watched.wait_connected()
        for count, kind in ((2, "full"), (3, "resumed")):
            time.sleep(1)
            counter.take(watched.process)
            if kind == "full":
                broker.kill()
                broker.start()
            else:
                proxy.cut()
            line = watched.wait_connected(count, timeout=60)
            assert line.fields["resumed"] == ("yes" if kind == "resumed" else "no"), line.text
            time.sleep(1)
            costs = counter.take(watched.process)
            results[kind] = costs.instructions
            if kind == "full":
                results["decoding"] = costs.spent(DECODING)
            results["version"] = line.fields["tls"]
    finally:
        watched.close()
        proxy.close()
    results["share"] = results["resumed"] / results["full"]
    if peer:
        results[peer.name] = measure.once(bench, peer, True) - measure.once(bench, peer, False)
    return results


def measure_start(bench, client):
    """Milliseconds from exec to the first PUBLISH on a broker of ours."""
    port = free_port()
    path = clients.write_configuration(bench, "start", False, interval="10s", qos=0, port=port)
    command = {
        budgets.AGENT: ["run", "--config", path, "--log-level", "error"],
        budgets.MOSQUITTO: ["-h", "127.0.0.1", "-p", port, "-t", clients.TOPIC, "-m", "x"],
        budgets.PAHO: [port, 0, 1]}[client.name]
    lines = call(BUILD / "bench/stopwatch", port, START_ROUNDS, client.program, *command).split()
    times = [float(line) / 1000 for line in lines]
    return {"min": min(times), "median": sorted(times)[len(times) // 2]}


def measure_sizes(peers):
    """Bytes of programs, for the peers with the libraries that they load, C library apart."""
    sizes = {arch: os.path.getsize(BUILD / arch / "mote")
             for arch in tables.ARCHITECTURES if (BUILD / arch / "mote").is_file()}
    for client in peers:
        libraries = [line.split()[2] for line in call("ldd", client.program).splitlines() if "=> /" in line]
        files = [client.program, *(path for path in libraries if "/libc.so" not in path)]
        sizes[client.name] = sum(os.path.getsize(os.path.realpath(path)) for path in files)
    return sizes


def wakeups_per_minute(bench, agent, name, interval):
    """Returns of poll, or of whatever else waits, of an agent with nothing to do but its keep alive and an event at
    each `interval`, counted over whole keep alives from soon behind the connection."""
    sleeper = measure.Sleeper(bench.folder)
    path = clients.write_configuration(bench, name, False, interval=interval, qos=0)
    watched = Watched(Program([str(agent.program)], 10), "run", "--config", path, prefix=sleeper.prefix)
    try:
        watched.wait_connected()
        begun, seconds = time.time() + SETTLE_SECONDS, KEEP_ALIVES * KEEP_ALIVE_SECONDS
        time.sleep(SETTLE_SECONDS + seconds + 1)
        assert watched.is_running(), watched.log
        return sleeper.returns(begun, begun + seconds) / seconds * 60
    finally:
        watched.close()


@dataclasses.dataclass
class Job:
    """A measurement: where its result belongs, and how it is made."""

    path: tuple
    run: typing.Callable
    # The names of its numbers, where others measure more for the same place.
    makes: frozenset = None
    # Whether it mostly waits, or counts what a busy machine does not change, so that others may run meanwhile.
    is_patient: bool = False

    def serves(self, row):
        """Whether a row of the budgets shows what this measures."""
        if row.path[0] == self.path[0] and row.path[-1] in growth.DERIVED:
            return True
        count = len(self.path)
        return row.path[:count] == self.path and (not self.makes or row.path[count] in self.makes)

    def store(self, results):
        """Measures, and puts what it has found into the tree of results."""
        found = self.run()
        for key in self.path[:-1]:
            results = results.setdefault(key, {})
        if isinstance(found, dict):
            results.setdefault(self.path[-1], {}).update(found)
        else:
            results[self.path[-1]] = found


class Bench(clients.Bench):
    """All that is measured, and with what."""

    def __init__(self, arch, *words):
        super().__init__(*words)
        self.equip(arch)

    def equip(self, arch):
        """Names the programs of `arch` that are measured."""
        self.agent = clients.Agent(BUILD / arch / "mote", BUILD / "bench/mote")
        self.eight = clients.Agent(self.agent.program, self.agent.with_names, together=8)
        self.publisher = clients.Publisher(BUILD / "bench/publisher")
        self.mosquitto = clients.MosquittoPub(shutil.which("mosquitto_pub"))
        self.paho = clients.Paho(BUILD / "bench/paho")
        self.floor = clients.Floor(BUILD / f"bench/floor-{arch}")
        self.compared = (self.agent, self.mosquitto, self.paho)

    def jobs(self):
        """Every measurement, in the order in which they are begun."""
        return [*self.idle_jobs(), *self.event_jobs(self.agent, self.eight), *self.armv7_jobs(), *self.growth_jobs(),
                *(dataclasses.replace(job, is_patient=False)
                  for job in self.event_jobs(self.publisher, self.floor, self.mosquitto, self.paho)),
                *self.other_jobs()]

    def idle_jobs(self):
        """How often an agent wakes up that has next to nothing to do."""
        for name, interval in (("idle", budgets.SELDOM), ("events", f"{budgets.OFTEN_SECONDS}s")):
            yield Job(("wake-ups", name), partial(wakeups_per_minute, self, self.agent, name, interval), None, True)

    def event_jobs(self, *compared):
        """What an event takes, plain and over TLS."""
        for client in compared:
            for tls in (False, True) if client.has_tls else (False,):
                for qos in (0, 1) if client.has_acknowledgements else (0,):
                    path = ("event", client.name, "tls" if tls else "plain", str(qos))
                    for cost, makes in ((counted_costs, {"instructions", "allocations"}),
                                        (call_costs, {"system-calls", "system-calls-beyond-reads"})):
                        yield Job(path, partial(cost, self, client, qos, tls), frozenset(makes), True)

    def armv7_jobs(self):
        """The same on armv7, in an emulator."""
        agent = clients.Agent(BUILD / ARMV7 / "mote", None)
        floor = clients.Floor(BUILD / f"bench/floor-{ARMV7}")
        floor.lengths = (100, 500)
        for client in (agent, floor):
            yield Job(("event", client.name, ARMV7, "0"),
                      partial(measure.per_event, measure.emulated, self, client, 0, False), None, True)

    def growth_jobs(self):
        """What may grow."""
        for group, run, keys in (
                ("together", growth.together, budgets.TOGETHER), ("queue", growth.full_queue, budgets.QUEUES),
                ("sensors", growth.start, budgets.SENSORS)):
            for key in keys:
                yield Job((group, str(key)), partial(run, self, self.agent, key), None, True)
        yield Job(("beside",), partial(growth.beside, self, self.agent), None, True)
        yield Job(("text", "byte"), partial(growth.text, self, self.agent), None, True)

    def other_jobs(self):
        """Times, memory and sizes."""
        for client in self.compared:
            yield Job(("start", client.name), partial(measure_start, self, client))
            for tls in (False, True):
                yield Job(("memory", client.name, "tls" if tls else "plain"),
                          partial(measure_memory, self, client, tls))
        yield Job(("reconnect",), partial(measure_reconnects, self, self.agent, self.secure, self.mosquitto))
        yield Job(("reconnect, TLS 1.2",), partial(measure_reconnects, self, self.agent, self.older))
        yield Job(("download",), partial(download.measure, self, self.agent))
        yield Job(("size",), partial(measure_sizes, (self.mosquitto, self.paho)))

    def measure(self, rows):
        """What these rows show, or everything, as a tree of names and numbers."""
        wanted = [job for job in self.jobs() if rows is budgets.ROWS or any(job.serves(row) for row in rows)]
        patient, others = [[job for job in wanted if job.is_patient is kind] for kind in (True, False)]
        results = {}
        with concurrent.futures.ThreadPoolExecutor(AGENTS_AT_ONCE) as pool:
            running = {pool.submit(job.store, results): job for job in patient}
            for count, future in enumerate(concurrent.futures.as_completed(running), 1):
                if future.exception():
                    pool.shutdown(cancel_futures=True)
                future.result()
                progress(f"{count} of {len(wanted)}: {' '.join(running[future].path)}")
        for count, job in enumerate(others, len(patient) + 1):
            job.store(results)
            progress(f"{count} of {len(wanted)}: {' '.join(job.path)}")
        growth.derive(results)
        return results


def open_bench(stack, arch):
    """Brokers, certificates and a folder, which go with `stack`."""
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mote-bench-")))
    authority = Authority(folder / "ca")
    trust = folder / "trust.pem"
    # Among all the authorities that a distribution trusts, as on a device.
    system = SYSTEM_TRUST.read_text() if SYSTEM_TRUST.is_file() else ""
    trust.write_text(system + authority.certificate.read_text())
    options = "set_tcp_nodelay true\nmax_inflight_messages 0"
    plain = Mosquitto(folder / "plain", options=options)
    stack.callback(plain.close)
    secure = Mosquitto(folder / "secure", options=options, certificate=authority.issue())
    stack.callback(secure.close)
    bench = Bench(arch, folder, plain, secure, trust)
    bench.authority = authority
    bench.older = Mosquitto(folder / "older", options=options, certificate=authority.issue(), only_tls_1_2=True)
    stack.callback(bench.older.close)
    stack.callback(bench.close)
    return bench


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="Scripts/bench")
    parser.add_argument("--arch", required=True, help="this machine's")
    parser.add_argument("--json", metavar="FILE", help="write all measurements there, too")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a budget is exceeded")
    parser.add_argument("--only", metavar="WORD", help="only the budgets with this word in their names")
    parser.add_argument("--markdown", action="store_true", help="print the README's tables")
    options = parser.parse_args()
    rows = budgets.ROWS
    if options.only:
        rows = [row for row in rows if options.only.lower() in row.name.lower()]
        rows or sys.exit(f"bench: no budget has '{options.only}' in its name")
    fill_loopback_counter()
    with contextlib.ExitStack() as stack:
        results = open_bench(stack, options.arch).measure(rows)
    results["machine"] = {"arch": options.arch, "kernel": machine.release(), "processors": os.cpu_count()}
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    if options.markdown:
        print(tables.readme(results))
    else:
        if not options.only:
            tables.show(results)
        tables.show_budgets(results, rows)
    missed = [row.name for row in rows if row.verdict(budgets.look_up(results, row.path)) == "EXCEEDED"]
    if missed and options.check:
        sys.exit(f"bench: exceeded: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
