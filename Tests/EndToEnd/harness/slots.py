"""The slots of the agent's program, as Sources/Firmware/SLOTS.md has them."""

import hashlib
import struct

EMPTY, WRITING, VERIFIED, TRIAL, GOOD, BAD = range(6)
REASONS = ["none", "damaged", "not-executable", "exited", "signalled", "timeout", "wrong", "interrupted"]
RECORD_BYTES = 256


def crc32c(data):
    """CRC-32C, RFC 3720 B.4."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


class Record:
    """One version of the slot record."""

    def __init__(self, number=1, active=None, tries=3, seconds=600, **slots):
        self.number, self.active, self.tries, self.seconds = number, active, tries, seconds
        self.floor, self.failures, self.flags, self.reason, self.status = 0, 0, 0, 0, 0
        self.reverted = bytes(32)
        # By name: state and the image's bytes.
        self.slots = {name: (*slots.get(name, (EMPTY, b"")), ) for name in "ab"}

    def bytes(self):
        """One copy."""
        active = 0 if self.active is None else 1 + "ab".index(self.active)
        data = b"MoSl" + struct.pack(
            ">HHIIBBBBHBB8x", 1, RECORD_BYTES, self.number, self.floor, active, self.tries, self.failures, self.flags,
            self.seconds, self.reason, self.status)
        data += self.reverted
        for name in "ab":
            state, image = self.slots[name]
            digest = hashlib.sha256(image).digest() if image else bytes(32)
            data += struct.pack(">BBHI32s32s8x", state, 3 if image else 0, 0, 0, digest, b"1.0" if image else b"")
        data = data.ljust(RECORD_BYTES - 4, b"\0")
        return data + struct.pack(">I", crc32c(data))


def read_copy(data):
    """What a copy says, by name; None where it is not whole."""
    if len(data) != RECORD_BYTES or data[:4] != b"MoSl" or struct.unpack(">I", data[252:])[0] != crc32c(data[:252]):
        return None
    number, _, active, tries, failures, flags, seconds, reason, status = struct.unpack(">IIBBBBHBB", data[8:24])
    return {"number": number, "active": [None, "a", "b"][active], "tries": tries, "failures": failures, "flags": flags,
            "seconds": seconds, "reason": REASONS[reason], "status": status, "reverted": data[32:64],
            "a": data[64], "b": data[144]}


def read_record(folder):
    """The newer copy of the record in `folder`."""
    copies = [read_copy((folder / name).read_bytes()) for name in ("slots.0", "slots.1") if (folder / name).exists()]
    return max((copy for copy in copies if copy), key=lambda copy: copy["number"], default=None)


def write_record(folder, record, copy=0):
    """Puts a version of the record into one of its copies."""
    (folder / f"slots.{copy}").write_bytes(record.bytes())
