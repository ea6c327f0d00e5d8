"""Many MQTT clients in one process: written plainly on sockets, so that they cost little beside what is measured."""

import resource
import selectors
import socket
import struct
import time

CONNACK_OK = b"\x20\x02\x00\x00"
RECEIVE_BYTES = 65536


def text(value):
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded


def packet(first, body):
    count, length = len(body), bytearray()
    while True:
        count, digit = divmod(count, 128)
        length.append(digit | (0x80 if count else 0))
        if not count:
            return bytes([first]) + bytes(length) + body


def connect_packet(client_id, user=None, password=None, keep_alive=600):
    flags = 0x02 | (0xC0 if user else 0)
    body = text("MQTT") + bytes([4, flags]) + struct.pack(">H", keep_alive) + text(client_id)
    return packet(0x10, body + (text(user) + text(password) if user else b""))


def publish_packet(topic, payload, qos, identifier):
    return packet(0x30 | qos << 1, text(topic) + (struct.pack(">H", identifier) if qos else b"") + payload)


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_stream(port, packet_bytes):
    """Connects and waits for CONNACK."""
    stream = socket.create_connection(("127.0.0.1", port), timeout=60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(packet_bytes)
    answer = stream.recv(4)
    assert answer == CONNACK_OK, f"refused: {answer.hex()}"
    return stream


class Swarm:
    """Clients that publish."""

    def __init__(self, port, identities, topic="iot-2/evt/status/fmt/json"):
        self.topic = topic
        self.streams = [open_stream(port, connect_packet(*identity)) for identity in identities]
        self.acknowledged = 0
        self.selector = selectors.DefaultSelector()
        for stream in self.streams:
            stream.setblocking(False)
            self.selector.register(stream, selectors.EVENT_READ)

    def publish(self, rate, seconds, qos, payload):
        """Each client publishes `rate` messages a second, spread evenly; returns how many messages that were."""
        start, sent, total = time.monotonic(), 0, int(len(self.streams) * rate * seconds)
        while sent < total:
            due = min(int((time.monotonic() - start) * len(self.streams) * rate), total)
            while sent < due:
                number, stream = divmod(sent, len(self.streams))
                body = payload % (stream, number)
                self.streams[stream].send(publish_packet(self.topic, body, qos, number % 65535 + 1))
                sent += 1
            self.receive(0.001)
        return sent

    def receive(self, timeout):
        """Takes acknowledgements, which are four bytes each."""
        for key, _ in self.selector.select(timeout):
            data = key.fileobj.recv(RECEIVE_BYTES)
            assert data, "a client lost its connection"
            self.acknowledged += len(data) // 4

    def wait_acknowledged(self, count, timeout=30):
        end = time.monotonic() + timeout
        while self.acknowledged < count and time.monotonic() < end:
            self.receive(0.1)
        return self.acknowledged

    def close(self):
        for stream in self.streams:
            stream.close()


def subscribe(port, identity, filters, qos, counted, stop):
    """An application in a process of its own: counts distinct payloads and topics into `counted`, until `stop`."""
    stream = open_stream(port, connect_packet(*identity))
    stream.sendall(packet(0x82, b"\0\1" + b"".join(text(name) + bytes([qos]) for name in filters)))
    assert stream.recv(64)[0] == 0x90
    stream.settimeout(0.2)
    seen, buffer, messages = set(), bytearray(), 0
    while not stop.is_set():
        try:
            data = stream.recv(1 << 18)
        except TimeoutError:
            counted[0], counted[1] = messages, len(seen)
            continue
        if not data:
            break
        buffer += data
        messages += take_messages(stream, buffer, seen)
        counted[0], counted[1] = messages, len(seen)


def take_messages(stream, buffer, seen):
    """Takes whole messages off the front of `buffer`, and acknowledges them."""
    offset, count, answers = 0, 0, bytearray()
    while len(buffer) - offset >= 2:
        length, shift, index = 0, 0, offset + 1
        while index < len(buffer):
            length |= (buffer[index] & 127) << shift
            shift += 7
            index += 1
            if buffer[index - 1] < 128:
                break
        if len(buffer) < index + length:
            break
        if buffer[offset] >> 4 == 3:
            count += 1
            body = bytes(buffer[index:index + length])
            end = 2 + struct.unpack_from(">H", body)[0]
            if buffer[offset] & 6:
                answers += b"\x40\x02" + body[end:end + 2]
                seen.add((body[2:end], body[end + 2:]))
        offset = index + length
    del buffer[:offset]
    if answers:
        stream.sendall(answers)
    return count
