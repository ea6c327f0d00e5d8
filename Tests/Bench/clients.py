"""The clients that are compared, and how each is made to send a number of events."""

import itertools
import socket
import subprocess

import budgets
from harness import configuration
from harness.broker import Platform

# What the clients in C and Swift beside this file publish, too. No topic of an event: those are counted.
LINE = b'{"d":{"temperature":21.75,"humidity":48.2,"pressure":1013.2500},"ts":"2024-05-01T10:15:30.250Z"}\n'
TOPIC = "iot-2/out/status/fmt/json"


class Bench:
    """Where everything is: a folder for files, brokers with and without TLS, trusted certificates."""

    def __init__(self, folder, plain, secure, trust):
        self.folder, self.plain, self.secure, self.trust = folder, plain, secure, trust
        # A broker without TLS 1.3, where there is one, and who has signed all of their certificates.
        self.older = self.authority = None
        self.platforms = [Platform(broker.side_port) for broker in (plain, secure)]

    def port(self, tls):
        """Of the broker to use."""
        return (self.secure if tls else self.plain).port

    def named(self, name):
        """How many events of this name have arrived."""
        return sum(len(platform.named(name)) for platform in self.platforms)

    def close(self):
        """Ends the subscribers."""
        for platform in self.platforms:
            platform.close()


class Client:
    """Something that publishes. `lengths` are a short and a long run."""

    name, lengths, has_tls, has_acknowledgements = "", (500, 2000), True, True
    # Where one of these functions begins, callgrind forgets all that it has counted.
    forgotten_at = ()

    def __init__(self, program):
        self.program = program

    def start(self, bench, prefix, qos, tls, length):
        """Starts a run: `length` messages, and then nothing until standard input ends."""
        raise NotImplementedError

    def events(self, bench, process, length):
        """How many events a run that has ended has sent."""
        return length


# A name on the broker for each run.
RUNS = itertools.count()


class Publisher(Client):
    """Mote's MQTT client without the agent, which has the TLS."""

    name, lengths, has_tls = budgets.CLIENT, (1000, 5000), False

    def start(self, bench, prefix, qos, tls, length):
        with socket.create_connection(("127.0.0.1", bench.port(tls))) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return subprocess.Popen([*prefix, self.program, str(stream.fileno()), str(qos), str(length)],
                                    stdin=subprocess.PIPE, pass_fds=[stream.fileno()])


class MosquittoPub(Client):
    """`mosquitto_pub -l`: a message for each line of standard input."""

    name = budgets.MOSQUITTO

    def start(self, bench, prefix, qos, tls, length):
        secure = ["--cafile", bench.trust] if tls else []
        # By name, as the certificate has it.
        process = subprocess.Popen(
            [*prefix, self.program, "-h", "localhost", "-p", str(bench.port(tls)), "-q", str(qos), "-t", TOPIC, "-l",
             *secure], stdin=subprocess.PIPE)
        process.stdin.write(LINE * length)
        process.stdin.flush()
        return process


class Paho(Client):
    """libpaho-mqtt's synchronous client."""

    name = budgets.PAHO

    def start(self, bench, prefix, qos, tls, length):
        secure = [bench.trust] if tls else []
        return subprocess.Popen([*prefix, self.program, str(bench.port(tls)), str(qos), str(length), *secure],
                                stdin=subprocess.PIPE)


class Floor(Client):
    """The work of an event in C, without an agent around it. No event of it is due: it goes on to the next one."""

    name, has_tls, has_acknowledgements = budgets.FLOOR, False, False

    def start(self, bench, prefix, qos, tls, length):
        return subprocess.Popen([*prefix, self.program, str(bench.port(tls)), str(length)], stdin=subprocess.PIPE)


class Agent(Client):
    """The agent with events of three scaled sensors every 100 ms. It is the clock that makes it send: a run's length is
    in seconds."""

    name, lengths = budgets.AGENT, (6, 26)
    # Behind the handshake, when the server's ticket has come. Two handshakes may differ in a few allocations, because
    # numbers in them are random and some shorter than others; a difference of two runs takes those for an event's.
    forgotten_at = ("mote_tls_save_session",)

    def __init__(self, program, with_names, together=1):
        super().__init__(program)
        # The same, with the names of its functions, for valgrind.
        self.with_names = with_names
        self.together = together
        if together > 1:
            self.name = f"Mote, {together} events due together"

    def configure(self, bench, name, qos, tls):
        """Writes the configuration of a run whose events' names begin with `name`."""
        return write_configuration(bench, name, tls, interval="100ms", qos=qos, events=self.together)

    def start(self, bench, prefix, qos, tls, length):
        # Short, so that no packet has 128 bytes behind its first: from there on the length of one takes two bytes (MQTT
        # 3.1.1, section 2.2.3), and a digit more of a value 60 instructions.
        name = f"b{next(RUNS):03}"
        path = self.configure(bench, name, qos, tls)
        with path.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                [*prefix, self.with_names if "valgrind" in prefix else self.program, "run", "--config", path, "--for",
                 f"{length}s"], stdin=subprocess.PIPE, stderr=log)
        process.event = name
        return process

    def events(self, bench, process, length):
        return sum(bench.named(f"{process.event}-{number}") for number in numbers(self.together))


# What an event reads: three files of the kernel. Those of a file system would be read by a child as soon as valgrind or
# strace makes a reading take longer than a healthy source does.
SENSORS = (("load", {"read": "loadavg:1"}),
           ("uptime", {"read": "uptime", "scale": "0.001", "decimals": "3"}),
           ("received", {"read": "network:lo/rx-bytes", "scale": "0.0009765625", "decimals": "1"}))


def numbers(count):
    """Of so many events. Those of several are equally wide however many there are: they are part of what is sent, and
    longer packets cost more."""
    return [f"{number:02}" if count > 1 else str(number) for number in range(count)]


def write_configuration(bench, name, tls, *, interval="10s", qos=1, events=1, port=None, more=None):
    """A configuration for the agent with events of three sensors each; `name` makes it unique on the broker. `more` are
    other sections."""
    sections = {}
    for number in numbers(events):
        sections[f"event {name}-{number}"] = {"interval": interval, "qos": qos}
        for sensor, keys in SENSORS:
            sections[f"sensor {sensor}{number if events > 1 else ''}"] = {"event": f"{name}-{number}", **keys}
    return write_sections(bench, name, {**sections, **(more or {})}, tls, port)


def write_sections(bench, name, sections, tls=False, port=None):
    """A configuration for the agent `name` with these sections; gives its path."""
    sections = {"device": {"id": name}, **sections}
    port = port or bench.port(tls)
    if tls:
        sections["server"] = {"host": "localhost", "port": port, "tls": "yes", "ca-file": bench.trust,
                              "allow-plaintext-token": None}
    path = bench.folder / f"{name}.conf"
    path.write_text(configuration.configuration(port, sections))
    path.chmod(0o600)
    return path
