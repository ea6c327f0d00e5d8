"""How long an event takes from its publication until a person sees it on the Quickstart page, in a headless browser.

The clocks are the same: the browser runs on this machine, and its `performance.timeOrigin + performance.now()` is
`time.time()` in milliseconds, which is checked.
"""

import json
import pathlib
import statistics
import sys
import time

import swarm

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "Tests/EndToEnd"), str(ROOT / "Tests/Platform")]

from browser import Browser  # noqa: E402

DEVICE = "bench"
EVENTS = 20
# Quickstart takes a message a second. The page draws once a second by itself, too, and not again at once: each event
# comes at another moment of that second, all of them together at every twentieth of it.
PAUSE_SECONDS = 1.05
# The browser's clock has tenths of a millisecond, and its origin is rounded as well.
CLOCK_TOLERANCE_MS = 1
PAINTED_MS_MAX = 100

# Evaluated before the page's own scripts: hears each message before the page does. Takes the time and nothing else; the
# message is read afterwards.
LISTEN = """
    globalThis.bench = { now: () => performance.timeOrigin + performance.now(), received: [], drawn: [], painted: [] };
    globalThis.EventSource = class extends EventSource {
      constructor(...words) {
        super(...words);
        this.addEventListener("message", (event) => bench.received.push([bench.now(), event.data]));
      }
    };"""
# The library draws before `updateOptions` returns. A message posted by the frame's callback is handled when the frame
# has been painted; only then, when the time is taken, it is looked at whether the point really is on the canvas.
WATCH = """
    const probe = new OffscreenCanvas(3, 3).getContext("2d", { willReadFrequently: true });
    const isColoured = (x, y) => {
      probe.clearRect(0, 0, 3, 3);
      for (const canvas of document.querySelectorAll(".canvas canvas")) {
        probe.drawImage(canvas, Math.round(x) - 1, Math.round(y) - 1, 3, 3, 0, 0, 3, 3);
      }
      return probe.getImageData(0, 0, 3, 3).data.some((byte, index) => index % 4 === 3 && byte > 128);
    };
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data: [value, x, y] }) => bench.painted.push([bench.now(), value, isColoured(x, y)]);
    const update = Dygraph.prototype.updateOptions;
    const seen = new Set();
    Dygraph.prototype.updateOptions = function (options, ...others) {
      update.call(this, options, ...others);
      const time = bench.now();
      const [at, value] = options.file.at(-1);
      if (seen.has(value)) return;
      seen.add(value);
      bench.drawn.push([time, value]);
      requestAnimationFrame(() => port2.postMessage([value, ...this.toDomCoords(at, value)]));
    };"""


def check_clocks(browser):
    """Neither clock may be ahead of the other by more than the question takes."""
    for _ in range(20):
        before = time.time() * 1000
        theirs = browser.run("return bench.now()")
        after = time.time() * 1000
        assert before - CLOCK_TOLERANCE_MS <= theirs <= after + CLOCK_TOLERANCE_MS, (
            f"the browser's clock says {theirs}, between {before} and {after}")


def publish(port, values):
    """Publishes one event for each value, and returns when each was handed to its socket."""
    sent = {}
    with swarm.open_stream(port, swarm.connect_packet(f"d:quickstart:mote:{DEVICE}")) as stream:
        for value in values:
            payload = json.dumps({"d": {"value": value}}).encode()
            packet = swarm.publish_packet("iot-2/evt/status/fmt/json", payload, 0, 0)
            sent[value] = time.time() * 1000
            stream.sendall(packet)
            time.sleep(PAUSE_SECONDS)
    return sent


def take_times(sent, noted):
    """Milliseconds from publication to what the page noted, for each event in order: received, drawn, painted."""
    received = {}
    for moment, data in noted["received"]:
        message = json.loads(data)
        if message["kind"] == "event":
            received.setdefault(json.loads(message["payload"])["d"]["value"], moment)
    drawn = {value: moment for moment, value in noted["drawn"]}
    painted = {value: moment for moment, value, is_coloured in noted["painted"] if is_coloured}
    for name, times in (("received", received), ("drawn", drawn), ("on the canvas", painted)):
        missing = [value for value in sent if value not in times]
        assert not missing, f"events that never were {name}: {missing}"
    return [tuple(times[value] - moment for times in (received, drawn, painted)) for value, moment in sent.items()]


def measure(server, events=EVENTS):
    """Times of so many events, with a browser of its own."""
    browser = Browser(server)
    try:
        browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTEN})
        browser.open(f"/quickstart/#/device/{DEVICE}")
        browser.wait_text("#state", "Waiting")
        browser.run(WATCH)
        check_clocks(browser)
        # Up and down in turn: where the next point will be, the canvas is empty. The first one makes the chart.
        sent = publish(server.port, [number * (-1) ** number for number in range(1, events + 2)])
        check_clocks(browser)
        first, *others = take_times(sent, browser.run("return bench"))
    finally:
        browser.close()
    parts = {
        "platform": [received for received, _, _ in others],
        "drawing": [drawn - received for received, drawn, _ in others],
        "frame": [painted - drawn for _, drawn, painted in others],
        "all": [painted for _, _, painted in others],
    }
    results = {name: {"median": statistics.median(times), "max": max(times)} for name, times in parts.items()}
    return {**results, "first": first[2], "events": events}


def show(results):
    """Prints the parts and the whole; whether the target holds."""
    print(f"\n{results['events']} events, from PUBLISH to the page in a headless browser:{'median':>14}{'highest':>14}")
    for name, text in (
            ("platform", "the platform: until the page has the server-sent event"),
            ("drawing", "the page: until its point is drawn on the canvas"),
            ("frame", "the browser: until the frame with it is painted"),
            ("all", f"in all (at most {PAINTED_MS_MAX} ms)")):
        print(f"  {text:56}{results[name]['median']:9.1f} ms{results[name]['max']:11.1f} ms")
    print(f"  the first event, which makes the chart: {results['first']:.1f} ms")
    return results["all"]["max"] <= PAINTED_MS_MAX
