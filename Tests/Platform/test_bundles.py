"""What a bundle says of itself, as an operator sees it before a device does: over HTTP, in a terminal, on the page."""

import re
import subprocess

import pytest

from operating import MAKE_BUNDLE, ManagedDevice, Operator
from rest import api, call
from test_page import log_in

@pytest.fixture
def key(tmp_path):
    path = tmp_path / "private.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path], check=True,
                   capture_output=True)
    return path


@pytest.fixture
def make(tmp_path, key):
    """Makes a bundle of a file for a command."""
    def made(version, compatible="acme-e7", signed=True):
        image, path = tmp_path / "image", tmp_path / "update.bundle"
        image.write_bytes(b"image " * 5000 + version.encode())
        subprocess.run([MAKE_BUNDLE, image, path, "--kind", "file", "--version", version, "--compatible", compatible,
                        "--security-version", "3", "--machine", "40", *(["--key", key] if signed else [])],
                       check=True, capture_output=True)
        return path
    return made


@pytest.fixture
def managed(service, closing):
    """A device with firmware 1.0, which takes what is made for acme-e7 as its metadata say."""
    made = ManagedDevice(service)
    closing.append(made)
    path = "/device/types/edge/devices/e1"
    assert api(service, "PUT", path, {"metadata": {"compatible": "acme-e7"}}).status == 200
    return made


@pytest.fixture
def operator(service, motectl, tmp_path):
    return Operator(motectl, service, tmp_path / "home")


def upload(service, content):
    return call(service, "POST", "/api/images?name=update.bundle", content,
                content_type="application/octet-stream").json


def test_over_http(service, make):
    content = make("1.5.0").read_bytes()
    image = upload(service, content)
    assert re.fullmatch("[0-9a-f]{8}", image["bundle"]["keys"].pop())
    created = image["bundle"].pop("created")
    assert re.fullmatch(r"20\d\d-.*Z", created) and "damage" not in image
    assert image["bundle"].pop("text").startswith(
        "a bundle of kind file for acme-e7 on arm, version 1.5.0, security version 3, signed by ")
    assert image["bundle"] == {"kind": "file", "compatible": "acme-e7", "version": "1.5.0", "securityVersion": 3,
                               "machine": "arm", "imageSize": 30005, "keys": []}
    assert call(service, "GET", "/api/images").json[0]["bundle"]["version"] == "1.5.0"


@pytest.mark.parametrize("change, told", [
    (lambda content: content[:-1], r"it has \d+ bytes, and says that it has \d+"),
    (lambda content: content[:300], "truncated at byte 0; expected 512 bytes of header"),
    (lambda content: content[:12] + b"\1" + content[13:], "unknown-flag at byte 12; expected no flags"),
])
def test_damaged(service, operator, make, managed, tmp_path, change, told):
    """What no device would take is named, and not sent."""
    path = make("1.5.0")
    content = change(path.read_bytes())
    image = upload(service, content)
    assert "bundle" not in image and re.fullmatch(told, image["damage"])
    path.write_bytes(content)
    operator.run("firmware", "push", "edge", "e1", path, status=66)
    assert re.search(f"is a bundle that no device takes: {told}", operator.complaint)
    assert managed.firmware == {}


def test_another_kind_of_file(service):
    image = upload(service, b"\x89MOT" + bytes(600))
    assert "bundle" not in image and "damage" not in image


def test_in_a_terminal(operator, make, managed):
    """The bundle's own version is what is asked for."""
    told = operator.run("firmware", "push", "edge", "e1", make("1.5.0"))
    assert "update.bundle 1.5.0: 1 installed" in told
    assert re.search(r"update\.bundle: a bundle of kind file for acme-e7 on arm, version 1\.5\.0, security version 3, "
                     "signed by [0-9a-f]{8}\n", operator.complaint)
    assert "warning" not in operator.complaint


def test_doubts_in_a_terminal(operator, make, managed):
    """They are told, and the device decides."""
    operator.run("firmware", "push", "edge", "e1", make("1.0", "acme-e8", signed=False))
    assert "warning: edge e1 takes what is made for acme-e7, and this is made for acme-e8" in operator.complaint
    assert "warning: edge e1 runs 1.0 already" in operator.complaint
    assert "warning: edge e1 will not take what nobody has signed, if it has a key" in operator.complaint


def test_on_the_page(browser, managed, make):
    log_in(browser, "/fleet/#/device/edge/e1")
    browser.wait_text("#details", "1.0")
    browser.find("summary")[1].click()
    browser.wait("#firmware-file").send_keys(str(make("1.0", "acme-e8")))
    browser.wait_text("#firmware-content",
                      "This is a bundle of kind file for acme-e8 on arm, version 1.0, security version 3")
    doubts = browser.text("#firmware-doubts")
    assert "This device takes what is made for acme-e7." in doubts and "This device runs 1.0 already." in doubts
    assert browser.find("#firmware-version")[0].get_attribute("value") == "1.0"
    browser.picture("firmware-bundle")
    # Of what another address leads to nothing is known.
    browser.find("#firmware-uri")[0].send_keys("x")
    browser.wait_text("#firmware-doubts", "")
    assert browser.text("#firmware-content") == ""
