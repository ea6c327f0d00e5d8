"""A TCP proxy between agent and broker that behaves as badly as a network does."""

import socket
import struct
import threading
import time

from .waiting import ReservedPort


class _Pair:
    """One proxied connection."""

    def __init__(self, proxy, near, far):
        self.proxy = proxy
        self.near = near
        self.far = far
        self.frozen = False
        self.bytes_up = 0
        self.bytes_left = proxy.life() if proxy.life else None
        for stream in (near, far):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.threads = [
            threading.Thread(target=self._pump, args=ends, daemon=True) for ends in ((near, far), (far, near))]
        for thread in self.threads:
            thread.start()

    def _pump(self, source, target):
        try:
            while chunk := source.recv(65536):
                # A frozen connection swallows what was sent, as a network does whose router has forgotten us.
                if self.frozen:
                    continue
                if source is self.near:
                    self.bytes_up += len(chunk)
                else:
                    self.proxy.downward(chunk)
                if self.bytes_left is not None and self._wears_out(chunk, target):
                    return
                self._forward(chunk, target)
        except OSError:
            pass
        if not self.frozen:
            for stream in (self.near, self.far):
                _shut(stream)

    def _wears_out(self, chunk, target):
        """Whether the connection is cut within `chunk`, whose beginning still comes through."""
        self.bytes_left -= len(chunk)
        if self.bytes_left >= 0:
            return False
        target.sendall(chunk[:self.bytes_left])
        self.proxy.worn_out += 1
        self.cut(reset=self.proxy.worn_out % 2 == 0)
        return True

    def _forward(self, chunk, target):
        # Read once: the test may change it at any time.
        piece = self.proxy.piece_bytes
        if piece is None:
            target.sendall(chunk)
            return
        for start in range(0, len(chunk), piece):
            target.sendall(chunk[start:start + piece])
            time.sleep(self.proxy.piece_pause)

    def cut(self, *, reset=False):
        if reset:
            self.near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _shut(self.far)
        if reset:
            # shutdown() would send FIN; only close() with linger 0 sends a reset, once the pump has let go of it.
            self.near.close()
        else:
            _shut(self.near)


def _shut(stream):
    try:
        stream.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Proxy:
    """Forwards connections from a loopback port of its own to `target_port`."""

    def __init__(self, target_port):
        self.target_port = target_port
        # Not None: bytes are forwarded in pieces of this size, with a pause after each.
        self.piece_bytes = None
        self.piece_pause = 0.0005
        # Not None: gives how many bytes the next connection carries, both ways together, before it is cut; by turns in
        # an orderly way and by a reset.
        self.life = None
        self.worn_out = 0
        self.pairs = []
        self._listener = None
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.open()

    def open(self):
        """Listens (again)."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=16)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                near.close()
                continue
            self.pairs.append(_Pair(self, near, far))

    def downward(self, chunk):
        """Is called with what the server sends, for those who want to know."""

    def freeze(self):
        """The network forgets the connections there are: nothing comes through any more, and nobody is told."""
        for pair in self.pairs:
            pair.frozen = True

    def cut(self, *, reset=False):
        """Ends the connections there are."""
        for pair in self.pairs:
            if not pair.frozen:
                pair.cut(reset=reset)
        self.pairs = [pair for pair in self.pairs if pair.frozen]

    def shut(self):
        """Refuses new connections and ends those there are; `open()` ends the outage."""
        _shut(self._listener)
        self._listener.close()
        self.cut()

    def close(self):
        """Closes everything."""
        self.shut()
        for pair in self.pairs:
            pair.cut()
        self._reserved.close()
