"""Floating point, 64-bit arithmetic, methods that change their value, time and Curve25519 on each device: a small
program built with each device's Swift SDK."""

import json
import math
import os
import pathlib
import random
import struct
import subprocess
import time

import pytest

pytestmark = pytest.mark.core

ROOT = pathlib.Path(__file__).resolve().parents[2]
SDKS = ROOT / "build/sdk"


def double(value):
    return struct.unpack(">Q", struct.pack(">d", value))[0]


def single(value):
    return struct.unpack(">I", struct.pack(">f", value))[0]


def whole(value):
    return value % 2**64


def as_float(value):
    return struct.unpack(">f", struct.pack(">f", value))[0]


def divisions(bits, count=20_000):
    """The sum of all quotients and remainders of the probe's numbers, as C defines them."""
    state, total, top = 1, 0, 2**(bits - 1)

    def number():
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> (state >> 7) % 64) % 2**bits

    for _ in range(count):
        dividend, divisor = number(), number()
        if divisor == 0:
            continue
        results = list(divmod(dividend, divisor))
        left, right = (value - 2**bits if value >= top else value for value in (dividend, divisor))
        if (left, right) != (-top, -1):
            # Towards zero.
            quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
            results += [quotient, left - quotient * right]
        for result in results:
            total = (total ^ whole(result)) * 0x100000001B3 % 2**64
    return total


def copies(room=96, length_max=40):
    """How often the probe copies: each pair of places once, and once more where they do not overlap."""
    return sum(2 if to >= start + length or start >= to + length else 1 for length in range(length_max + 1)
               for start in range(room - length + 1) for to in range(room - length + 1))


EXPECTED = {
    "sum": double(11.5), "tenths": double(0.1 + 0.2), "quotient": double(8 / 3.5), "product": double(-2.25 * 0.1),
    "overflow": double(math.inf), "root": double(math.sqrt(8)), "float": single(as_float(0.1) * 3.5),
    "rounding": single(16777216.0), "from-integer": double(9007199254740992.0), "to-integer": 10**10,
    "mixed": double(3.5 + as_float(as_float(0.2) * 7) - 2.25), "half": single(1.75), "power": double(12.25),
    "remainder": double(1.0), "scaled": double(-72.0), "parsed": double(-1.2345678),
    "division": whole(-714285714), "modulo": 2, "wide": whole(3037000500**2), "wide-overflow": 1,
    "divisions": divisions(64), "divisions-32": divisions(32), "copies": copies(), "copies-wrong": 0,
    "closed-position": 2, "closed-depth": whole(-2), "skipped-position": 2, "skipped-depth": whole(-2),
    "skipped-count": 2,
    "time-bytes": 8, "date": 21280611, "file-time": 5_000_000_000,
}


PRIME = 2**255 - 19
BASE = (9).to_bytes(32, "little")


def curve25519(scalar, point):
    """X25519 as RFC 7748 5 writes it, for comparison; bytes in and out."""
    bits = int.from_bytes(scalar, "little") & ~7 & 2**255 - 1 | 2**254
    u = int.from_bytes(point, "little") & 2**255 - 1
    x2, z2, x3, z3 = 1, 0, u, 1
    for position in reversed(range(255)):
        bit = bits >> position & 1
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        x3, z3 = (da + cb)**2 % PRIME, u * (da - cb)**2 % PRIME
        x2, z2 = aa * bb % PRIME, (aa - bb) * (aa + 121665 * (aa - bb)) % PRIME
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


# RFC 7748 5.2: scalar, point, product.
CURVE_VECTORS = [tuple(map(bytes.fromhex, vector.split())) for vector in (
    "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4 "
    "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c "
    "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d "
    "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493 "
    "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
)]
# https://cr.yp.to/ecdh.html: the product is 0 with any scalar, so that the peer would know the secret beforehand.
WORTHLESS = [0, 1, 325606250916557431795983626356110631294008115727848805560023387167927233504,
             39382357235489614581723060781553021112529911719440698176882885853963445705823,
             PRIME - 1, PRIME, PRIME + 1]


def curve_inputs():
    """Pairs of scalar and point: all edges there are, and others as chance has it."""
    dice = random.Random(7748)
    points = [point + top for point in (*WORTHLESS, 2, 3, 9, PRIME - 2, PRIME + 2, PRIME + 18, 2**254, 2**51 - 1,
                                        2**255 - 2**204) for top in (0, 2**255)]
    pairs = [vector[:2] for vector in CURVE_VECTORS]
    pairs += [(dice.randbytes(32), point.to_bytes(32, "little")) for point in points]
    pairs += [(scalar.to_bytes(32, "little"), dice.randbytes(32)) for scalar in (0, 7, 8, 2**254, 2**255, 2**256 - 1)]
    return pairs + [(dice.randbytes(32), dice.randbytes(32)) for _ in range(100)]


@pytest.fixture(scope="module")
def results(architecture, program, tmp_path_factory):
    """What the probe prints."""
    bundle = json.loads((SDKS / "mote.artifactbundle/swift-sdk.json").read_text())
    triple = next(triple for triple in bundle["targetTriples"] if triple.startswith(architecture))
    scratch = ROOT / "build/probe" / architecture
    # What Scripts/build does when it has to.
    is_arm = triple.startswith("arm")
    careful = ["-Xlinker", "-mllvm", "-Xlinker", "-arm-assume-misaligned-load-store"] if is_arm else []
    built = subprocess.run(
        ["swift", "build", "--package-path", ROOT / "Tests/Probe", "-c", "release", "--swift-sdks-path", SDKS,
         "--swift-sdk", triple, "--scratch-path", scratch, *careful], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe-file").touch()
    emulator = program.command[:-1]
    numbers = "".join(f"{scalar.hex()} {point.hex()}\n" for scalar, point in curve_inputs())
    done = subprocess.run([*emulator, scratch / "release/Probe"], cwd=folder, env=dict(os.environ), input=numbers,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
    return {name: int(bits, 16) for name, bits in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("name", EXPECTED)
def test_result(results, name):
    assert f"{results[name]:016x}" == f"{EXPECTED[name]:016x}"


@pytest.mark.parametrize("triple", ["armv6-none-none-eabi", "armv7-none-none-eabi"])
def test_the_compiler_still_needs_its_flag(triple):
    """What it makes of Cursor.swift without the flag that Scripts/build gives where it is needed."""
    source = ROOT / "Tests/Probe/Sources/Probe/Cursor.swift"
    thumb = ["-Xcc", "-mthumb"] if triple.startswith("armv7") else []
    made = subprocess.run(
        ["swiftc", "-target", triple, *thumb, "-enable-experimental-feature", "Embedded", "-wmo", "-Osize",
         "-parse-as-library", "-emit-assembly", source, "-o", "-"], capture_output=True, text=True, timeout=120,
        check=False)
    assert made.returncode == 0, made.stderr
    assert "r10!, {" in made.stdout, "this compiler gets it right: take -arm-assume-misaligned-load-store out again"


def test_the_clock_is_read(results):
    assert abs(results["now"] - time.time()) < 60


def test_the_comparison_itself_is_right():
    for scalar, point, product in CURVE_VECTORS:
        assert curve25519(scalar, point) == product
    # RFC 7748 5.2: each result becomes the scalar, and the scalar before it the point.
    scalar = point = BASE
    for _ in range(1000):
        scalar, point = curve25519(scalar, point), scalar
    assert scalar.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def test_curve25519(results):
    for number, (scalar, point) in enumerate(curve_inputs()):
        found = {name: results.get(f"{name}-{number}") for name in ("product", "public", "secret")}
        product = int.from_bytes(curve25519(scalar, point), "big")
        # What is worthless is refused (RFC 8446 7.4.2).
        expected = {"product": product, "secret": product or None,
                    "public": int.from_bytes(curve25519(scalar, BASE), "big")}
        assert found == expected, f"scalar {scalar.hex()}, point {point.hex()}"
