"""The platform's HTTP interface as a client without a library sees it."""

import base64
import contextlib
import http.client
import json
import queue
import socket
import threading
import time

from harness.waiting import DEADLINE
from service import KEY, KEY_TOKEN, TOKEN

API = "/api/v0002"
APPLICATION = (KEY, KEY_TOKEN)
DEVICE = ("use-token-auth", TOKEN)


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        """What an error says; that it has the shape of one is checked."""
        value = self.json
        assert set(value) == {"status", "message"} and value["status"] == self.status and value["message"], value
        return value["message"]


def authorization(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def call(service, method, path, body=None, auth=APPLICATION, *, headers=None, content_type="application/json"):
    """Calls, and gives the answer. `body`: bytes, or what becomes JSON."""
    headers = dict(headers or {})
    if auth:
        headers["Authorization"] = authorization(*auth)
    if body is not None:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        if content_type:
            headers["Content-Type"] = content_type
    connection = http.client.HTTPConnection("127.0.0.1", service.ports["http"], timeout=2 * DEADLINE)
    try:
        connection.request(method, path, body, headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def api(service, method, path, body=None, auth=APPLICATION, **options):
    """Calls what is below /api/v0002."""
    return call(service, method, API + path, body, auth, **options)


class Stream:
    """A stream of server-sent events; its messages wait until a test asks for them."""

    def __init__(self, service, path, auth=None, headers=None):
        self.messages = queue.Queue()
        headers = dict(headers or {})
        if auth:
            headers["Authorization"] = authorization(*auth)
        self.connection = http.client.HTTPConnection("127.0.0.1", service.ports["http"], timeout=2 * DEADLINE)
        self.connection.request("GET", path, headers=headers)
        self.socket = self.connection.sock
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.thread = threading.Thread(target=self._read, daemon=True)
        if self.status == 200:
            assert self.response.headers["Content-Type"] == "text/event-stream"
            self.thread.start()

    def _read(self):
        try:
            for line in self.response:
                if line.startswith(b"data: "):
                    self.messages.put((time.monotonic(), json.loads(line[6:])))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass

    def next(self, kind=None, timeout=DEADLINE):
        """The next message (of this kind), and when it came."""
        end = time.monotonic() + timeout
        while True:
            try:
                at, message = self.messages.get(timeout=max(end - time.monotonic(), 0.001))
            except queue.Empty:
                raise AssertionError(f"no message {kind or ''} within {timeout} s") from None
            if kind in (None, message["kind"]):
                return message, at

    def close(self):
        # The reader is in the middle of a read: only a shutdown ends that.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        if self.thread.is_alive():
            self.thread.join(DEADLINE)
        self.connection.close()
