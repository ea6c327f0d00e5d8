"""A service manager's side of sd_notify(3): the socket of the environment, and what comes by it."""

import os
import socket
import threading
import time

from .waiting import DEADLINE, wait_until


class Manager:
    """Listens at a path, or at an abstract name that begins with `@`."""

    def __init__(self, name):
        self.name = str(name)
        self.news = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.name.replace("@", "\0", 1) if self.name.startswith("@") else self.name)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data = self._socket.recv(4096)
            except OSError:
                return
            if data == b"end":
                return
            self.news.append((time.monotonic(), data.decode()))

    @property
    def words(self):
        """All that has come but signs of life, in order."""
        return [text for _, text in list(self.news) if text != "WATCHDOG=1"]

    @property
    def signs(self):
        """When signs of life have come."""
        return [moment for moment, text in list(self.news) if text == "WATCHDOG=1"]

    def environment(self, **more):
        """What a service is started with."""
        return {"NOTIFY_SOCKET": self.name, **more}

    def wait(self, count, patience=1):
        """Waits for this many words; gives them."""
        wait_until(lambda: len(self.words) >= count, DEADLINE * patience, f"{count} words of {self.words}")
        return self.words

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"end", self._socket.getsockname())
        self._socket.close()
        if not self.name.startswith("@"):
            os.unlink(self.name)
