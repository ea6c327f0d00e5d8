"""A scripted broker: records every packet that the agent sends and answers as the test wants."""

import socket
import struct
import threading
import time

from . import packets
from .waiting import DEADLINE, wait_until


class Connection:
    """One connection of the agent to a scripted broker."""

    def __init__(self, peer, stream):
        self.peer = peer
        self.stream = stream
        self.received = []
        self.ended = None
        self._taken = 0
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        buffer = bytearray()
        try:
            while chunk := self.stream.recv(65536):
                buffer += chunk
                while taken := packets.take_packet(buffer, time.monotonic()):
                    self.received.append(taken)
                    self.peer.answer(self, taken)
            self.ended = "closed"
        except OSError:
            self.ended = "reset"
        self.moment_ended = time.monotonic()

    def send(self, data, *, piece=None):
        """Sends bytes; with `piece`, in pieces of so many bytes with a pause in between."""
        if piece is None:
            self.stream.sendall(data)
            return
        for start in range(0, len(data), piece):
            self.stream.sendall(data[start:start + piece])
            time.sleep(0.002)

    def expect(self, kind, timeout=DEADLINE, where=lambda packet: True):
        """Waits for the next packet of this kind behind those already taken, and takes it and all before it."""

        def look():
            for index in range(self._taken, len(self.received)):
                found = self.received[index]
                if found.kind == kind and where(found):
                    self._taken = index + 1
                    return found
            return None

        try:
            return wait_until(look, timeout * self.peer.patience, packets.NAMES[kind])
        except AssertionError as error:
            seen = [f"{found.name} {found.body!r}" for found in self.received]
            raise AssertionError(f"{error}; received: {seen}, ended: {self.ended}") from None

    def all(self, kind):
        """All packets of a kind so far."""
        return [found for found in list(self.received) if found.kind == kind]

    def wait_ended(self, timeout=DEADLINE):
        """Waits until the agent has closed its end."""
        return wait_until(lambda: self.ended, timeout * self.peer.patience, "the agent closes the connection")

    def close(self, *, reset=False):
        """Closes the connection, orderly or with a reset."""
        try:
            if reset:
                self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.stream.close()


class ScriptedBroker:
    """Listens on a loopback port. `answers` says which kinds of packets are answered without the test's doing."""

    ALL = frozenset((packets.CONNECT, packets.PUBLISH, packets.SUBSCRIBE, packets.UNSUBSCRIBE, packets.PINGREQ,
                     packets.PUBREC, packets.PUBREL))

    def __init__(self, *, answers=ALL, connack=packets.connack(), patience=1, address="127.0.0.1", port=0,
                 start_tls=None):
        self.start_tls = start_tls
        self.answers = set(answers)
        self.connack = connack
        self.patience = patience
        self.connections = []
        self._accepted = 0
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=16)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.start_tls is not None:
                    stream = self.start_tls(stream)
            except OSError:
                stream.close()
                continue
            self.connections.append(Connection(self, stream))

    def answer(self, connection, received):
        """What an ordinary broker replies to one packet."""
        if received.kind not in self.answers:
            return
        if received.kind == packets.CONNECT:
            connection.send(self.connack)
        elif received.kind == packets.PUBLISH and received.qos:
            kind = packets.PUBACK if received.qos == 1 else packets.PUBREC
            connection.send(packets.acknowledgement(kind, received.identifier))
        elif received.kind == packets.SUBSCRIBE:
            connection.send(packets.suback(received.identifier, *(qos for _, qos in received.filters)))
        elif received.kind == packets.UNSUBSCRIBE:
            connection.send(packets.acknowledgement(packets.UNSUBACK, received.identifier))
        elif received.kind == packets.PINGREQ:
            connection.send(packets.packet(packets.PINGRESP, 0))
        elif received.kind == packets.PUBREC:
            connection.send(packets.acknowledgement(packets.PUBREL, received.identifier))
        elif received.kind == packets.PUBREL:
            connection.send(packets.acknowledgement(packets.PUBCOMP, received.identifier))

    def accept(self, timeout=DEADLINE):
        """The next connection of the agent."""
        wait_until(lambda: len(self.connections) > self._accepted, timeout * self.patience, "the agent connects")
        self._accepted += 1
        return self.connections[self._accepted - 1]

    def close(self):
        """Closes everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            connection.close()
