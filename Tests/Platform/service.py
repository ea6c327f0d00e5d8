"""`motectl platform` under test, and clients of it that are not ours."""

import json
import pathlib
import queue
import re
import signal
import subprocess
import threading
import time

import paho.mqtt.client

from harness.agent import parse_log_line
from harness.waiting import DEADLINE, ReservedPort, end_process, wait_until

ORGANIZATION = "local0"
KEY, KEY_TOKEN = "a-local0-testing", "key+token=1"
TOKEN = "s3cr=t#;$ &*(%"
# ORG.messaging.DOMAIN and ORG.DOMAIN, which the vendor's SDK looks up, are this machine.
DOMAIN = "platform.test"
LISTENING = re.compile(r"(\w+)=([\d.:\[\]a-f]+):(\d+)")
REGISTRATIONS = {
    "types": [{"id": "edge"}, {"id": "sensor"}, {"id": "edgegw", "classId": "Gateway"}],
    "devices": [{"typeId": "edge", "deviceId": name, "authToken": TOKEN} for name in ("e1", "e2", "e3")]
    + [{"typeId": "edgegw", "deviceId": "gw1", "authToken": TOKEN}],
    "apiKeys": [{"key": KEY, "token": KEY_TOKEN}],
}


class Service:
    """A platform in a folder of its own."""

    def __init__(self, program, folder, *arguments, durable=False, environment=None):
        self.program, self.folder, self.lines = program, pathlib.Path(folder), []
        self.folder.mkdir(parents=True, exist_ok=True)
        registrations = self.folder / "registrations.json"
        registrations.write_text(json.dumps(REGISTRATIONS))
        self.arguments = ["--registrations", registrations, "--name", DOMAIN, *arguments]
        if durable:
            self.arguments += ["--data", self.folder / "data"]
        # Its own beyond SIGKILL: it comes back where its clients look for it.
        self._reserved = {name: ReservedPort() for name in ("mqtt", "http")}
        self.ports = {name: reserved.number for name, reserved in self._reserved.items()}
        self.environment = environment or {}
        self.start()

    def start(self):
        """Starts it, always on the same ports; returns when it listens."""
        ports = [word for name in ("mqtt", "http") for word in (f"--{name}", self.ports[name])]
        self.process = subprocess.Popen(
            [str(word) for word in (self.program, "platform", *ports, *self.arguments)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()
        line = self.process.stdout.readline()
        assert line.startswith("listening "), f"it does not listen:\n{self.log}"
        for name, _, port in LISTENING.findall(line):
            self.ports[name] = int(port)

    def _read(self, stream):
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    @property
    def port(self):
        return self.ports["mqtt"]

    @property
    def log(self):
        return "\n".join(self.lines)

    def find(self, component, event, **fields):
        """Log lines with these words and at least these fields."""
        parsed = [line for line in map(parse_log_line, list(self.lines)) if line]
        return [line for line in parsed if (line.component, line.event) == (component, event)
                and all(line.fields.get(key.replace("_", "-")) == str(value) for key, value in fields.items())]

    def wait_log(self, component, event, *, count=1, timeout=DEADLINE, **fields):
        """Waits for the `count`-th such line."""
        try:
            return wait_until(lambda: self.find(component, event, **fields)[count - 1:count], timeout,
                              f"{component} {event} {fields}")[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\nlog of the platform:\n{self.log}") from None

    def kill(self):
        """SIGKILL."""
        self.process.kill()
        self._end()

    def stop(self):
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        return self._end()

    def _end(self):
        status = self.process.wait()
        self._reader.join(DEADLINE)
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def close(self):
        if self.process.poll() is None:
            end_process(self.process)
            self._end()
        for reserved in self._reserved.values():
            reserved.close()


class Client:
    """A paho client of the platform. Messages wait until a test asks for them."""

    def __init__(self, service, client_id, user=None, password=None, *, clean=True, keepalive=60, will=None,
                 transport="tcp", port=None, tls=None, auto=True):
        self.messages, self.all, self.codes, self.ends = queue.Queue(), [], queue.Queue(), queue.Queue()
        self.subacks, self._pings = {}, queue.Queue()
        self.client = paho.mqtt.client.Client(client_id=client_id, clean_session=clean, transport=transport,
                                              reconnect_on_failure=False)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda _client, _user, flags, code: self.codes.put((code, flags["session present"]))
        self.client.on_disconnect = lambda _client, _user, code: self.ends.put(code)
        self.client.on_subscribe = lambda _client, _user, mid, granted: self.subacks.update({mid: granted})
        self.client.on_log = lambda _client, _user, _level, text: "Received PINGRESP" in text and self._pings.put(text)
        if user is not None:
            self.client.username_pw_set(user, password)
        if will:
            self.client.will_set(*will)
        if tls:
            self.client.tls_set(ca_certs=str(tls))
        if transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        port = port or service.ports["http" if transport == "websockets" else "mqtt"]
        self.client.connect("localhost" if tls else "127.0.0.1", port, keepalive)
        self.client.loop_start()
        self.session_present = None
        if auto:
            code, self.session_present = self.codes.get(timeout=DEADLINE)
            assert code == 0, f"refused: {code}"

    def _on_message(self, _client, _user, message):
        self.all.append(message)
        self.messages.put(message)

    def subscribe(self, *filters, qos=1):
        """Subscribes to all filters in one packet, and returns what was granted."""
        _, mid = self.client.subscribe([(name, qos) for name in filters])
        return wait_until(lambda: self.subacks.get(mid), DEADLINE, f"SUBACK for {filters}")

    def publish(self, topic, payload=b"{}", qos=1, retain=False):
        """Publishes, and waits until the platform has it."""
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        sent = self.client.publish(topic, payload, qos, retain)
        sent.wait_for_publish(DEADLINE)
        assert sent.is_published(), f"not acknowledged: {topic}"

    def next(self, topic=None, timeout=DEADLINE):
        """The next message (of this topic); those before it are skipped."""
        end = time.monotonic() + timeout
        while True:
            try:
                message = self.messages.get(timeout=max(end - time.monotonic(), 0.001))
            except queue.Empty:
                seen = [(message.topic, message.payload[:100]) for message in self.all[-8:]]
                raise AssertionError(f"no message {topic or ''} within {timeout} s; so far: {seen}") from None
            if topic is None or message.topic == topic:
                return message

    def catch_up(self):
        """Waits until all has come that the platform has sent so far: a PINGREQ goes there, and its answer back."""
        while not self._pings.empty():
            self._pings.get()
        self.client._send_pingreq()  # pylint: disable=protected-access
        self._pings.get(timeout=DEADLINE)
        # The answer may have overtaken paho's note that it waits for one.
        self.client._ping_t = 0  # pylint: disable=protected-access

    def nothing(self, seconds=0.5):
        """Checks that nothing comes."""
        time.sleep(seconds)
        self.catch_up()
        assert self.messages.empty(), self.messages.get().topic

    def wait_closed(self, timeout=DEADLINE):
        """Waits until the platform has closed the connection."""
        return self.ends.get(timeout=timeout)

    def drop(self):
        """Breaks the connection, without DISCONNECT."""
        self.client._sock_close()  # pylint: disable=protected-access
        self.client.loop_stop()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def device(service, name="e1", **options):
    """A registered device."""
    return Client(service, f"d:{ORGANIZATION}:edge:{name}", "use-token-auth", TOKEN, **options)


def gateway(service, **options):
    """The registered gateway."""
    return Client(service, f"g:{ORGANIZATION}:edgegw:gw1", "use-token-auth", TOKEN, **options)


def application(service, name="app1", *, shared=False, **options):
    """An application."""
    return Client(service, f"{'A' if shared else 'a'}:{ORGANIZATION}:{name}", KEY, KEY_TOKEN, **options)
