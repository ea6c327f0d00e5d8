"""Floating point, 64-bit arithmetic and time on each device: a small program built with each device's Swift SDK."""

import json
import math
import os
import pathlib
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


EXPECTED = {
    "sum": double(11.5), "tenths": double(0.1 + 0.2), "quotient": double(8 / 3.5), "product": double(-2.25 * 0.1),
    "overflow": double(math.inf), "root": double(math.sqrt(8)), "float": single(as_float(0.1) * 3.5),
    "rounding": single(16777216.0), "from-integer": double(9007199254740992.0), "to-integer": 10**10,
    "mixed": double(3.5 + as_float(as_float(0.2) * 7) - 2.25), "half": single(1.75), "power": double(12.25),
    "remainder": double(1.0), "scaled": double(-72.0), "parsed": double(-1.2345678),
    "division": whole(-714285714), "modulo": 2, "wide": whole(3037000500**2), "wide-overflow": 1,
    "time-bytes": 8, "date": 21280611, "file-time": 5_000_000_000,
}


@pytest.fixture(scope="module")
def results(architecture, program, tmp_path_factory):
    """What the probe prints."""
    bundle = json.loads((SDKS / "mote.artifactbundle/swift-sdk.json").read_text())
    triple = next(triple for triple in bundle["targetTriples"] if triple.startswith(architecture))
    scratch = ROOT / "build/probe" / architecture
    built = subprocess.run(
        ["swift", "build", "--package-path", ROOT / "Tests/Probe", "-c", "release", "--swift-sdks-path", SDKS,
         "--swift-sdk", triple, "--scratch-path", scratch], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe-file").touch()
    emulator = program.command[:-1]
    done = subprocess.run([*emulator, scratch / "release/Probe"], cwd=folder, env=dict(os.environ),
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
    return {name: int(bits, 16) for name, bits in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("name", EXPECTED)
def test_result(results, name):
    assert f"{results[name]:016x}" == f"{EXPECTED[name]:016x}"


def test_the_clock_is_read(results):
    assert abs(results["now"] - time.time()) < 60
