"""MQTT 3.1.1 packets for scripted peers: written plainly, so that a test can also write wrong ones."""

import dataclasses
import struct

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14
NAMES = ("0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK",
         "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "15")


def remaining_length(count):
    """MQTT 3.1.1, 2.2.3."""
    encoded = bytearray()
    while True:
        count, digit = divmod(count, 128)
        encoded.append(digit | (0x80 if count else 0))
        if not count:
            return bytes(encoded)


def packet(kind, flags, body=b""):
    """Any packet."""
    return bytes([kind << 4 | flags]) + remaining_length(len(body)) + body


def text(value):
    """A string with its length."""
    encoded = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">H", len(encoded)) + encoded


def connack(code=0, session_present=False):
    return packet(CONNACK, 0, bytes([session_present, code]))


def publish(topic, payload, qos=0, identifier=None, dup=False, retain=False):
    if isinstance(payload, str):
        payload = payload.encode()
    body = text(topic) + (struct.pack(">H", identifier) if qos else b"") + payload
    return packet(PUBLISH, dup << 3 | qos << 1 | retain, body)


def command(name, payload, qos=0, identifier=None, dup=False):
    """A command as the platform sends it."""
    return publish(f"iot-2/cmd/{name}/fmt/json", payload, qos, identifier, dup)


def acknowledgement(kind, identifier):
    """PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK."""
    return packet(kind, 2 if kind == PUBREL else 0, struct.pack(">H", identifier))


def suback(identifier, *codes):
    return packet(SUBACK, 0, struct.pack(">H", identifier) + bytes(codes))


@dataclasses.dataclass
class Packet:
    """A packet that the agent sent."""

    kind: int
    flags: int
    body: bytes
    moment: float

    @property
    def name(self):
        return NAMES[self.kind]

    @property
    def qos(self):
        return self.flags >> 1 & 3

    @property
    def dup(self):
        return bool(self.flags & 8)

    @property
    def retain(self):
        return bool(self.flags & 1)

    def _string(self, offset):
        (count,) = struct.unpack_from(">H", self.body, offset)
        assert offset + 2 + count <= len(self.body), f"string runs over the end of {self}"
        return self.body[offset + 2:offset + 2 + count], offset + 2 + count

    @property
    def topic(self):
        assert self.kind == PUBLISH
        return self._string(0)[0].decode()

    @property
    def payload(self):
        assert self.kind == PUBLISH
        return self.body[self._string(0)[1] + (2 if self.qos else 0):]

    @property
    def identifier(self):
        offset = 0
        if self.kind == PUBLISH:
            assert self.qos, "QoS 0 has no packet identifier"
            offset = self._string(0)[1]
        return struct.unpack_from(">H", self.body, offset)[0]

    @property
    def filters(self):
        """Topic filters and QoS of a SUBSCRIBE."""
        offset, found = 2, []
        while offset < len(self.body):
            topic, offset = self._string(offset)
            found.append((topic.decode(), self.body[offset]))
            offset += 1
        return found

    @property
    def connect(self):
        """The fields of a CONNECT, as a dictionary."""
        assert self.kind == CONNECT
        protocol, offset = self._string(0)
        level, flags, keep_alive = struct.unpack_from(">BBH", self.body, offset)
        fields = {"protocol": protocol.decode(), "level": level, "flags": flags, "keep_alive": keep_alive,
                  "clean": bool(flags & 2), "user": None, "password": None, "will": None}
        identifier, offset = self._string(offset + 4)
        fields["client"] = identifier.decode()
        if flags & 4:
            topic, offset = self._string(offset)
            payload, offset = self._string(offset)
            fields["will"] = (topic.decode(), payload, flags >> 3 & 3, bool(flags & 0x20))
        if flags & 0x80:
            user, offset = self._string(offset)
            fields["user"] = user.decode()
        if flags & 0x40:
            fields["password"], offset = self._string(offset)
        assert offset == len(self.body), "bytes behind the last field of CONNECT"
        return fields


def take_packet(buffer, moment):
    """Removes the first whole packet from a bytearray; None while there is none."""
    if len(buffer) < 2:
        return None
    length, shift, index = 0, 0, 1
    while True:
        if index >= len(buffer):
            return None
        digit = buffer[index]
        length |= (digit & 0x7F) << shift
        shift += 7
        index += 1
        if not digit & 0x80:
            break
        assert index <= 4, "remaining length of more than four bytes"
    if len(buffer) < index + length:
        return None
    taken = Packet(buffer[0] >> 4, buffer[0] & 15, bytes(buffer[index:index + length]), moment)
    del buffer[:index + length]
    return taken
