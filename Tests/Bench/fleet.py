"""Scripts/bench --platform: what motectl platform costs beside Mosquitto, how quick it is, and how much it carries."""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import page
import swarm

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
ORGANIZATION, TOKEN, KEY = "local0", "a token of the bench", "a-local0-bench"
IDLE_CLIENTS, BUSY_CLIENTS = 2000, 200
PAYLOAD = b'{"d":{"temp":21.7,"client":%d,"count":%d},"ts":"2024-05-01T10:15:30.250Z"}'
EVENTS = "iot-2/type/+/id/+/evt/+/fmt/+"
# A flood of strangers: bodies of HTTP that do not come, and halves of a first packet.
FLOOD_BODIES, FLOOD_HALVES, FLOOD_ADDRESSES, FLOOD_SECONDS = 7500, 5000, 10, 20
# The targets.
IDLE_BYTES_MAX, CPU_FACTOR_MAX = 12 * 1024, 3.0
FLOOD_LEFT_BYTES_MAX, START_SECONDS_MAX, PROGRAM_BYTES_MAX = 16 << 20, 0.1, 32 << 20


class Platform:
    """motectl platform."""

    name = "motectl platform"
    filters = [EVENTS]

    def __init__(self, program, folder, count, *arguments):
        devices = [{"typeId": "sim", "deviceId": f"n{number}", "authToken": TOKEN} for number in range(count)]
        registrations = pathlib.Path(folder) / "registrations.json"
        registrations.write_text(json.dumps(
            {"types": [{"id": "sim"}], "devices": devices, "apiKeys": [{"key": KEY, "token": TOKEN}]}))
        self.log = open(pathlib.Path(folder) / "platform.log", "wb")
        self.process = subprocess.Popen(
            [program, "platform", "--mqtt", "0", "--http", "off", "--rates", "unlimited", "--registrations",
             registrations, "--log-level", "warning", *arguments], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ports = dict(re.findall(r"(\w+)=[^ ]*:(\d+)", self.process.stdout.readline()))
        self.port = int(self.ports["mqtt"])

    def device(self, number):
        return f"d:{ORGANIZATION}:sim:n{number}", "use-token-auth", TOKEN

    def application(self):
        return f"a:{ORGANIZATION}:bench", KEY, TOKEN

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Mosquitto:
    """The broker that it is compared with."""

    name = "mosquitto"
    filters = ["iot-2/evt/+/fmt/+"]

    def __init__(self, folder):
        program = shutil.which("mosquitto", path=f"{ROOT}/build/tools/bin:{os.environ['PATH']}:/usr/sbin")
        self.port = 20000 + os.getpid() % 10000
        path = pathlib.Path(folder) / "mosquitto.conf"
        path.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
                        "max_queued_messages 0\nset_tcp_nodelay true\nlog_type error\n")
        self.process = subprocess.Popen([program, "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def device(self, number):
        return (f"device{number}",)

    def application(self):
        return ("application",)

    def close(self):
        self.process.terminate()
        self.process.wait()


def resident_bytes(pid):
    """Memory that belongs to the process alone or in part (proportional), in bytes."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) * 1024


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure_idle(server):
    """Bytes for each idle connection: the difference that many of them make, behind a first few."""
    first = swarm.Swarm(server.port, [server.device(number) for number in range(100)])
    time.sleep(1)
    before = resident_bytes(server.process.pid)
    others = swarm.Swarm(server.port, [server.device(number) for number in range(100, 100 + IDLE_CLIENTS)])
    time.sleep(1)
    result = (resident_bytes(server.process.pid) - before) / IDLE_CLIENTS
    first.close()
    others.close()
    return result


def run_traffic(server, clients, rate, seconds, qos):
    """Messages, microseconds of CPU for each, how many were acknowledged, and how many different ones arrived."""
    counted, stop = multiprocessing.Array("q", 2), multiprocessing.Event()
    subscriber = multiprocessing.Process(
        target=swarm.subscribe, args=(server.port, server.application(), server.filters, qos, counted, stop))
    subscriber.start()
    publishers = swarm.Swarm(server.port, [server.device(number) for number in range(clients)])
    time.sleep(0.5)
    before = cpu_seconds(server.process.pid)
    sent = publishers.publish(rate, seconds, qos, PAYLOAD)
    acknowledged = publishers.wait_acknowledged(sent) if qos else 0
    end = time.monotonic() + 20
    while counted[0] < sent and time.monotonic() < end:
        time.sleep(0.1)
    used = cpu_seconds(server.process.pid) - before
    stop.set()
    subscriber.join()
    publishers.close()
    return {"sent": sent, "cpu_us": used / sent * 1e6, "acknowledged": acknowledged, "arrived": counted[0],
            "different": counted[1]}


def compare(program, seconds):
    """Both side by side, by name."""
    results = {}
    for make in (lambda folder: Mosquitto(folder), lambda folder: Platform(program, folder, IDLE_CLIENTS + 100)):
        with tempfile.TemporaryDirectory() as folder:
            server = make(folder)
            try:
                results[server.name] = row = {"idle": measure_idle(server)}
                for qos in (0, 1):
                    row[qos] = run_traffic(server, BUSY_CLIENTS, 20, seconds, qos)
            finally:
                server.close()
    return results


def show_comparison(results):
    """Prints it; whether the targets hold."""
    print(f"\n{'':18}{'idle connection':>18}{'CPU/message QoS 0':>20}{'QoS 1':>12}{'lost':>8}")
    for name, row in results.items():
        lost = sum(row[qos]["sent"] - row[qos]["arrived"] for qos in (0, 1))
        print(f"{name:18}{row['idle'] / 1024:15.1f} KB{row[0]['cpu_us']:17.1f} µs{row[1]['cpu_us']:9.1f} µs{lost:8}")
    ours, theirs = results[Platform.name], results[Mosquitto.name]
    factors = [ours[qos]["cpu_us"] / theirs[qos]["cpu_us"] for qos in (0, 1)]
    print(f"times Mosquitto's CPU: QoS 0 {factors[0]:.2f}, QoS 1 {factors[1]:.2f} (at most {CPU_FACTOR_MAX});"
          f" an idle connection at most {IDLE_BYTES_MAX // 1024} KB")
    return ours["idle"] <= IDLE_BYTES_MAX and max(factors) <= CPU_FACTOR_MAX


def measure_page(program):
    """What page.measure gives, of a platform with nothing else to do."""
    with tempfile.TemporaryDirectory() as folder:
        server = Platform(program, folder, 0, "--http", "0")
        try:
            return page.measure(server)
        finally:
            server.close()


def flood(port, count, start):
    """So many connections, of several addresses as one alone has a bound, that begin with `start` and never go on."""
    peers = []
    for number in range(count):
        peer = socket.socket()
        peers.append(peer)
        peer.bind((f"127.0.0.{2 + number % FLOOD_ADDRESSES}", 0))
        peer.connect(("127.0.0.1", port))
        peer.sendall(start)
    return peers


def measure_flood(program):
    """Memory before a flood of connections, at its highest, and when it has gone; and the same after a second one."""
    head = b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    # A CONNECT of 4,000 bytes, but for its last one.
    half = b"\x10\xa0\x1f\x00\x04MQTT\x04\x02\x00\x3c\x00\x11d:quickstart:t:d1" + bytes(3900)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        server = Platform(program, folder, 0, "--http", "0")
        try:
            time.sleep(1)
            for _ in range(2):
                before = resident_bytes(server.process.pid)
                peers = flood(int(server.ports["http"]), FLOOD_BODIES, head)
                peers += flood(server.port, FLOOD_HALVES, half)
                time.sleep(1)
                highest = resident_bytes(server.process.pid)
                for peer in peers:
                    peer.close()
                time.sleep(FLOOD_SECONDS)
                results.append({"before": before, "highest": highest, "after": resident_bytes(server.process.pid)})
        finally:
            server.close()
    return results


def show_flood(results):
    """Prints it; whether the memory was given back."""
    print(f"\n{FLOOD_BODIES} HTTP connections with half a body, {FLOOD_HALVES} of MQTT with half a first packet:")
    for number, row in enumerate(results, 1):
        print(f"  flood {number}: before {row['before'] / 1e6:.0f} MB, highest {row['highest'] / 1e6:.0f} MB,"
              f" {FLOOD_SECONDS} s after it has gone {row['after'] / 1e6:.0f} MB")
    return all(row["after"] - results[0]["before"] <= FLOOD_LEFT_BYTES_MAX for row in results)


def measure_start(program):
    """How large motectl is, and how long it takes to say its version: the median of some times."""
    times = []
    for _ in range(11):
        begun = time.monotonic()
        subprocess.run([program, "--version"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.monotonic() - begun)
    return {"bytes": os.path.getsize(program), "seconds": sorted(times)[len(times) // 2]}


def show_start(result):
    """Prints it; whether the targets hold."""
    print(f"\nmotectl: {result['bytes'] / 1e6:.1f} MB, starts in {result['seconds'] * 1e3:.0f} ms"
          f" (at most {PROGRAM_BYTES_MAX / 1e6:.0f} MB, {START_SECONDS_MAX * 1e3:.0f} ms)")
    return result["bytes"] <= PROGRAM_BYTES_MAX and result["seconds"] <= START_SECONDS_MAX


def start_agents(mote, port, count, folder):
    """Real agents, each with an event a second at QoS 1."""
    agents = []
    (folder / "value").write_text("21.5\n")
    for number in range(count):
        path = folder / f"agent{number}.conf"
        path.touch(mode=0o600)
        path.write_text(
            f"[device]\norg = {ORGANIZATION}\ntype = sim\nid = n{number}\nauth-method = token\nauth-token = {TOKEN}\n"
            f"[server]\nhost = 127.0.0.1\nport = {port}\ntls = no\nallow-plaintext-token = yes\n"
            "[mqtt]\nconnect-delay-max = 5s\n[event status]\ninterval = 1s\nqos = 1\n"
            f"[sensor value]\nevent = status\nread = file:{folder / 'value'}\n")
        agents.append(subprocess.Popen([mote, "run", "--config", path], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    return agents


def carry(program, mote, agents, clients, seconds):
    """A fleet for a while."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        server = Platform(program, folder, agents + clients, "--data", str(folder / "data"))
        counted, stop = multiprocessing.Array("q", 2), multiprocessing.Event()
        subscriber = multiprocessing.Process(
            target=swarm.subscribe, args=(server.port, server.application(), server.filters, 1, counted, stop))
        subscriber.start()
        processes = start_agents(mote, server.port, agents, folder) if agents else []
        time.sleep(10 if agents else 1)
        started = resident_bytes(server.process.pid)
        publishers = swarm.Swarm(server.port, [server.device(number) for number in range(agents, agents + clients)])
        before, begun = cpu_seconds(server.process.pid), time.monotonic()
        sent = publishers.publish(1, seconds, 1, PAYLOAD)
        acknowledged = publishers.wait_acknowledged(sent)
        used, lasted = cpu_seconds(server.process.pid) - before, time.monotonic() - begun
        memory = resident_bytes(server.process.pid)
        for process in processes:
            process.terminate()
        ended = [process.wait() for process in processes]
        time.sleep(3)
        stop.set()
        subscriber.join()
        publishers.close()
        server.close()
    return {"agents": agents, "clients": clients, "seconds": lasted, "sent": sent, "acknowledged": acknowledged,
            "arrived": counted[0], "different": counted[1], "memory": memory,
            "memory_per_client": (memory - started) / max(clients, 1), "cpu": used / lasted,
            "cpu_us": used / max(counted[0], 1) * 1e6, "ended_well": ended.count(0)}


def show_fleet(results):
    """Prints it; whether all that was acknowledged arrived."""
    agents, sent, acknowledged = results["agents"], results["sent"], results["acknowledged"]
    print(f"\n{agents} agents and {results['clients']} simulated clients, one event a second each, QoS 1,"
          f" {results['seconds']:.0f} s:")
    print(f"  {sent} simulated events, {acknowledged} acknowledged; {results['arrived']} messages arrived,"
          f" {results['different']} different")
    print(f"  memory {results['memory'] / 1e6:.1f} MB ({results['memory_per_client'] / 1024:.1f} KB a client),"
          f" CPU {results['cpu'] * 100:.0f} % ({results['cpu_us']:.0f} µs a message)")
    print(f"  agents that ended well: {results['ended_well']} of {agents}")
    return acknowledged == sent and results["different"] >= sent and results["ended_well"] == agents


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--motectl", required=True)
    parser.add_argument("--mote", required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--json", metavar="FILE", help="write all measurements there, too")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a target is missed")
    options = parser.parse_args()
    swarm.raise_file_limit()
    results = {"start": measure_start(options.motectl), "flood": measure_flood(options.motectl)}
    holds = [show_start(results["start"]), show_flood(results["flood"])]
    results["comparison"] = compare(options.motectl, min(options.seconds, 10))
    holds.append(show_comparison(results["comparison"]))
    results["page"] = measure_page(options.motectl)
    holds.append(page.show(results["page"]))
    results["fleet"] = carry(options.motectl, options.mote, options.agents, options.clients, options.seconds)
    holds.append(show_fleet(results["fleet"]))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    if options.check and not all(holds):
        sys.exit(1)


if __name__ == "__main__":
    main()
