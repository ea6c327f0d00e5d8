"""Measures the agent beside its peers, in one run on one machine, and holds it against its budgets.

Scripts/bench builds what is measured and runs this.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import platform as machine
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
sys.path.append(str(ROOT / "Tests/EndToEnd"))

import clients  # noqa: E402
import measure  # noqa: E402
from harness.agent import Agent as Watched, Program  # noqa: E402
from harness.broker import Mosquitto  # noqa: E402
from harness.certificates import Authority  # noqa: E402
from harness.proxy import Proxy  # noqa: E402
from harness.waiting import free_port  # noqa: E402

ARCHITECTURES = ("x86_64", "aarch64", "armv7", "armv6")
SYSTEM_TRUST = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
START_ROUNDS = 30
# What an idle agent's wake-ups are counted over: whole keep alives of the default 60 s, begun soon behind the
# connection, when the agent has let go of what it started with. A ping goes out half a second before a keep alive is
# over, and the first one nearly a keep alive after the beginning: so many keep alives hold as many pings.
KEEP_ALIVE_SECONDS, KEEP_ALIVES, SETTLE_SECONDS = 60, 2, 5
# An idle agent's events: in a week, or so often that whole keep alives hold the same number of them at any moment.
SELDOM, OFTEN_SECONDS = "7d", 20
# All that may wake it, a minute: one ping and its answer for each keep alive; and each event, at QoS 0 without answer.
PINGS_DUE, EVENTS_DUE = 2 * 60 / KEEP_ALIVE_SECONDS, 60 / OFTEN_SECONDS
# Agents mostly wait for their next event; the others are as fast as they can.
AGENTS_AT_ONCE, PEERS_AT_ONCE = 6, 1

AGENT, CLIENT, MOSQUITTO = "Mote, whole event", "Mote's MQTT client alone", "mosquitto_pub -l"

# Name, where the measurement is, unit, what must not be exceeded, what is aimed at.
BUDGETS = (
    ("armv7 binary with every feature", ("size", "armv7"), "KB", 320, 256),
    ("resident memory idle over TLS", ("memory", AGENT, "tls", "Rss"), "KB", 400, 300),
    ("highest resident memory over TLS", ("memory", AGENT, "tls", "VmHWM"), "KB", 512, 384),
    ("resident memory idle, plain", ("memory", AGENT, "plain", "Rss"), "KB", 192, 112),
    ("heap allocations per QoS 0 event", ("event", AGENT, "plain", "0", "allocations"), "", 0, 0),
    ("heap allocations per QoS 1 event", ("event", AGENT, "plain", "1", "allocations"), "", 0, 0),
    ("heap allocations per QoS 1 event over TLS", ("event", AGENT, "tls", "1", "allocations"), "", 0, 0),
    ("system calls per QoS 0 event beyond sensor reads", ("system-calls-beyond-reads",), "", 2, 2),
    ("instructions to send a ready payload, QoS 0", ("event", CLIENT, "plain", "0", "instructions"), "", 442, 250),
    ("instructions to send a ready payload, QoS 1", ("event", CLIENT, "plain", "1", "instructions"), "", 1814, 700),
    ("instructions of a whole event, QoS 0", ("event", AGENT, "plain", "0", "instructions"), "", 5000, 2465),
    ("resumed TLS reconnect, share of a full one", ("reconnect", "share"), "", 1 / 20, 1 / 60),
    ("start to first PUBLISH", ("start", AGENT, "min"), "ms", 1, 0.3),
    ("wake-ups while idle", ("wake-ups", "idle"), "a minute", PINGS_DUE, 1),
    (f"wake-ups, an event every {OFTEN_SECONDS} s", ("wake-ups", "events"), "a minute", PINGS_DUE + EVENTS_DUE,
     1 + EVENTS_DUE),
)


def look_up(results, path):
    """The measurement at a path; None where there is none."""
    for key in path:
        results = results.get(key, {})
    return results if isinstance(results, (int, float)) else None


def call(*words):
    """What a command prints; shows what it complains about when it fails."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: {' '.join(map(str, words))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def progress(text):
    print(text, file=sys.stderr, flush=True)


# MARK: What is measured


def measure_events(bench, compared, at_once):
    """Instructions, allocations and system calls per event, plain and over TLS."""
    results = {}

    def one(tool, client, qos, tls):
        place = results.setdefault(client.name, {}).setdefault("tls" if tls else "plain", {}).setdefault(str(qos), {})
        costs = measure.per_event(tool, bench, client, qos, tls)
        if tool is measure.strace:
            costs = {"system-calls": sum(costs.values()),
                     "system-calls-by-name": {name: round(count, 2) for name, count in costs.items() if count > 0.01}}
        place.update(costs)

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        jobs = [pool.submit(one, tool, client, qos, tls)
                for client in compared for tls in (False, True) if client.has_tls or not tls
                for qos in (0, 1) for tool in (measure.callgrind, measure.strace)]
        for done, job in enumerate(concurrent.futures.as_completed(jobs)):
            if job.exception():
                pool.shutdown(cancel_futures=True)
            job.result()
            progress(f"events: {done + 1} of {len(jobs)}")
    return results


def measure_memory(bench, compared):
    """Resident memory in KB, connected and idle after some messages, and the highest until then."""
    results = {}
    for client in compared:
        for tls in (False, True):
            progress(f"memory of {client.name}{' over TLS' if tls else ''}")
            process = client.start(bench, [], 1, tls, 10)
            time.sleep(5)
            results.setdefault(client.name, {})["tls" if tls else "plain"] = measure.memory(process.pid)
            process.communicate(timeout=measure.PATIENCE_SECONDS)
    return results


def measure_reconnects(bench, agent, peer):
    """Instructions of a TLS reconnect, full and resumed; the broker forgets its sessions when it is started anew."""
    progress("reconnects")
    counter = measure.Counter(bench.folder)
    proxy = Proxy(bench.secure.port)
    path = clients.write_configuration(bench, "reconnect", True, interval="1h", port=proxy.port)
    watched = Watched(Program([str(agent.with_names)], 10), "run", "--config", path, prefix=counter.prefix)
    results = {}
    try:
        watched.wait_connected()
        for count, kind in ((2, "full"), (3, "resumed")):
            time.sleep(1)
            counter.take(watched.process)
            if kind == "full":
                bench.secure.kill()
                bench.secure.start()
            else:
                proxy.cut()
            line = watched.wait_connected(count, timeout=60)
            assert line.fields["resumed"] == ("yes" if kind == "resumed" else "no"), line.text
            time.sleep(1)
            results[kind] = counter.take(watched.process)
            results["version"] = line.fields["tls"]
    finally:
        watched.close()
        proxy.close()
    results["share"] = results["resumed"] / results["full"]
    results[peer.name] = measure.once(bench, peer, True) - measure.once(bench, peer, False)
    return results


def measure_start(bench, agent, paho):
    """Milliseconds from exec to the first PUBLISH on a broker of ours."""
    results = {}
    port = free_port()
    path = clients.write_configuration(bench, "start", False, interval="10s", qos=0, port=port)
    for name, command in (
            (agent.name, [agent.program, "run", "--config", path, "--log-level", "error"]),
            (MOSQUITTO, [shutil.which("mosquitto_pub"), "-h", "127.0.0.1", "-p", port, "-t", clients.TOPIC, "-m", "x"]),
            (paho.name, [paho.program, port, 0, 1])):
        progress(f"start of {name}")
        times = [float(line) / 1000 for line in call(BUILD / "bench/stopwatch", port, START_ROUNDS, *command).split()]
        results[name] = {"min": min(times), "median": sorted(times)[len(times) // 2]}
    return results


def measure_sizes(paho):
    """Kilobytes of programs, for the peers with the libraries that they load, C library apart."""
    sizes = {arch: os.path.getsize(BUILD / arch / "mote") / 1024
             for arch in ARCHITECTURES if (BUILD / arch / "mote").is_file()}
    for client in (clients.MosquittoPub(shutil.which("mosquitto_pub")), paho):
        libraries = [line.split()[2] for line in call("ldd", client.program).splitlines() if "=> /" in line]
        files = [client.program, *(path for path in libraries if "/libc.so" not in path)]
        sizes[client.name] = sum(os.path.getsize(os.path.realpath(path)) for path in files) / 1024
    return sizes


class Idle:
    """An agent with nothing to do but its keep alive and an event at each `interval`, and how often that wakes it."""

    def __init__(self, bench, agent, name, interval):
        self.sleeper = measure.Sleeper(bench.folder)
        path = clients.write_configuration(bench, name, False, interval=interval, qos=0)
        self.watched = Watched(Program([str(agent.program)], 10), "run", "--config", path, prefix=self.sleeper.prefix)

    def begin(self):
        """Waits for the connection; what comes soon behind it does not count."""
        self.watched.wait_connected()
        self.begun = time.time() + SETTLE_SECONDS

    def wakeups_per_minute(self):
        """Returns of poll, or of whatever else waits, counted over whole keep alives from the beginning."""
        seconds = KEEP_ALIVES * KEEP_ALIVE_SECONDS
        time.sleep(max(0, self.begun + seconds + 1 - time.time()))
        assert self.watched.is_running(), self.watched.log
        return self.sleeper.returns(self.begun, self.begun + seconds) / seconds * 60

    def close(self):
        self.watched.close()


def measure_all(bench, arch):
    """Everything, as a tree of names and numbers."""
    agent = clients.Agent(BUILD / arch / "mote", BUILD / "bench/mote")
    publisher, paho = clients.Publisher(BUILD / "bench/publisher"), clients.Paho(BUILD / "bench/paho")
    mosquitto = clients.MosquittoPub(shutil.which("mosquitto_pub"))
    # Agents that have nothing to do, while all others are measured.
    idle = {"idle": Idle(bench, agent, "idle", SELDOM), "events": Idle(bench, agent, "events", f"{OFTEN_SECONDS}s")}
    try:
        for one in idle.values():
            one.begin()
        results = {"start": measure_start(bench, agent, paho)}
        results["memory"] = measure_memory(bench, (agent, mosquitto, paho))
        together = clients.Agent(agent.program, agent.with_names, together=8)
        results["event"] = {**measure_events(bench, (agent, together), AGENTS_AT_ONCE),
                            **measure_events(bench, (publisher, mosquitto, paho), PEERS_AT_ONCE)}
        results["reconnect"] = measure_reconnects(bench, agent, mosquitto)
        progress("wake-ups")
        results["wake-ups"] = {name: one.wakeups_per_minute() for name, one in idle.items()}
    finally:
        for one in idle.values():
            one.close()
    calls = results["event"][agent.name]["plain"]["0"]["system-calls-by-name"]
    beyond = [count for name, count in calls.items() if name not in ("pread64", "read")]
    results["system-calls-beyond-reads"] = sum(beyond)
    results["size"] = measure_sizes(paho)
    return results


# MARK: What is shown


def number(value, digits=0):
    """With thousands apart; a dash for nothing."""
    return "–" if value is None else f"{value:,.{digits}f}"


def table(title, head, rows):
    """Prints a table that Markdown understands too."""
    rows = [head, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    print(f"\n{title}\n")
    for index, row in enumerate(rows):
        print("| " + " | ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) if column == 0 else "-" * (width + 1) + ":"
                                 for column, width in enumerate(widths)) + "|")


def show(results):
    """All tables. × is the ratio to Mote's line for the same job."""
    def cost(name, link, qos, kind, digits=0):
        value = look_up(results["event"], (name, link, qos, kind))
        if value is None:
            return "–"
        base = CLIENT if link == "plain" else AGENT
        mine = look_up(results["event"], (base, link, qos, kind))
        ratio = f" (×{value / mine:.1f})" if kind == "instructions" and mine and not name.startswith("Mote") else ""
        return number(value, digits) + ratio

    for link, title in (("plain", "Per event, plain"), ("tls", "Per event, TLS")):
        table(title, ["", "instructions QoS 0", "QoS 1", "system calls QoS 0", "QoS 1", "allocations QoS 0", "QoS 1"],
              [[name, *(cost(name, link, qos, kind, digits) for kind, digits in (
                  ("instructions", 0), ("system-calls", 2), ("allocations", 2)) for qos in "01")]
               for name, links in results["event"].items() if link in links])
    table("Resident memory in KB", ["", "idle, plain", "highest", "idle, TLS", "highest"],
          [[name, *(number(links[link][field]) for link in ("plain", "tls") for field in ("Rss", "VmHWM"))]
           for name, links in results["memory"].items()])
    table("Start to first PUBLISH in ms", ["", "least", "median"],
          [[name, number(times["min"], 2), number(times["median"], 2)] for name, times in results["start"].items()])
    reconnect = results["reconnect"]
    table(f"Instructions of a TLS connection ({reconnect['version']})", ["", "full", "resumed", "1 in"],
          [["Mote", number(reconnect["full"]), number(reconnect["resumed"]), number(1 / reconnect["share"], 1)],
           [MOSQUITTO, number(reconnect[MOSQUITTO]), "–", "–"]])
    table("Size in KB, with TLS; the peers with their libraries", ["", "KB"],
          [[f"Mote {name}" if name in ARCHITECTURES else name, number(size)] for name, size in results["size"].items()])


def judge(results):
    """The table of budgets; the names of those exceeded, or not measured."""
    rows, missed = [], []
    for name, path, unit, budget, aim in BUDGETS:
        value = look_up(results, path)
        # What is counted over many events is not whole.
        verdict = ("not measured" if value is None else "EXCEEDED" if value > budget + 0.005
                   else "within" if value > aim + 0.005 else "aim reached")
        if verdict == "EXCEEDED":
            missed.append(name)
        digits = 0 if value is None or value >= 100 else 3 if budget < 1 else 2
        name = f"{name}, {unit}" if unit else name
        rows.append([name, number(value, digits), f"{budget:.4g}", f"{aim:.4g}", verdict])
    table("Budgets", ["", "measured", "budget", "aim", ""], rows)
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="Scripts/bench")
    parser.add_argument("--arch", required=True, help="this machine's")
    parser.add_argument("--json", metavar="FILE", help="write all measurements there, too")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a budget is exceeded")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mote-bench-")))
        authority = Authority(folder / "ca")
        trust = folder / "trust.pem"
        # Among all the authorities that a distribution trusts, as on a device.
        system = SYSTEM_TRUST.read_text() if SYSTEM_TRUST.is_file() else ""
        trust.write_text(system + authority.certificate.read_text())
        options_of_broker = "set_tcp_nodelay true\nmax_inflight_messages 0"
        plain = Mosquitto(folder / "plain", options=options_of_broker)
        stack.callback(plain.close)
        secure = Mosquitto(folder / "secure", options=options_of_broker, certificate=authority.issue())
        stack.callback(secure.close)
        bench = clients.Bench(folder, plain, secure, trust)
        stack.callback(bench.close)
        results = measure_all(bench, options.arch)
    results["machine"] = {"arch": options.arch, "kernel": machine.release(), "processors": os.cpu_count()}
    show(results)
    missed = judge(results)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    if missed and options.check:
        sys.exit(f"bench: exceeded: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
