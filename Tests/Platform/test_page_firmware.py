"""The fleet's page and an image: uploaded, fetched by a device, installed or rolled back. And where devices are."""

import hashlib
import json
import time

import pytest

from harness.waiting import DEADLINE, wait_until
from operating import ManagedDevice
from test_page import log_in

IMAGE = bytes(range(256)) * 2000


class Updating(ManagedDevice):
    """A device that checks its image, and takes its time for installing it; or that comes back with the old one."""

    rolls_back = False

    def handle(self, message):
        if not message.topic.endswith("firmware/update"):
            return super().handle(message)
        self.answer(json.loads(message.payload), 202)
        self.notify(updateStatus=1)
        time.sleep(1)
        if not self.rolls_back:
            self.installed = self.firmware["version"]
        # It has restarted.
        self.manage()
        self.notify(state=0, updateStatus=5 if self.rolls_back else 0)
        return None


@pytest.fixture
def managed(service, closing):
    """A managed device with firmware 1.0."""
    made = Updating(service)
    closing.append(made)
    return made


def open_form(browser):
    log_in(browser, "/fleet/#/device/edge/e1")
    browser.wait_text("#details", "1.0")
    browser.find("summary")[1].click()


def test_upload_and_update(browser, managed, tmp_path):
    """A chosen file becomes an address, a version and a verifier; the device fetches and installs it."""
    path = tmp_path / "edge-os-1.5.0.img"
    path.write_bytes(IMAGE)
    open_form(browser)
    browser.wait("#firmware-file").send_keys(str(path))
    browser.wait_text("#progress", "Uploaded edge-os-1.5.0.img")

    def field(name):
        return browser.find(f"#firmware-{name}")[0].get_attribute("value")

    assert field("version") == "1.5.0" and field("uri").startswith(browser.base + "/images/")
    assert field("verifier") == "sha256:" + hashlib.sha256(IMAGE).hexdigest()
    assert "edge-os-1.5.0.img" in browser.text("#firmware-kept")
    browser.picture("firmware-uploaded")
    browser.click("#update")
    browser.wait_text("#progress", "The device runs 1.5.0.")
    assert browser.find("#progress")[0].get_attribute("data-state") == "good"
    assert managed.image == IMAGE
    browser.wait_text("#details", "1.5.0")
    browser.picture("firmware-updated")
    # Another device gets the same image without another upload.
    browser.open("/fleet/#/device/edge/e2")
    browser.wait_text("#details", "Not managed")
    browser.find("summary")[1].click()
    wait_until(lambda: "edge-os" in browser.text("#firmware-kept"), DEADLINE, "the image that the platform has")
    browser.find("#firmware-kept option")[1].click()
    assert field("version") == "1.5.0" and field("uri").endswith("/edge-os-1.5.0.img")


def test_rollback(browser, managed, tmp_path):
    """A device that comes back with what it had: the page says so, and why."""
    managed.rolls_back = True
    path = tmp_path / "edge-os-1.6.0.img"
    path.write_bytes(IMAGE)
    open_form(browser)
    browser.wait("#firmware-file").send_keys(str(path))
    browser.wait_text("#progress", "Uploaded")
    browser.click("#update")
    browser.wait_text("#progress", "The image is not supported. Rolled back: it runs 1.0 again.")
    assert browser.find("#progress")[0].get_attribute("data-state") == "bad"
    browser.picture("firmware-rolled-back")


def test_failed_upload(browser, managed, tmp_path):
    """An empty file is refused, in words."""
    browser.expected.append("400")
    path = tmp_path / "empty.img"
    path.touch()
    open_form(browser)
    browser.wait("#firmware-file").send_keys(str(path))
    browser.wait_text("#device-problem", "empty")
    assert managed.image is None


def test_locations(browser, managed):
    """The list shows where devices are when that is asked for; a device's page always does."""
    managed.send("device/update/location", {"reqId": "l", "d": {
        "latitude": 48.1371, "longitude": 11.57540, "accuracy": 12}})
    log_in(browser)
    browser.wait_text("#rows", "e1")
    assert not browser.find("#rows .location")[0].is_displayed()
    browser.click("#locations")
    wait_until(lambda: "48.1371, 11.5754" in browser.text("#rows"), DEADLINE, "the location")
    assert browser.find("#rows .location a")[0].get_attribute("href") == "geo:48.1371,11.5754;u=12"
    browser.picture("fleet-locations")
    browser.click("#locations")
    assert not browser.find("#rows .location")[0].is_displayed()
    browser.open("/fleet/#/device/edge/e1")
    browser.wait_text("#details", "48.1371, 11.5754")
