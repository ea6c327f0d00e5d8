"""Waiting with a bound, and small things about ports and processes."""

import random
import signal
import socket
import subprocess
import time

# Below the kernel's ephemeral range, so that no outgoing connection takes a port between its choice and its use.
PORT_MIN = 10000
PORT_MAX = 32000
POLL_SECONDS = 0.01
# How long a test waits for what must come, in seconds. A test that passes does not wait for it, so it is generous: the
# machine may be busy with other tests. What must come sooner because the product says so has a bound of its own.
DEADLINE = 30


def wait_until(condition, timeout, what):
    """Calls `condition` until it gives something true, and returns that; fails the test after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(POLL_SECONDS)


class ReservedPort:
    """A loopback port that nobody gets but who asks for its number, whether a program listens there or not.

    Bound with SO_REUSEADDR and never listening, the reservation keeps the kernel from giving the port to anyone else,
    refuses connections, and is in no server's way that sets that option too. It lasts until `close()`."""

    def __init__(self):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number = self._socket.getsockname()[1]

    def close(self):
        self._socket.close()


def free_port():
    """A loopback port on which nobody listens, for a program that wants it for itself."""
    for _ in range(100):
        port = random.randint(PORT_MIN, PORT_MAX)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port on the loopback")


def can_connect(port):
    """Whether somebody listens on loopback port `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
        return True
    except OSError:
        return False


def end_process(process, timeout=DEADLINE):
    """Ends a process that a test started, politely first, and returns its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
