"""The pages in a headless browser; pictures of them are kept in build/pictures."""

import json
import threading
import time

import pytest

pytest.importorskip("selenium", reason="Scripts/setup test installs it")

from selenium.webdriver import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from browser import DESK, PHONE, SIZES  # noqa: E402
from harness.waiting import DEADLINE, wait_until  # noqa: E402
from rest import api  # noqa: E402
from service import KEY, KEY_TOKEN, ORGANIZATION, TOKEN, application  # noqa: E402

# What is drawn before the next frame shows in the one after that.
FRAMES_MAX = 4
EVENT = "iot-2/evt/status/fmt/json"
SCRIPT = '<img src=x onerror="document.body.dataset.hacked=1"><script>document.body.dataset.hacked=1</script>'


@pytest.fixture
def publish(service, join):
    """Publishes an event of a Quickstart device."""
    device = join(service, "d:quickstart:mote:demo-1")

    def publish(members, name="status"):
        device.publish(f"iot-2/evt/{name}/fmt/json", json.dumps({"d": members}))
    return publish


def wave(publish, count=6):
    """Some values that move; Quickstart takes one event a second, counted where they arrive."""
    for number in range(count):
        time.sleep(1.1)
        publish({"cpu_usage": 30 + 20 * (number % 3), "load_1": 0.5 + number / 10,
                 "memory_available": 6_000_000_000 + number * 3_000_000, "temp": f"{40 + number % 4}.5",
                 "door": "closed", "ok": True, "nested": {"a": 1}})


def test_quickstart(browser, publish):
    """A device appears in the list by itself; its chart begins within a second and moves; strings that are numbers are
    charted, and nothing else."""
    browser.open("/")
    browser.wait(".device")
    browser.wait_text(".device", "demo-1")
    browser.click(".device")
    browser.wait(".waiting")
    wave(publish, 4)
    browser.wait_text("#charts", "temp")
    assert browser.texts(".panel .label") == ["cpu_usage", "load_1", "memory_available", "temp", "nested.a"]
    before = browser.drawn()
    wave(publish, 2)
    wait_until(lambda: browser.drawn() != before, DEADLINE, "the chart to move")
    browser.wait_text("#values", "closed")
    browser.wait_text("#values", "GB")
    assert "Live" in browser.text("#state")
    assert browser.driver.current_url.endswith("/quickstart/#/device/demo-1")


def test_first_point(browser, service, join):
    """A device's first event is drawn in the frames right after it came, and waits for no timer."""
    device = join(service, "d:quickstart:mote:first")
    browser.open("/quickstart/#/device/first")
    browser.wait_text("#state", "Connected")
    # Frames, not milliseconds: how many of them come in a second is the machine's affair.
    browser.run("""
        window.frames_until_drawn = new Promise((resolve) => {
          let count = 0;
          const look = () => {
            const canvas = document.querySelector(".canvas canvas");
            const data = canvas?.getContext("2d").getImageData(0, 0, canvas.width || 1, canvas.height || 1).data;
            if (data?.some((value) => value > 0)) return resolve(count);
            // The event is there when its panel is.
            if (document.querySelector(".panel")) count += 1;
            requestAnimationFrame(look);
          };
          requestAnimationFrame(look);
        });""")
    device.publish(EVENT, '{"d":{"t":1}}', qos=0)
    frames = browser.driver.execute_async_script("window.frames_until_drawn.then(arguments[0]);")
    assert frames <= FRAMES_MAX, frames


def looks(browser):
    """Each size and colour in which pictures are taken, by the name that they get."""
    for name, size in SIZES.items():
        for dark in (False, True):
            browser.look(size, dark)
            yield f"{name}-{'dark' if dark else 'light'}"
            assert browser.width <= size[0]


@pytest.mark.long
@pytest.mark.seconds(20)
def test_pictures(browser, publish):
    """How it looks at a desk, on a tablet and on a phone, light and dark; nothing is wider than the window."""
    wave(publish, 6)
    for look in looks(browser):
        browser.open("/quickstart/")
        browser.wait(".device")
        browser.picture(f"quickstart-{look}")
    browser.open("/quickstart/#/device/demo-1")
    wave(publish, 6)
    # As it stands: a page that is opened anew knows one point.
    for look in looks(browser):
        wait_until(browser.drawn, DEADLINE, "the charts")
        browser.picture(f"device-{look}")


def test_controls(browser, publish):
    """Series off and on, one chart, pause, zoom by buttons and keys, and back."""
    browser.open("/quickstart/#/device/demo-1")
    wave(publish, 4)
    browser.wait_text("#charts", "temp")
    assert len(browser.find(".panel")) == 5
    browser.find("#values input")[0].click()
    assert browser.texts(".panel .label") == ["load_1", "memory_available", "temp", "nested.a"]
    browser.find("#values input")[0].click()
    browser.click("#together")
    assert len(browser.find(".panel")) == 1 and browser.find("#together")[0].get_attribute("aria-pressed") == "true"
    browser.wait(".panel canvas")
    browser.picture("device-one-chart")
    browser.click("#together")
    browser.click("#pause")
    messages = len(browser.find("#messages li"))
    wave(publish, 3)
    time.sleep(0.4)
    assert len(browser.find("#messages li")) == messages and browser.text("#pause") == "Resume"
    browser.click("#pause")
    wait_until(lambda: len(browser.find("#messages li")) == messages + 3, DEADLINE, "what came during the pause")
    assert not browser.find("#live")[0].is_displayed()
    canvas = browser.find(".canvas")[0]
    canvas.send_keys("+")
    browser.wait("#live")
    canvas.send_keys(Keys.ARROW_LEFT)
    canvas.send_keys("0")
    wait_until(lambda: not browser.find("#live")[0].is_displayed(), DEADLINE, "back to live")


def test_drag_zooms(browser, publish):
    """Dragging over one chart zooms all."""
    browser.open("/quickstart/#/device/demo-1")
    wave(publish, 4)
    canvas = browser.wait(".panel canvas")
    ActionChains(browser.driver).move_to_element_with_offset(canvas, 20, 0).click_and_hold() \
        .move_by_offset(60, 0).release().perform()
    browser.wait("#live")
    browser.click("#live")


def test_script_is_text(browser, service, join):
    """Script in every field of a device is text: names, values, formats, whatever is nested."""
    device = join(service, "d:quickstart:mote:demo-1")
    browser.open("/quickstart/#/device/demo-1")
    device.publish(EVENT, json.dumps({
        "d": {SCRIPT: 1, "text": SCRIPT, "__proto__": 5, "constructor": 6, "nested": {SCRIPT: SCRIPT},
              "list": [SCRIPT]}, "ts": SCRIPT}))
    browser.wait_text("#charts", "onerror")
    time.sleep(1.1)
    device.publish(f"iot-2/evt/{SCRIPT.replace('/', '')}/fmt/json", json.dumps({"d": {"a": 1}}))
    browser.wait_text("#messages", "img src=x onerror")
    browser.wait_text("#charts", "constructor")
    browser.click("#together")
    time.sleep(0.5)
    assert browser.run("return document.body.dataset.hacked") is None
    assert browser.find("#device img") == [] and browser.find("#device script") == []
    browser.picture("script-is-text")


def test_odd_payloads(browser, service, join):
    """Text, broken JSON, numbers beyond all bounds, and a thousand members: all are shown, none breaks the page."""
    device = join(service, "d:quickstart:mote:demo-1")
    browser.open("/quickstart/#/device/demo-1")
    browser.wait_text("#state", "Connected")
    device.publish(EVENT, b" " * 17_000 + b"8", qos=0)
    browser.wait_text("#messages", "17001 bytes, too long to show here")
    time.sleep(1.05)
    payloads = ["no JSON", '{"d":[1,2]}', '{"d":null}', "7", '{"d":{"big":1e308,"small":-1e-300,"zero":0}}',
                json.dumps({"d": {f"member_{number}": number for number in range(1000)}}), '{"plain":3}', b"\xff"]
    for payload in payloads:
        device.publish(EVENT, payload)
        time.sleep(1.1)
    browser.wait_text("#messages", "bytes that are not text")
    browser.wait_text("#messages", "no JSON")
    assert len(browser.find(".panel")) <= 12
    assert len(browser.find("#values tr")) <= 41


def test_numbers_and_text(browser, service, join):
    """Numbers in figures that fit, text that turns nothing round, members of members, and what is left out counted."""
    device = join(service, "d:quickstart:mote:demo-1")
    browser.open("/quickstart/#/device/demo-1")
    browser.wait_text("#state", "Connected")
    fields = {f"member_{number}": number for number in range(500)}
    device.publish(EVENT, json.dumps({"d": {
        "big": 1e308, "small": -1e-300, "deep": {"er": {"value": 7}}, "name": "\u202egnp.exe\u0007", **fields}}))
    browser.wait_text("#values", "deep.er.value")
    assert "100e306" in browser.text("#charts") and "-1e-300" in browser.text("#charts")
    assert browser.run("return document.querySelector('.panel .value').title") == "1e+308"
    assert browser.width <= DESK[0]
    # 40 series and 20 other values are shown, of 504.
    assert browser.text("#more-values") == "Show 444 more"
    browser.click("#more-values")
    browser.wait_text("#values", "⟨U+202E⟩gnp.exe⟨U+0007⟩")
    assert len(browser.find("#values tr")) == 504 and "member_499" in browser.text("#values")
    assert not browser.find("#more-values:not([hidden])")
    browser.picture("numbers-and-text")


def test_long_payload(browser, service, join):
    """A payload that is too long to be shown is an event all the same."""
    device = join(service, "d:quickstart:mote:demo-1")
    device.publish(EVENT, json.dumps({"d": {"text": "x" * 17_000}}))
    browser.open("/quickstart/")
    browser.wait_text(".device", "last event")
    browser.click(".device")
    time.sleep(1.1)
    device.publish(EVENT, json.dumps({"d": {"text": "x" * 17_000}}))
    browser.wait_text("#device", "of 17019 bytes, is too long")


def test_time_of_events(browser, service):
    """A point stands at its event's time where that makes sense; late ones land where they belong, gaps are gaps."""
    browser.open("/quickstart/#/device/demo-1")
    result = browser.run("""
        return Promise.all([import("/page/chart.js"), import("/page/common.js")]).then(([chart, common]) => {
          const container = document.createElement("div");
          document.body.append(container);
          const live = new chart.LiveChart(container);
          const now = Date.now();
          const add = (second) => live.add(now + second * 1000, [["t", second]]);
          for (let second = -120; second < -60; second += 1) add(second);
          for (let second = -10; second <= 0; second += 1) add(second);
          // What waited during the outage comes late.
          add(-40);
          const times = live.rows.map((row) => (row[0] - now) / 1000);
          const value = live.series[0].value;
          const drawn = live.data(live.panels[0]);
          const breaks = drawn.filter((row) => Number.isNaN(row[1])).map((row) => Math.round((row[0] - now) / 1000));
          live.close();
          container.remove();
          const arrival = 1800000000000;
          const at = (text) => common.eventTime(common.membersOf(text).time, arrival) - arrival;
          return [times, value, breaks, [
            at('{"d":{},"ts":"2027-01-15T07:59:00Z"}'), at('{"d":{},"ts":"1970-01-01T00:00:07Z"}'),
            at('{"d":{},"ts":"2027-01-15T08:02:00Z"}'), at('{"d":{},"ts":"soon"}'), at('{"d":{}}'), at("x")]];
        });""")
    times, value, breaks, sensible = result
    assert times == sorted(times) and len(times) == 72 and -40 in times
    assert value == 0, "the newest value is the one of the latest event"
    assert breaks == [-40, -10]
    assert sensible == [-60000, 0, 0, 0, 0, 0]


def test_memory_is_bounded(browser, publish):
    """The page keeps so many points and messages, and no more."""
    browser.open("/quickstart/#/device/demo-1")
    publish({"t": 1})
    browser.wait(".panel canvas")
    counts = browser.run("""
        return import("/page/chart.js").then(({ LiveChart }) => {
          const container = document.createElement("div");
          const chart = new LiveChart(container);
          for (let index = 0; index < 10000; index += 1) chart.add(index * 1000, [["t", index], [`x${index}`, 1]]);
          const counts = [chart.rows.length, chart.series.length, chart.rows[0].length];
          chart.close();
          return counts;
        });""")
    assert counts == [3600, 40, 41]


def test_reconnects(browser, service, publish):
    """The page says that it lost the platform, and comes back with it."""
    browser.expected += ["net::ERR", "Failed to load resource"]
    browser.open("/quickstart/#/device/demo-1")
    publish({"t": 1})
    browser.wait_text("#state", "Live")
    service.kill()
    browser.wait_text("#state", "reconnecting")
    service.start()
    browser.wait_text("#state", "Offline")


def test_without_chart_library(browser, publish):
    """Without the library the page says which package is missing, and shows the values."""
    browser.expected.append("dygraph")
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*dygraph.min.js"]})
    browser.open("/quickstart/#/device/demo-1")
    publish({"t": 1})
    browser.wait_text("#charts", "libjs-dygraphs")
    browser.wait_text("#values", "t")


# The fleet

def log_in(browser, path="/fleet/"):
    browser.open(path)
    browser.type("#key", KEY)
    browser.type("#token", KEY_TOKEN + "\n")


def test_login_page(browser, service):
    """A wrong token is told; the right one opens the fleet; logging out closes it."""
    browser.expected.append("401")
    browser.open("/fleet/")
    browser.picture("login")
    browser.type("#key", KEY)
    browser.type("#token", "wrong\n")
    browser.wait_text("#login-problem", "wrong")
    browser.type("#token", KEY_TOKEN + "\n")
    browser.wait_text("#summary", "0 of 4 connected")
    browser.click("#logout")
    browser.wait("#login-form")
    assert api(service, "GET", "/device/types").status == 200


class ManagedDevice:
    """A device that does what the device-management server asks, step by step; `go_on` lets it end a long one."""

    def __init__(self, client):
        self.client, self.done, self._may_end = client, [], threading.Semaphore(0)
        self.firmware = {"version": "", "name": "", "uri": "", "verifier": "", "state": 0, "updateStatus": 0}
        client.client.on_message = self._receive
        client.subscribe("iotdm-1/#", "iot-2/cmd/+/fmt/+")
        self.manage()

    def manage(self):
        self._send("mgmt/manage", {"reqId": "m", "d": {
            "lifetime": 0, "supports": {"deviceActions": True, "firmwareActions": True},
            "deviceInfo": {"fwVersion": "1.4.2", "manufacturer": SCRIPT, "model": "E7", "serialNumber": "SN-1"}}})

    def log(self, message, severity):
        self._send("add/diag/log", {"reqId": message[:8], "d": {
            "message": message, "timestamp": "2024-05-01T10:20:00Z", "severity": severity}})

    def _send(self, path, body):
        self.client.client.publish(f"iotdevice-1/{path}", json.dumps(body), 1)

    def _notify(self, **values):
        self.firmware.update(values)
        self._send("notify", {"d": {"fields": [{"field": "mgmt.firmware", "value": self.firmware}]}})

    def _receive(self, _client, _user, message):
        topic, body = message.topic, json.loads(message.payload or b"{}")
        self.done.append(topic)
        codes = {"iotdm-1/device/update": 204, "iotdm-1/observe": 200, "iotdm-1/cancel": 200}
        if topic in codes or "/initiate/" in topic:
            answer = {"rc": codes.get(topic, 202), "reqId": body["reqId"]}
            if topic == "iotdm-1/observe":
                answer["d"] = {"fields": [{"field": "mgmt.firmware", "value": self.firmware}]}
            self._send("response", answer)
        steps = {"firmware/download": self._download, "firmware/update": self._update, "device/reboot": self.manage}
        for name, step in steps.items():
            if topic.endswith(name):
                threading.Thread(target=step, daemon=True).start()

    def _download(self):
        self._notify(state=1)
        if self._may_end.acquire(timeout=DEADLINE):
            self._notify(state=2)

    def _update(self):
        self._notify(updateStatus=1)
        if self._may_end.acquire(timeout=DEADLINE):
            self._notify(state=0, updateStatus=0)

    def go_on(self):
        self._may_end.release()


def test_fleet(browser, service, device):
    """A managed device is rebooted, updated with a bar that follows, and sent a command; its log is text."""
    client = device(service)
    managed = ManagedDevice(client)
    log_in(browser)
    browser.wait_text("#summary", "1 of 4 connected")
    browser.wait_text("#rows", "1.4.2")
    browser.find("#rows a")[0].click()
    browser.wait_text("#details", "SN-1")
    managed.log("Started", 0)
    managed.log(SCRIPT, 2)
    client.publish(EVENT, {"d": {"temperature_celsius": 21.5}})
    browser.wait_text("#diagnostics", "onerror")
    browser.wait(".panel canvas")
    assert browser.run("return document.body.dataset.hacked") is None

    browser.click("#reboot")
    browser.wait_text("#progress", "restarted")
    browser.wait_text(".history", "device/reboot")
    assert "iotdm-1/mgmt/initiate/device/reboot" in managed.done

    browser.run("document.querySelectorAll('details').forEach((element) => { element.open = true; })")
    browser.type("#firmware-uri", "http://firmware.example/e7-1.5.0.img")
    browser.type("#firmware-version", "1.5.0")
    browser.click("#update")

    def bar(text="", state=None):
        """How far the bar is, if this text and state are beside it: read at once, for the page may change any time."""
        value, seen, now = browser.run("""
            const shown = document.querySelector("#progress");
            return [shown.querySelector("progress").value, shown.textContent, shown.dataset.state];""")
        return value if text in seen and state in (None, now) else None

    values = []
    for text in ("downloading", "installing"):
        values.append(wait_until(lambda: bar(text), DEADLINE, text))
        managed.go_on()
    values.append(wait_until(lambda: bar(state="good"), DEADLINE, "the update"))
    assert 0 < values[0] < values[1] < values[2] == 100, values
    assert "iotdm-1/mgmt/initiate/firmware/update" in managed.done

    browser.type("#command-name", "blink")
    browser.run("document.querySelector('#command-payload').value = '{\"d\":{\"n\":1}}'")
    browser.find("#command button")[0].click()
    browser.wait_text("#messages", "→ blink")
    wait_until(lambda: "iot-2/cmd/blink/fmt/json" in managed.done, DEADLINE, "the command")
    for look in looks(browser):
        browser.open("/fleet/#/device/edge/e1")
        browser.wait(".panel canvas")
        browser.wait_text("#details", "SN-1")
        browser.wait_text("#diagnostics", "onerror")
        browser.picture(f"fleet-device-{look}")
        browser.open("/fleet/")
        browser.wait_text("#rows", "e1")
        browser.picture(f"fleet-{look}")


def test_pages_that_are_left(browser, service, device):
    """A page that is left gives its streams back, also where the browser keeps it; on the way back they are there."""
    device(service).publish(EVENT, {"d": {"x": 1}})
    log_in(browser)
    for number in range(10):
        browser.open("/fleet/#/device/edge/e1")
        browser.wait_text("#state", "Live", timeout=5)
        browser.wait_text("#details", "Registered", timeout=5)
        browser.driver.get(f"{browser.base}/quickstart/?{number}")
        browser.wait_text("body", "Watch a device", timeout=5)
    browser.driver.back()
    browser.wait_text("#details", "Registered", timeout=5)
    browser.wait_text("#state", "Live", timeout=5)


def test_login_that_is_over(browser, service, device):
    """After a restart of the platform an open page says why it waits, asks for the login once, and goes on."""
    browser.expected += ["net::ERR", "Failed to load resource", "401"]
    client = device(service)
    log_in(browser, "/fleet/#/device/edge/e1")
    browser.wait_text("#state", "Connected")
    client.close()
    service.stop()
    browser.wait_text("#state", "reconnecting")
    service.start()
    browser.wait_text("#login-why", "restarted")
    assert not browser.find("#device.waits:not([inert])")
    browser.type("#key", KEY)
    browser.type("#token", KEY_TOKEN + "\n")
    browser.wait_text("#state", "Offline")
    assert browser.text("#title") == "e1" and browser.text("#login") == ""
    # An action is not forgotten either.
    client = device(service)
    client.subscribe("iot-2/cmd/+/fmt/+")
    browser.wait_text("#state", "Connected")
    browser.click("details summary")
    browser.type("#command-name", "blink")
    browser.driver.delete_all_cookies()
    # By script: whatever asks first may have the page wait already.
    browser.run("document.querySelector('#command button').click()")
    browser.wait_text("#login-why", "Log in")
    browser.type("#key", KEY)
    browser.type("#token", KEY_TOKEN + "\n")
    browser.wait_text("#command", "Sent blink.")
    assert client.next().topic == "iot-2/cmd/blink/fmt/json"


def test_the_outcome_that_is_true(browser, service, device):
    """What went wrong with a command is not told above the success of the next one."""
    browser.expected.append("400")
    client = device(service)
    client.subscribe("iot-2/cmd/+/fmt/+")
    log_in(browser, "/fleet/#/device/edge/e1")
    browser.wait_text("#state", "Connected")
    browser.click("details summary")
    browser.type("#command-payload", "{")
    browser.click("#command button")
    browser.wait_text("#device-problem", "not JSON")
    browser.type("#command-payload", "{}")
    browser.click("#command button")
    browser.wait_text("#command", "Sent ping.")
    assert browser.text("#device-problem") == ""


def test_closed_charts_listen_no_more(browser, service):
    """A chart that is closed takes its listeners with it."""
    browser.open("/quickstart/#/device/demo-1")
    count = browser.run("""
        return import("/page/chart.js").then(({ LiveChart }) => {
          let builds = 0;
          const charts = [1, 2, 3].map(() => new LiveChart(document.createElement("div")));
          for (const chart of charts) {
            chart.build = () => { builds += 1; };
            chart.close();
          }
          charts[0].colorScheme.dispatchEvent(new Event("change"));
          for (const chart of charts) chart.colorScheme.dispatchEvent(new Event("change"));
          return builds;
        });""")
    assert count == 0


def test_keys(browser, service):
    """API keys are made and taken back."""
    log_in(browser)
    browser.click("#keys-open")
    browser.wait_text("#key-rows", KEY)
    browser.type("#key-comment", "wall display")
    browser.click("#key-add button")
    browser.wait_text("#key-result", "shown only now")
    key, token = (element.text for element in browser.find("#key-result code"))
    browser.wait_text("#key-rows", "wall display")
    assert api(service, "GET", "/device/types", auth=(key, token)).status == 200
    browser.picture("keys")
    browser.look(PHONE)
    assert browser.width <= PHONE[0]
    browser.look()
    browser.run("window.confirm = () => true")
    browser.run("""
        const rows = [...document.querySelectorAll("#key-rows tr")];
        rows.find((row) => row.textContent.includes(arguments[0])).querySelector(".danger").click();""", key)
    browser.wait_text("#key-result", "is removed")
    assert api(service, "GET", "/device/types", auth=(key, token)).status == 401


def test_unmanaged(browser, service, device):
    """What a device cannot do is not offered."""
    device(service)
    log_in(browser, "/fleet/#/device/edge/e1")
    browser.wait_text("#details", "Not managed")
    assert not browser.find("#reboot")[0].is_enabled() and not browser.find("#factory-reset")[0].is_enabled()


def test_register(browser, service, join):
    """A device that is registered on the page gets a token that works."""
    log_in(browser)
    browser.click("#add-open")
    browser.type("#add-type", "pump")
    browser.type("#add-id", "p1\n")
    browser.wait_text("#add-result", "token")
    token = browser.text("#add-result code")
    join(service, f"d:{ORGANIZATION}:pump:p1", "use-token-auth", token)
    browser.wait_text("#rows", "p1")


def main_thread_seconds(browser):
    """What the page has taken of the processor: unlike time, that is not the other programs' affair."""
    metrics = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "ThreadTime")


def test_many_devices(browser, service, start_service, closing):
    """200 devices at one event a second each: the page keeps drawing."""
    busy = start_service("--rates", "unlimited")
    names = [f"many{number:03}" for number in range(200)]
    api(busy, "POST", "/bulk/devices/add", [
        {"typeId": "edge", "deviceId": name, "authToken": TOKEN} for name in names])
    ended = threading.Event()

    def publish_all():
        # Through one application: 200 events each second.
        client = application(busy)
        while not ended.is_set():
            began = time.monotonic()
            for name in names:
                client.client.publish(f"iot-2/type/edge/id/{name}/evt/status/fmt/json", '{"d":{"t":1}}')
            ended.wait(max(0, 1 - (time.monotonic() - began)))
        client.close()

    publisher = threading.Thread(target=publish_all)
    publisher.start()
    try:
        browser.base = f"http://127.0.0.1:{busy.ports['http']}"
        log_in(browser)
        browser.wait_text("#summary", "of 204")
        wait_until(lambda: browser.text("#rows").count("just now") > 150, DEADLINE, "all devices to be fresh")
        browser.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        before, began = main_thread_seconds(browser), time.monotonic()
        frames = browser.driver.execute_async_script("""
            const end = performance.now() + 4000;
            let count = 0;
            const tick = () => {
              count += 1;
              if (performance.now() < end) requestAnimationFrame(tick);
              else arguments[0](count);
            };
            requestAnimationFrame(tick);""")
        busy, took = main_thread_seconds(browser) - before, time.monotonic() - began
    finally:
        ended.set()
        publisher.join()
    # There is time left for drawing, on machines several times as slow.
    print(f"{frames} frames in {took:.1f} s, {busy:.2f} s of the processor")
    assert frames > 10 and busy < 0.75 * took, f"{frames} frames in {took:.1f} s, {busy:.2f} s of the processor"
