"""A real broker on a free loopback port, and a client of it that plays the platform's applications."""

import base64
import dataclasses
import hashlib
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import time

import paho.mqtt.client

from .configuration import CLIENT
from .waiting import DEADLINE, ReservedPort, can_connect, end_process, wait_until

# Mosquitto can only set a least version of TLS; the greatest is OpenSSL's affair.
ONLY_TLS_1_2 = """
openssl_conf = top
[top]
ssl_conf = ssl
[ssl]
system_default = default
[default]
MaxProtocol = TLSv1.2
"""
EVENT_FILTER = "iot-2/evt/+/fmt/+"
# Scripts/setup unpacks the broker there where it is not installed.
TOOLS = pathlib.Path(__file__).resolve().parents[3] / "build/tools/bin"
MOSQUITTO = shutil.which("mosquitto", path=f"{TOOLS}:{os.environ['PATH']}:/usr/sbin") or "mosquitto"


@dataclasses.dataclass
class Event:
    """An event as a subscriber received it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    moment: float

    @property
    def name(self):
        return self.topic.split("/")[2]

    @property
    def text(self):
        return self.payload.decode()

    @property
    def json(self):
        return json.loads(self.payload)

    @property
    def data(self):
        """The member `d`."""
        return self.json["d"]


class Platform:
    """An application: receives all events, sends commands. Events are kept until a test asks for them."""

    def __init__(self, port, *, patience=1, username=None, password=None):
        self.patience = patience
        self.events = []
        self._unseen = queue.Queue()
        self._client = paho.mqtt.client.Client(client_id="platform", clean_session=True)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(EVENT_FILTER, qos=1)
        subscribed = []
        self._client.on_subscribe = lambda *_: subscribed.append(True)
        if username:
            self._client.username_pw_set(username, password)
        # Without it two small packets in a row wait for the other side's delayed acknowledgement.
        self._client.on_socket_open = lambda _client, _user, stream: stream.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_until(lambda: subscribed, DEADLINE * patience, "the test's own subscription")

    def _on_message(self, _client, _user, message):
        event = Event(message.topic, message.payload, message.qos, bool(message.retain), time.monotonic())
        self.events.append(event)
        self._unseen.put(event)

    def next_event(self, name=None, timeout=DEADLINE, where=lambda event: True):
        """Waits for the next event (with this name, for which `where` holds); those before it are skipped."""
        end = time.monotonic() + timeout * self.patience
        skipped = []
        while True:
            try:
                event = self._unseen.get(timeout=max(end - time.monotonic(), 0.001))
            except queue.Empty:
                seen = [(event.topic, event.payload[:200]) for event in skipped[-10:]]
                raise AssertionError(f"no event {name or ''} within {timeout:g} s; others: {seen}") from None
            if (name is None or event.name == name) and where(event):
                return event
            skipped.append(event)

    @property
    def story(self):
        """What a failed test shows of it: the last events, each with its moment in seconds of the monotonic clock."""
        return "\n".join(f"{event.moment:10.3f} {event.topic} {event.payload[:200]}" for event in self.events[-50:])

    def named(self, name):
        """All events of this name so far."""
        return [event for event in list(self.events) if event.name == name]

    def forget(self):
        """Skips all events so far."""
        while not self._unseen.empty():
            self._unseen.get()

    def command(self, name, payload=b"", *, qos=1, form="json", retain=False):
        """Sends a command; waits until the broker has it."""
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        sent = self._client.publish(f"iot-2/cmd/{name}/fmt/{form}", payload, qos=qos, retain=retain)
        sent.wait_for_publish(DEADLINE)
        assert sent.is_published(), "the broker does not take the command"

    def outcome(self, command, timeout=DEADLINE):
        """Waits for the next outcome of a command, and gives its member `d`."""
        return self.next_event("command", timeout, lambda event: event.data.get("command") == command).data

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


def password_line(user, password):
    """A line of Mosquitto's password file: PBKDF2 with SHA-512, kind 7."""
    salt, rounds = os.urandom(12), 101
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"{user}:$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


class Mosquitto:
    """A Mosquitto that ends with the test."""

    def __init__(self, folder, *, certificate=None, options="", listener_options="", users=None, only_tls_1_2=False):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # The test's own client always goes the plain way, so that only the agent's side is under test.
        self._reserved = (ReservedPort(), ReservedPort())
        self.port, self.side_port = (reserved.number for reserved in self._reserved)
        self.process = None
        lines = ["user root", "persistence false", "log_type all", f"log_dest file {self.folder / 'mosquitto.log'}",
                 "per_listener_settings true", "max_queued_messages 0", "set_tcp_nodelay true", options,
                 f"listener {self.port} 127.0.0.1", listener_options]
        if certificate:
            lines += [f"certfile {certificate.certificate}", f"keyfile {certificate.key}"]
        if users:
            passwords = self.folder / "passwords"
            passwords.write_text("".join(password_line(user, password) for user, password in users.items()))
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines += ["allow_anonymous true"]
        lines += [f"listener {self.side_port} 127.0.0.1", "allow_anonymous true"]
        self.environment = dict(os.environ)
        if only_tls_1_2:
            self.environment["OPENSSL_CONF"] = str(self.folder / "openssl.cnf")
            (self.folder / "openssl.cnf").write_text(ONLY_TLS_1_2)
        self.configuration = self.folder / "mosquitto.conf"
        self.configuration.write_text("\n".join(lines) + "\n")
        self.start()

    @property
    def log(self):
        path = self.folder / "mosquitto.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self):
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self.configuration)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=self.environment)

        def is_up():
            assert self.process.poll() is None, f"mosquitto ended: {self.log}"
            return can_connect(self.side_port)

        wait_until(is_up, DEADLINE, "mosquitto listens")

    def wait_subscribed(self, client=CLIENT, count=1):
        """Waits until so many subscriptions of a client are acknowledged: commands for it are lost before."""
        wait_until(lambda: self.log.count(f"Sending SUBACK to {client}") >= count, DEADLINE, f"{client} has subscribed")


    def kill(self):
        """SIGKILL: as a power cut of the server."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        end_process(self.process)
        for reserved in self._reserved:
            reserved.close()
