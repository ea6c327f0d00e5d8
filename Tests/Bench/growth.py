"""What grows: with how many events are due together, with the size of a full queue, with the number of sensors, and
with the length of a text. Instructions of this machine's agent."""

import re
import subprocess
import time
import uuid

import budgets
import clients
import measure
from harness import packets
from harness.agent import Agent as Watched, Program
from harness.peer import ScriptedBroker

# A queue is filled by as many events as there may be, as often as they may come.
EVENTS_MAX, FULL_SECONDS = 64, 3
# How each of an event's sensors is read.
READ = re.compile(r"^pread(64)?$")
# The longest text that an event takes is 256 bytes.
SHORT_TEXT, LONG_TEXT = 40, 240
# What `derive` adds.
DERIVED = ("rise", "growth")


class Special(clients.Agent):
    """An agent with an event of one sensor, and other sections."""

    lengths = (4, 16)

    def __init__(self, agent, name, sensor, more=None):
        super().__init__(agent.program, agent.with_names)
        self.name, self.sensor, self.more = name, sensor, more or {}

    def configure(self, bench, name, qos, tls):
        event = f"{name}-0"
        return clients.write_sections(bench, name, {
            f"event {event}": {"interval": "100ms", "qos": qos}, "sensor one": {"event": event, **self.sensor},
            **self.more}, tls)


def instructions(bench, client):
    """Of an event at QoS 0, plain."""
    return measure.per_event(measure.callgrind, bench, client, 0, False)["instructions"]


def together(bench, agent, count):
    """Instructions of one of `count` events that are due together."""
    client = clients.Agent(agent.program, agent.with_names, together=count)
    # They are many soon enough, and each run has them at the same moments.
    client.lengths = (4, 12) if count > 8 else client.lengths
    return instructions(bench, client)


def full_queue(bench, agent, size):
    """Instructions of an event while a queue of `size` is full, because the server acknowledges nothing."""
    silent = ScriptedBroker(answers={packets.CONNECT, packets.SUBSCRIBE, packets.PINGREQ})
    counter = measure.Counter(bench.folder)
    path = clients.write_configuration(
        bench, uuid.uuid4().hex[:8], False, interval="100ms", qos=1, events=EVENTS_MAX, port=silent.port,
        more={"mqtt": {"queue-size": size.replace(" ", "")}})
    watched = Watched(Program([str(agent.with_names)], 10), "run", "--config", path, prefix=counter.prefix)
    try:
        watched.wait_log("warning", "queue", "dropping")
        counter.take(watched.process)
        time.sleep(FULL_SECONDS)
        costs = counter.take(watched.process)
    finally:
        watched.close()
        silent.close()
    return costs.instructions * len(clients.SENSORS) / costs.called(READ)


def start(bench, agent, count):
    """Instructions of a run that connects, reads `count` sensors once, publishes, and ends."""
    folder = bench.folder / "values"
    folder.mkdir(exist_ok=True)
    sections = {"event once": {"interval": budgets.SELDOM, "qos": 0}}
    for number in range(count):
        (folder / str(number)).write_text("21.5\n")
        sections[f"sensor s{number}"] = {"event": "once", "read": f"file:{folder / str(number)}", "scale": "0.001"}
    name = uuid.uuid4().hex[:8]
    path, out = clients.write_sections(bench, name, sections), bench.folder / f"callgrind.{name}"
    subprocess.run([*measure.callgrind_prefix(out), agent.with_names, "run", "--config", path, "--for", "1s"],
                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=measure.PATIENCE_SECONDS)
    return measure.read_callgrind(out).instructions


def beside(bench, agent):
    """Instructions of a sensor's event beside 199 others of 63 events that are not due, and alone."""
    others = {f"event e{number}": {"interval": budgets.SELDOM, "qos": 0} for number in range(EVENTS_MAX - 1)}
    for number in range(199):
        others[f"sensor s{number}"] = {"event": f"e{number % (EVENTS_MAX - 1)}", "read": "loadavg:1"}
    sensor = {"read": "loadavg:1"}
    return {"alone": instructions(bench, Special(agent, "one sensor", sensor)),
            "beside": instructions(bench, Special(agent, "one sensor of 200", sensor, others))}


def text(bench, agent):
    """Instructions of each byte of a text, from two lengths of it."""
    costs = [instructions(bench, Special(agent, f"{length} bytes", {"read": f"constant:{'text' * (length // 4)}",
                                                                    "type": "text"}))
             for length in (SHORT_TEXT, LONG_TEXT)]
    return (costs[1] - costs[0]) / (LONG_TEXT - SHORT_TEXT)


def derive(results):
    """Adds to the results how what has been measured grows, as far as it has been."""
    def values(group, keys):
        found = [results.get(group, {}).get(str(key)) for key in keys]
        return None if None in found else found

    if costs := values("together", budgets.TOGETHER):
        results["together"]["rise"] = max(more / fewer for fewer, more in zip(costs, costs[1:]))
    if costs := values("queue", budgets.QUEUES):
        results["queue"]["growth"] = max(costs) / min(costs)
    if costs := values("sensors", budgets.SENSORS):
        _, few, some, many = budgets.SENSORS
        results["sensors"]["growth"] = ((costs[3] - costs[2]) / (many - some)) / ((costs[2] - costs[1]) / (some - few))
    if costs := values("beside", ("alone", "beside")):
        results["beside"]["growth"] = costs[1] / costs[0]
