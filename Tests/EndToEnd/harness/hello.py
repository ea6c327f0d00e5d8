"""What a TLS client offers: a ClientHello taken apart (RFC 8446 4.1.2)."""

import struct

SUITES = {
    0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384", 0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256", 0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305", 0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
    0x009C: "AES128-GCM-SHA256", 0x009D: "AES256-GCM-SHA384",
}
GROUPS = {0x0017: "P-256", 0x0018: "P-384", 0x0019: "P-521", 0x001D: "X25519", 0x001E: "X448"}
SIGNATURES = {
    0x0401: "RSA-SHA256", 0x0501: "RSA-SHA384", 0x0601: "RSA-SHA512", 0x0403: "ECDSA-SHA256", 0x0503: "ECDSA-SHA384",
    0x0603: "ECDSA-SHA512", 0x0804: "RSA-PSS-SHA256", 0x0805: "RSA-PSS-SHA384", 0x0806: "RSA-PSS-SHA512",
    0x0303: "ECDSA-SHA224", 0x0301: "RSA-SHA224", 0x0201: "RSA-SHA1", 0x0203: "ECDSA-SHA1",
}
VERSIONS = {0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
# No suite at all: the client can say what RFC 5746 wants to hear.
RENEGOTIATION_INFO = 0x00FF


def _numbers(data):
    return [number for (number,) in struct.iter_unpack(">H", data)]


def _names(numbers, names):
    return [names.get(number, f"0x{number:04x}") for number in numbers]


def read_hello(stream):
    """Reads a ClientHello, which comes in one record, from a socket; gives what is offered, in its order."""
    stream = stream.makefile("rb")
    header = stream.read(5)
    assert header[0] == 22, header
    body = stream.read(int.from_bytes(header[3:5], "big"))
    assert body[0] == 1 and int.from_bytes(body[1:4], "big") == len(body) - 4
    # Type and length, version, random; then the session's identifier.
    position = 4 + 2 + 32
    position += 1 + body[position]
    length = int.from_bytes(body[position:position + 2], "big")
    suites = _numbers(body[position + 2:position + 2 + length])
    position += 2 + length
    position += 1 + body[position] + 2
    extensions = {}
    while position < len(body):
        kind, length = struct.unpack_from(">HH", body, position)
        extensions[kind] = body[position + 4:position + 4 + length]
        position += 4 + length
    return {
        "suites": _names([number for number in suites if number != RENEGOTIATION_INFO], SUITES),
        "groups": _names(_numbers(extensions[10][2:]), GROUPS),
        "signatures": _names(_numbers(extensions[13][2:]), SIGNATURES),
        "versions": _names(_numbers(extensions[43][1:]), VERSIONS),
    }
