"""A name server for a network namespace of our own, where port 53 and /etc belong to the test."""

import ipaddress
import socket
import struct
import threading

A, AAAA = 1, 28
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME, REFUSED = 0, 2, 3, 5


class NameServer:
    """Answers queries for the names in `addresses` (name: list of addresses); others do not exist.

    For each kind of query, or both, it may be "silent" or give one of the codes instead; `delay` is in seconds. One
    that `cuts` has no record in a datagram, and them all for who connects.
    """

    def __init__(self, addresses, *, address="127.0.0.1", ipv4=NO_ERROR, ipv6=NO_ERROR, delay=0, cuts=False):
        self.addresses = addresses
        self.conduct = {A: ipv4, AAAA: ipv6}
        self.delay = delay
        self.queries = []
        self.cuts = cuts
        self._timers = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        # A thread that waits for ever would keep the port bound beyond close().
        self._socket.settimeout(0.1)
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self._listener = socket.create_server((address, 53))
        self._listener.settimeout(0.1)
        self._connections = threading.Thread(target=self._serve_connections)
        self._connections.start()

    def _serve_connections(self):
        while not self._is_closing:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection, connection.makefile("rb") as stream:
                query = stream.read(struct.unpack(">H", stream.read(2))[0])
                answer = self._answer(query, *self._question(query), self.conduct[A])
                # In two pieces, as it may well arrive.
                whole = struct.pack(">H", len(answer)) + answer
                connection.sendall(whole[:20])
                connection.sendall(whole[20:])

    @staticmethod
    def _question(query):
        """Where a question ends, its name, and what kind of address it asks for."""
        labels, offset = [], 12
        while query[offset]:
            labels.append(query[offset + 1:offset + 1 + query[offset]].decode())
            offset += 1 + query[offset]
        return offset + 5, ".".join(labels), *struct.unpack_from(">H", query, offset + 1)

    def _serve(self):
        while not self._is_closing:
            try:
                query, peer = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            end, name, kind = self._question(query)
            self.queries.append(name)
            conduct = self.conduct.get(kind, NO_ERROR)
            if conduct == "silent":
                continue
            answer = self._answer(query, end, name, kind, conduct)
            if self.cuts:
                answer = query[:2] + struct.pack(">HHHHH", 0x8380, 1, 0, 0, 0) + query[12:end]
            if self.delay:
                self._timers.append(threading.Timer(self.delay, self._socket.sendto, (answer, peer)))
                self._timers[-1].start()
            else:
                self._socket.sendto(answer, peer)

    def _answer(self, query, question_end, name, kind, code):
        if code == NO_ERROR and name not in self.addresses:
            code = NO_SUCH_NAME
        found = [ipaddress.ip_address(text) for text in self.addresses.get(name, [])]
        wanted = [one.packed for one in found if one.version == (4 if kind == A else 6)] if kind in (A, AAAA) else []
        if code != NO_ERROR:
            wanted = []
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(wanted), 0, 0)
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 1, len(data)) + data for data in wanted)
        return head + query[12:question_end] + records

    def close(self):
        self._is_closing = True
        self._thread.join()
        self._connections.join()
        self._listener.close()
        for timer in self._timers:
            timer.cancel()
        self._socket.close()
