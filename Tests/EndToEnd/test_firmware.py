"""Firmware bundles: made by Scripts/make-bundle and openssl, looked at by the program."""

import hashlib
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER_BYTES, SIGNED_BYTES, BLOCK_BYTES = 512, 352, 4096
DAMAGED = 65


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two pairs of P-256, `one` and `two`, and one of a curve that is not used."""
    folder = tmp_path_factory.mktemp("keys")
    for name, curve in [("one", "prime256v1"), ("two", "prime256v1"), ("large", "secp384r1")]:
        openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", folder / f"{name}.pem")
        openssl("pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub")
    return folder


@pytest.fixture
def make_bundle(tmp_path):
    """Makes a bundle of `image`; gives its path."""
    def make(image, *arguments, expected=0):
        source, bundle = tmp_path / "image", tmp_path / "bundle"
        source.write_bytes(image)
        made = subprocess.run(
            [ROOT / "Scripts/make-bundle", source, bundle, "--kind", "file", "--version", "1.5.0", "--compatible",
             "acme-e7", "--block-bits", "12", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert (made.returncode != 0) == (expected != 0), made.stderr
        return bundle if expected == 0 else made.stderr
    return make


@pytest.fixture
def inspect(program):
    """Runs `mote firmware inspect`; gives its exit status, its lines as a dictionary and what it complained about."""
    def run(path, *arguments):
        ran = program.run("firmware", "inspect", path, *arguments)
        fields = dict(line.split(None, 1) for line in ran.stdout.splitlines())
        return ran.returncode, fields, ran.stderr
    return run


def image_of(count):
    """Bytes that no block repeats."""
    return b"".join(hashlib.sha256(index.to_bytes(4, "big")).digest() for index in range(count // 32 + 1))[:count]


@pytest.mark.core
@pytest.mark.parametrize("count", [1, 4063, 4064, 4065, 8128, 8129, 100_000])
def test_a_bundle_is_what_was_signed(make_bundle, inspect, keys, count):
    image = image_of(count)
    bundle = make_bundle(image, "--key", keys / "one.pem", "--security-version", 3, "--created", 1_790_000_000)
    status, fields, complaint = inspect(bundle, "--key", keys / "one.pub")
    assert (status, complaint) == (0, "")
    assert fields["sha256"] == hashlib.sha256(image).hexdigest()
    assert fields["image"] == f"{count} bytes" and fields["content"] == "whole"
    assert fields["kind"] == "file" and fields["version"] == "1.5.0" and fields["compatible"] == "acme-e7"
    assert fields["security"] == "3" and fields["created"] == "2026-09-21T14:13:20.000Z"
    assert fields["signature"].endswith("ECDSA with P-256: good")


def test_a_program_names_its_machine(make_bundle, inspect):
    arm = b"\x7fELF\x01\x01\x01" + bytes(11) + b"\x28\x00" + bytes(100)
    assert inspect(make_bundle(arm, "--kind", "agent"))[1]["machine"] == "arm"
    assert "expected one" in make_bundle(b"#!/bin/sh\n", "--kind", "agent", expected=1)


@pytest.mark.core
def test_every_damage_is_noticed(make_bundle, inspect, keys, tmp_path):
    """Each byte of the header is changed, and each block; what is signed cannot be told from what is not otherwise."""
    whole = make_bundle(image_of(9000), "--key", keys / "one.pem").read_bytes()
    changed = tmp_path / "changed"
    # On every architecture one byte of each field; what an emulated program takes to start is not worth more.
    offsets = [0, 9, 11, 15, 16, 17, 18, 19, 23, 31, 39, 47, 48, 112, 145, 147, 148, 180, 212, 351, 352, 356, 357, 400]
    blocks = [HEADER_BYTES, HEADER_BYTES + BLOCK_BYTES - 32, HEADER_BYTES + BLOCK_BYTES, len(whole) - 1]
    for offset in offsets + blocks:
        changed.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1:])
        status, _, complaint = inspect(changed, "--key", keys / "one.pub")
        assert status == DAMAGED and complaint.startswith(f"mote: {changed}: "), f"at {offset}"
    for count in [0, 1, 7, 8, 511, 512, 513, HEADER_BYTES + BLOCK_BYTES - 1, len(whole) - 1]:
        changed.write_bytes(whole[:count])
        assert inspect(changed, "--key", keys / "one.pub")[0] == DAMAGED, f"cut at {count}"
    changed.write_bytes(whole + b"\0")
    status, _, complaint = inspect(changed)
    assert status == DAMAGED and "more bytes behind the last block" in complaint


@pytest.mark.native
@pytest.mark.seconds(8)
def test_no_bit_of_a_signed_header_can_be_changed(make_bundle, inspect, keys, tmp_path):
    whole = make_bundle(b"image", "--key", keys / "one.pem").read_bytes()
    changed = tmp_path / "changed"
    for bit in range(SIGNED_BYTES * 8):
        header = bytearray(whole)
        header[bit // 8] ^= 1 << bit % 8
        changed.write_bytes(header)
        assert inspect(changed, "--key", keys / "one.pub")[0] == DAMAGED, f"bit {bit}"


def test_either_signature_will_do(make_bundle, inspect, keys):
    bundle = make_bundle(b"image", "--key", keys / "one.pem", "--key", keys / "two.pem")
    for name in ["one", "two"]:
        assert inspect(bundle, "--key", keys / f"{name}.pub")[0] == 0
    content = bytearray(bundle.read_bytes())
    content[400] ^= 1  # within the first signature
    bundle.write_bytes(content)
    assert inspect(bundle, "--key", keys / "one.pub")[0] == DAMAGED
    assert inspect(bundle, "--key", keys / "two.pub")[0] == 0


def test_without_a_key_nothing_is_said_of_signatures(make_bundle, inspect, keys):
    status, fields, _ = inspect(make_bundle(b"image"))
    assert status == 0 and fields["signature"] == "none"
    status, fields, _ = inspect(make_bundle(b"image", "--key", keys / "one.pem"))
    assert status == 0 and fields["signature"].endswith("not checked, since no --key was named")


def test_another_key_is_refused(make_bundle, inspect, keys, tmp_path):
    bundle = make_bundle(b"image", "--key", keys / "one.pem")
    for wrong, complaint in [(keys / "two.pub", "not signed by the key that was named"),
                             (keys / "large.pub", "expected a key of P-256"),
                             (keys / "one.pem", "no public key in it"), (tmp_path, "not a regular file"),
                             (tmp_path / "nothing", "there is no such file")]:
        status, _, said = inspect(bundle, "--key", wrong)
        assert status == DAMAGED and complaint in said, wrong


@pytest.mark.parametrize("content, complaint", [
    (b"", "truncated; expected 512 bytes of header"),
    (b"<html><body>Please log in</body></html>", "not-a-bundle; expected the first bytes of a bundle"),
    (b"\x89MOTE\n\x1a" + bytes(600), "not-a-bundle")], ids=["empty", "page", "as-text"])
def test_what_is_no_bundle(inspect, tmp_path, content, complaint):
    path = tmp_path / "file"
    path.write_bytes(content)
    status, fields, said = inspect(path)
    assert status == DAMAGED and complaint in said and not fields


@pytest.mark.parametrize("arguments, complaint", [
    (["--block-bits", "11"], "expected 12 to 16"), (["--compatible", "a b"], "printable ASCII without blanks"),
    (["--version", "1" * 33], "expected 1 to 32 characters"), (["--security-version", "-1"], "expected 0 to"),
    (["--key", "nothing.pem"], "openssl pkey")], ids=lambda value: value[0] if isinstance(value, list) else "")
def test_make_bundle_says_what_it_expects(make_bundle, arguments, complaint):
    assert complaint in make_bundle(b"image", *arguments, expected=1)


def test_make_bundle_wants_p256(make_bundle, keys):
    assert "expected a key of P-256" in make_bundle(b"image", "--key", keys / "large.pem", expected=1)
    assert "the image is empty" in make_bundle(b"", expected=1)
