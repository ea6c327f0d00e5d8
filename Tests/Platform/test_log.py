"""The log is no part of the service: the platform goes on where nobody takes its lines."""

import fcntl
import os
import signal
import socket
import subprocess
import urllib.request

import pytest

from harness.waiting import can_connect, free_port, wait_until
from service import Client


def full_disk():
    """A file that takes nothing."""
    return os.open("/dev/full", os.O_WRONLY)


def closed_pipe():
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("open_output", [full_disk, closed_pipe])
def test_goes_on_without_a_log(motectl, open_output):
    """Nobody takes the log nor the line that tells the ports: clients are served all the same."""
    ports, output = {"mqtt": free_port(), "http": free_port()}, open_output()
    words = [word for name, port in ports.items() for word in (f"--{name}", str(port))]
    process = subprocess.Popen([motectl, "platform", *words, "--log-level", "debug"], stdin=subprocess.DEVNULL,
                               stdout=output, stderr=output)
    os.close(output)
    try:
        wait_until(lambda: all(map(can_connect, ports.values())) or process.poll() is not None, 20, "the listeners")
        service = type("Ports", (), {"ports": ports})
        for name in ("q1", "q2"):
            client = Client(service, f"d:quickstart:any:{name}")
            client.publish("iot-2/evt/status/fmt/json", {"d": {"t": 1}}, qos=0)
            client.close()
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/health", timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def flood(port, count):
    """So many connections that are no MQTT: each is a line in the log, or two."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while connection.recv(1024):
                pass


def test_reader_that_does_not_read(motectl):
    """A pipe that is full: nobody waits for its reader, neither clients nor the end."""
    ports = {"mqtt": free_port(), "http": free_port()}
    words = [word for name, port in ports.items() for word in (f"--{name}", str(port))]
    process = subprocess.Popen([motectl, "platform", *words, "--log-level", "debug"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
    try:
        process.stdout.readline()
        flood(ports["mqtt"], 200)
        client = Client(type("Ports", (), {"ports": ports}), "d:quickstart:any:q1")
        client.publish("iot-2/evt/status/fmt/json", {"d": {"t": 1}})
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert len(process.stderr.read()) <= 4096
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()


def test_lines_are_bounded(service, gateway):
    """What a client sends may be long; its line is not."""
    client = gateway(service)
    assert client.subscribe("iot-2/" + "x" * 60_000) == (0x80,)
    line = service.wait_log("client", "illegal-topic", request="subscribe")
    assert line.fields["topic"].endswith("… (60006 bytes)")
    assert max(map(len, service.lines)) < 1000


def test_reader_that_goes(start_service, device):
    """The same where the reader goes while the platform runs."""
    service = start_service()
    # The descriptor that the test reads by: closing the file would wait for the thread that reads.
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.dup2(descriptor, service.process.stderr.fileno())
    os.close(descriptor)
    for _ in range(3):
        device(service).close()
    assert service.process.poll() is None
