"""A headless Chromium, and what a test asks of a page."""

import base64
import pathlib
import time

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By

from harness.waiting import DEADLINE, wait_until

PICTURES = pathlib.Path(__file__).resolve().parents[2] / "build" / "pictures"
DESK, PHONE = (1280, 860), (390, 844)
# In which pictures are taken.
SIZES = {"desk": (1440, 900), "tablet": (820, 1180), "phone": PHONE}
PICTURE_HEIGHT_MAX = 3000


class Browser:
    """One window. `problems` collects what the console says."""

    def __init__(self, service):
        options = Options()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                         "--hide-scrollbars", "--disable-background-networking", "--lang=en"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Driver("/usr/bin/chromedriver"), options=options)
        self.base = f"http://127.0.0.1:{service.ports['http']}"
        # What the tests themselves cause.
        self.expected = ["willReadFrequently"]
        self.look()

    def look(self, size=DESK, dark=False):
        """How large the window is, and which colours its owner likes."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def open(self, path):
        # From one address to another of the same page is no new document.
        self.driver.get("about:blank")
        self.driver.get(self.base + path)

    def find(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, selector, act=lambda element: element, timeout=DEADLINE):
        """Waits for a visible element, and gives what `act` makes of it. The page may replace it any time."""
        def look():
            try:
                return next(([act(element)] for element in self.find(selector) if element.is_displayed()), None)
            except StaleElementReferenceException:
                return None

        return wait_until(look, timeout, f"{selector} in {self.driver.current_url}")[0]

    def texts(self, selector):
        """The texts of all such elements at one moment; empty where they are not to be seen."""
        return self.run("""
            return [...document.querySelectorAll(arguments[0])]
              .map((found) => found.checkVisibility() ? found.innerText : "");""", selector)

    def text(self, selector):
        return next(iter(self.texts(selector)), "")

    def wait_text(self, selector, text, timeout=DEADLINE):
        """Waits until an element's text has `text` in it."""
        try:
            wait_until(lambda: text in self.text(selector), timeout, f"'{text}' in {selector}")
        except AssertionError as error:
            raise AssertionError(f"{error}; there is '{self.text(selector)}'") from None

    def type(self, selector, text):
        field = self.wait(selector)
        field.clear()
        field.send_keys(text)

    def click(self, selector):
        self.wait(selector, lambda element: element.click())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def picture(self, name):
        """Keeps the whole page as a picture in build/pictures."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.run("scrollTo(0, 0)")
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {
            "format": "png", "captureBeyondViewport": True,
            "clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], PICTURE_HEIGHT_MAX),
                     "scale": 1}})
        (PICTURES / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    @property
    def width(self):
        """How wide the page's content is."""
        return self.run("return document.documentElement.scrollWidth")

    def drawn(self):
        """How many pixels of the charts have colour."""
        return self.run("""
            let count = 0;
            for (const canvas of document.querySelectorAll(".canvas canvas")) {
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width || 1, canvas.height || 1);
              for (let index = 3; index < data.length; index += 4) if (data[index] > 128) count += 1;
            }
            return count;""")

    def problems(self):
        """What the console said, but for what the test expects."""
        time.sleep(0.2)
        return [entry["message"] for entry in self.driver.get_log("browser")
                if not any(part in entry["message"] for part in self.expected)]

    def close(self):
        self.driver.quit()
