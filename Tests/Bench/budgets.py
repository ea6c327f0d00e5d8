"""What is held against a budget, in the words that the README uses."""

import dataclasses

# Names of what is measured, in results and tables.
AGENT, EIGHT, CLIENT = "Mote, whole event", "Mote, 8 events due together", "Mote's MQTT client alone"
MOSQUITTO, PAHO, FLOOR = "mosquitto_pub -l", "libpaho-mqtt", "the same work in C, without an agent"
# The architecture for which the agent exists, counted in an emulator.
ARMV7 = "armv7"
TOGETHER, QUEUES, SENSORS = (1, 8, 32, 64), ("32 KB", "256 KB", "1 MB"), (1, 10, 100, 200)
# What an idle agent's wake-ups are counted over: whole keep alives of the default 60 s, begun soon behind the
# connection, when the agent has let go of what it started with. A ping goes out half a second before a keep alive is
# over, and the first one nearly a keep alive after the beginning: so many keep alives hold as many pings.
KEEP_ALIVE_SECONDS, KEEP_ALIVES, SETTLE_SECONDS = 60, 2, 5
# An idle agent's events: in a week, or so often that whole keep alives hold the same number of them at any moment.
SELDOM, OFTEN_SECONDS = "7d", 20
# All that may wake it, a minute: one ping and its answer for each keep alive; and each event, at QoS 0 without answer.
PINGS_DUE, EVENTS_DUE = 2 * 60 / KEEP_ALIVE_SECONDS, 60 / OFTEN_SECONDS
# The day and the commit of the program to which what is now is compared.
BEFORE, BEFORE_COMMIT = "27 November 2026", "d3d5a53"
# What is counted over many events is not whole.
TOLERANCE = 0.005


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table of budgets. Without a budget it is only shown."""

    name: str
    # Where the measurement is.
    path: tuple
    # What it was before the work on it began, with the program of `BEFORE_COMMIT`; None where nobody had counted.
    before: float
    # What must not be exceeded, and what is aimed at.
    budget: float = None
    aim: float = None
    unit: str = ""

    def verdict(self, value):
        """What a measurement says about the budget."""
        if value is None:
            return "not measured"
        if self.budget is None:
            return "aim reached" if self.aim is not None and value <= self.aim + TOLERANCE else ""
        if value > self.budget + TOLERANCE:
            return "EXCEEDED"
        return "within" if self.aim is None or value > self.aim + TOLERANCE else "aim reached"


def event(name, qos, kind="instructions", link="plain"):
    """Where the cost of an event is."""
    return ("event", name, link, str(qos), kind)


# Instructions in user space where nothing else is said, on this machine where no other is named.
ROWS = (
    Row("whole event of three sensors, QoS 0, armv7", ("event", AGENT, ARMV7, "0", "instructions"), 18100, 6000, 5000),
    Row("whole event of three sensors, QoS 0", event(AGENT, 0), 4937, 3500, 2465),
    Row("whole event of three sensors, QoS 1", event(AGENT, 1), 6632, 4700),
    *(Row(f"one of {count} events due together" if count > 1 else "event due alone", ("together", str(count)), before,
          budget)
      for count, before, budget in zip(TOGETHER, (4933, 4318, 5584, 7385), (None, 2900, None, 3300))),
    Row("events due together, steepest rise of one", ("together", "rise"), 1.32, 1),
    *(Row(f"event while a queue of {size} is full", ("queue", size), before, 6000, 4000)
      for size, before in zip(QUEUES, (11516, 39873, 138501))),
    Row("event while a queue is full, largest against smallest", ("queue", "growth"), 12.03, 1.1, 1),
    *(Row(f"start with {count} {'sensors' if count > 1 else 'sensor'}", ("sensors", str(count)), before, budget, aim)
      for count, before, budget, aim in zip(
          SENSORS, (332_500, 633_900, 7_807_000, 24_350_000), (None, None, None, 3e6), (None, None, None, 1.5e6))),
    Row("start, a sensor of the second hundred against one of the first", ("sensors", "growth"), 2.08, 1.2, 1),
    Row("a sensor's event beside 199 other sensors, against alone", ("beside", "growth"), 2.93, 1.1, 1),
    Row("a byte of a text value", ("text", "byte"), 14.4, 6),
    Row("decoding trusted certificates, in a second full TLS handshake", ("reconnect", "decoding"), 3.9e6, 0.4e6),
    # Most of it is a fresh key exchange, whatever a full one takes; in TLS 1.2 a resumed one has none, and may take a
    # 60th of a full one with a P-256 certificate.
    Row("resumed TLS 1.3 reconnect", ("reconnect", "resumed"), 2_190_000, 2.2e6, 1.6e6),
    Row("resumed TLS 1.2 reconnect", ("reconnect, TLS 1.2", "resumed"), None, 0.73e6),
    Row("sending a ready payload, QoS 0", event(CLIENT, 0), 418, 442, 250),
    Row("sending a ready payload, QoS 1", event(CLIENT, 1), 965, 1814, 700),
    Row("heap allocations of a QoS 0 event", event(AGENT, 0, "allocations"), 0, 0, 0),
    Row("heap allocations of a QoS 1 event", event(AGENT, 1, "allocations"), 0, 0, 0),
    Row("heap allocations of a QoS 1 event over TLS", event(AGENT, 1, "allocations", "tls"), 0, 0, 0),
    Row("system calls of a QoS 0 event beyond sensor reads", event(AGENT, 0, "system-calls-beyond-reads"), 2, 2, 2),
    # With the house made ready, and what mends the agent's faults: 291 KB. With device management and firmware, which
    # was 332.9 KB before partitions: 335 KB. With all of sensors, lines and outputs: 375 KB. With gateway and MQTT 5,
    # which are not there, and the queue on flash, which is: 388 KB.
    Row("armv7 program", ("size", ARMV7), 287676, 388 * 1024, 270 * 1024, unit="bytes"),
    Row("resident memory idle over TLS", ("memory", AGENT, "tls", "Rss"), 168, 400, 300, "KB"),
    Row("highest resident memory over TLS", ("memory", AGENT, "tls", "VmHWM"), 352, 512, 384, "KB"),
    Row("resident memory idle, plain", ("memory", AGENT, "plain", "Rss"), 108, 192, 112, "KB"),
    Row("memory that an image of 64 MB takes while it comes over HTTPS", ("download", "memory"), None, aim=64,
        unit="KB"),
    Row("how long an image takes, against curl", ("download", "duration"), None),
    Row("processor time of an image, against curl", ("download", "work"), None),
    Row("longest wait of an event while an image comes", ("download", "wait"), None, unit="ms"),
    Row("longest wait of an event while none comes", ("download", "wait at rest"), None, unit="ms"),
    Row("start to first PUBLISH", ("start", AGENT, "min"), 0.7, 1, 0.3, "ms"),
    Row("wake-ups while idle", ("wake-ups", "idle"), 2, PINGS_DUE, 1, "a minute"),
    Row(f"wake-ups, an event every {OFTEN_SECONDS} s", ("wake-ups", "events"), 5, PINGS_DUE + EVENTS_DUE,
        1 + EVENTS_DUE, "a minute"),
)


def look_up(results, path):
    """The measurement at a path; None where there is none."""
    for key in path:
        results = results.get(key, {}) if isinstance(results, dict) else {}
    return results if isinstance(results, (int, float)) else None
