"""`motectl`'s commands for operators, and devices for them to act on."""

import contextlib
import json
import os
import pathlib
import pty
import queue
import signal
import subprocess
import threading
import urllib.request

from harness.packets import SUBACK, take_packet
from harness.proxy import Proxy
from harness.waiting import DEADLINE, end_process, wait_until
from service import KEY, KEY_TOKEN, Client, ORGANIZATION, TOKEN

MAKE_BUNDLE = pathlib.Path(__file__).resolve().parents[2] / "Scripts/make-bundle"


class Operator:
    """Someone at a terminal who has an API key."""

    def __init__(self, program, service, home, **environment):
        self.program, self.home = program, pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.environment = {"HOME": str(home), "WIOTP_AUTH_KEY": KEY, "WIOTP_AUTH_TOKEN": KEY_TOKEN, **environment}
        self.api = ["--api", f"http://127.0.0.1:{service.ports['http']}"]
        self.place = ["--server", f"mqtt://127.0.0.1:{service.ports['mqtt']}", *self.api]
        self.mqtt_port = service.ports["mqtt"]

    def run(self, *words, status=0, stdin="", timeout=2 * DEADLINE, place=None, **environment):
        """Runs a command to its end, and gives what it wrote to standard output; `status` is what it must end with."""
        done = subprocess.run(
            self.line(words, place), input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
            env=self._environment(environment))
        self.complaint = done.stderr
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *words, **options):
        """The same with --json: what the lines say."""
        return [json.loads(line) for line in self.run(*words, "--json", **options).splitlines()]

    def reaches(self, service, *options, **changes):
        """Watches events until the platform has accepted that, and gives what was said."""
        before = len(service.find("client", "connected"))
        with self.running("events", *options, **changes) as events:
            wait_until(lambda: len(service.find("client", "connected")) > before or events.process.poll() is not None,
                       DEADLINE, "a connection")
            assert events.interrupt() == 0, events.text
            return events.text

    def _environment(self, changes):
        return {key: value for key, value in {**self.environment, **changes}.items() if value is not None}

    def line(self, words, place=None):
        """The whole command line."""
        return [str(word) for word in (self.program, *words, *(self.place if place is None else place))]

    @contextlib.contextmanager
    def running(self, *words, place=None, **environment):
        """A command that runs beside the test."""
        running = Running(self.line(words, place), self._environment(environment))
        try:
            yield running
        finally:
            running.close()

    @contextlib.contextmanager
    def subscribed(self, *words, size=None):
        """A command that runs beside the test, and has subscribed: it gets what is published from now on."""
        seen = SubscriptionWatch(self.mqtt_port)
        try:
            line = self.line(words, ["--server", f"mqtt://127.0.0.1:{seen.port}", *self.api])
            with contextlib.closing(Running(line, self.environment, size)) as running:
                try:
                    wait_until(lambda: seen.has_subscribed, DEADLINE, "SUBACK")
                except AssertionError as error:
                    raise AssertionError(f"{error}; so far:\n{running.text}") from None
                yield running
        finally:
            seen.close()

    @contextlib.contextmanager
    def terminal(self, *words, size=(24, 100)):
        """A command in a terminal."""
        running = Running(self.line(words), self.environment, size)
        try:
            yield running
        finally:
            running.close()


class SubscriptionWatch(Proxy):
    """A way to the platform that tells when a subscription was acknowledged."""

    def __init__(self, port):
        self.has_subscribed, self._answers = False, bytearray()
        super().__init__(port)

    def downward(self, chunk):
        self._answers += chunk
        while taken := take_packet(self._answers, 0):
            self.has_subscribed |= taken.kind == SUBACK


class Running:
    """A command under way, with pipes, or with a terminal of this size."""

    def __init__(self, line, environment, size=None):
        self.text, self._terminal = "", None
        if size:
            self._terminal, inside = pty.openpty()
            import fcntl
            import struct
            import termios
            fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
            self.process = subprocess.Popen(line, stdin=inside, stdout=inside, stderr=inside, env=environment,
                                            start_new_session=True)
            os.close(inside)
        else:
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, env=environment)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        descriptor = self._terminal or self.process.stdout.fileno()
        while True:
            try:
                chunk = os.read(descriptor, 4096)
            except OSError:  # A terminal that nobody has open any more.
                return
            if not chunk:
                return
            self.text += chunk.decode(errors="replace")

    def wait_text(self, text, timeout=DEADLINE, count=1):
        """Waits until it has written `text` so many times."""
        try:
            wait_until(lambda: self.text.count(text) >= count, timeout, text)
        except AssertionError as error:
            raise AssertionError(f"{error}; so far:\n{self.text}") from None

    @property
    def descriptor(self):
        """The terminal."""
        return self._terminal

    def press(self, keys):
        """Presses keys, one after the other."""
        os.write(self._terminal, keys.encode())

    def interrupt(self):
        """Ctrl-C, and the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self, timeout=DEADLINE):
        """Waits for its end, and gives the exit status."""
        status = self.process.wait(timeout)
        self._reader.join(DEADLINE)
        return status

    def close(self):
        end_process(self.process)
        self._reader.join(DEADLINE)
        if self._terminal:
            os.close(self._terminal)
        else:
            self.process.stdout.close()


class ManagedDevice:
    """A scripted managed device that does what it is told, or fails where it is told to."""

    def __init__(self, service, name="e1", kind="edge", *, fails_at=None, slow=None, is_silent=False):
        self.name, self.fails_at, self.slow, self.is_silent = name, fails_at, slow, is_silent
        self.service, self.kind = service, kind
        self.firmware, self.installed, self.asked, self.image = {}, "1.0", queue.Queue(), None
        self._ended, self._abandoned, self._threads = threading.Event(), threading.Event(), []
        self.connect()

    def connect(self):
        """Connects, subscribes and becomes managed."""
        self.client = Client(self.service, f"d:{ORGANIZATION}:{self.kind}:{self.name}", "use-token-auth", TOKEN)
        self.client.client.on_message = lambda _client, _user, message: self._begin(message)
        self.client.subscribe("iotdm-1/#")
        self.manage()

    def manage(self):
        self.send("mgmt/manage", {"reqId": "m", "d": {
            "supports": {"deviceActions": True, "firmwareActions": True}, "deviceInfo": {"fwVersion": self.installed}}})

    def send(self, path, body):
        self.client.publish(f"iotdevice-1/{path}", body)

    def answer(self, request, code, **data):
        self.send("response", {"rc": code, "reqId": request["reqId"], **data})

    def notify(self, **value):
        self.firmware.update(value)
        self.send("notify", {"d": {"fields": [{"field": "mgmt.firmware", "value": value}]}, "reqId": "n"})

    def _begin(self, message):
        self._threads.append(threading.Thread(target=self._handle, args=(message,)))
        self._threads[-1].start()

    def _handle(self, message):
        try:
            self.handle(message)
        except (AssertionError, OSError, RuntimeError, queue.Empty):
            # The platform may end before we do.
            if not self._ended.is_set():
                raise

    def handle(self, message):
        path, request = message.topic.removeprefix("iotdm-1/"), json.loads(message.payload)
        if path == "response":
            return
        self.asked.put(path)
        if self.is_silent:
            return
        if path == self.fails_at:
            self.answer(request, 500, message="not today\x1b[31m")
        elif path == "device/update":
            self.firmware = dict(request["d"]["fields"][0]["value"])
            self.answer(request, 204)
        elif path == "observe":
            self.answer(request, 200, d={"fields": [{"field": "mgmt.firmware", "value": self.firmware}]})
        elif path == "cancel":
            self.answer(request, 200)
        elif path == "mgmt/initiate/firmware/download":
            self.answer(request, 202)
            self.notify(state=1)
            self.download()
        elif path == "mgmt/initiate/firmware/update":
            self.answer(request, 202)
            self.notify(updateStatus=1)
            self.installed = self.firmware["version"]
            self.notify(state=0, updateStatus=0)
        else:
            self.answer(request, 202)
            self.client.close()
            if not self._ended.wait(0.3):
                self.connect()

    def download(self):
        try:
            with urllib.request.urlopen(self.firmware["uri"], timeout=DEADLINE) as answer:
                parts = []
                while part := answer.read(100_000):
                    parts.append(part)
                    if self._abandoned.wait(self.slow or 0):
                        return
            self.image = b"".join(parts)
            self.notify(state=2, updateStatus=0)
        except OSError:
            self.notify(state=0, updateStatus=3)

    def abandon(self):
        """Gives up a download under way, without a word."""
        self._abandoned.set()
        for thread in list(self._threads):
            thread.join(DEADLINE)
        self._abandoned.clear()

    def close(self):
        self._ended.set()
        self.abandon()
        self.client.close()
