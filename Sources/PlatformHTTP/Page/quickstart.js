// The Quickstart page: a device's live charts, values and messages. No credentials: Quickstart's devices are open.

import { LiveChart } from "./chart.js";
import {
  LiveStream, ago, clockTime, el, formatNumber, membersOf, payloadText, setPlatformNow, setText, shortened, unitOf,
} from "./common.js";

/** Raw messages that are kept. */
const messagesMax = 100;
/** Characters of a message or value that are shown. */
const messageCharactersMax = 4096;
const valueCharactersMax = 200;
/** Values that are not charted and are kept, by name. */
const othersMax = 100;

const byID = (id) => document.getElementById(id);
let view = null;

// The list of devices

class Picker {
  constructor() {
    this.devices = new Map();
    byID("picker").hidden = false;
    this.stream = new LiveStream("/api/live/quickstart", {
      state: (state) => {
        byID("picker-lost").hidden = state !== "lost";
      },
      message: (message) => this.receive(message),
    });
    this.timer = setInterval(() => this.show(), 1000);
    byID("device-id").focus({ preventScroll: true });
  }

  receive(message) {
    if (message.now) setPlatformNow(message.now);
    if (message.kind === "devices") this.devices.clear();
    for (const device of message.devices ?? []) this.devices.set(`${device.type}\n${device.id}`, device);
    for (const device of message.removed ?? []) this.devices.delete(`${device.type}\n${device.id}`);
    this.isLoaded = true;
    this.show();
  }

  show() {
    const list = byID("devices");
    const devices = [...this.devices.values()].sort((a, b) => Number(b.connected) - Number(a.connected)
      || (a.connected ? (a.id < b.id ? -1 : 1) : b.lastSeen - a.lastSeen)).slice(0, 200);
    byID("no-devices").hidden = devices.length > 0 || !this.isLoaded;
    byID("devices-title").hidden = devices.length === 0;
    // Rows are made once and changed in place, so that focus stays where it is.
    this.rows ??= new Map();
    const wanted = new Set();
    devices.forEach((device, index) => {
      const key = `${device.type}\n${device.id}`;
      wanted.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = deviceRow(device);
        this.rows.set(key, row);
      }
      row.dot.classList.toggle("on", device.connected);
      setText(row.state, device.connected ? "Connected" : "Offline");
      setText(row.seen, device.lastEvent ? `last event ${ago(device.lastEvent)}` : "no event yet");
      if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index] ?? null);
    });
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      row.element.remove();
      this.rows.delete(key);
    }
  }

  close() {
    clearInterval(this.timer);
    this.stream.close();
    byID("devices").replaceChildren();
    byID("picker").hidden = true;
  }
}

function deviceRow(device) {
  const dot = el("span", { class: "dot" });
  const state = el("span", { class: "state" });
  const seen = el("span", { class: "seen" });
  const element = el("li", {},
    el("a", { class: "device", href: addressOf(device.id) }, dot,
      el("span", { class: "id" }, device.id), el("span", { class: "type" }, device.type), state, seen));
  return { element, dot, state, seen };
}

function addressOf(id) {
  return `#/device/${encodeURIComponent(id)}`;
}

// One device

class DeviceView {
  constructor(id) {
    this.id = id;
    this.others = new Map();
    this.messages = [];
    this.total = 0;
    this.valueRows = new Map();
    byID("device").hidden = false;
    setText(byID("title"), id);
    setText(byID("subtitle"), "");
    document.title = `${shortened(id, 60)} – Mote Quickstart`;
    byID("charts").replaceChildren();
    byID("values").replaceChildren();
    byID("messages").replaceChildren();
    this.chart = new LiveChart(byID("charts"), { onchange: () => this.showControls() });
    this.showControls();
    this.stream = new LiveStream(`/api/live/quickstart/devices/${encodeURIComponent(id)}`, {
      state: (state) => {
        this.streamState = state;
        this.showState();
      },
      message: (message) => this.receive(message),
    });
    this.timer = setInterval(() => this.showState(), 1000);
    this.showState();
  }

  receive(message) {
    switch (message.kind) {
      case "state":
        setPlatformNow(message.now);
        this.connected = message.connected;
        this.isKnown = message.known;
        break;
      case "connection":
        // Code 288: another connection has taken this one's place.
        if (message.action === "Connect") [this.connected, this.isKnown] = [true, true];
        else if (message.action === "Disconnect" && message.closeCode !== 288) this.connected = false;
        this.reason = message.reason;
        break;
      case "event":
        this.receiveEvent(message);
        break;
    }
    this.showState();
  }

  receiveEvent(message) {
    // After a reconnect the platform sends the last events once more.
    const isOld = this.lastTimes?.get(message.event) >= message.time;
    if (isOld) return;
    (this.lastTimes ??= new Map()).set(message.event, message.time);
    if (this.lastTimes.size > othersMax) this.lastTimes.delete(this.lastTimes.keys().next().value);
    this.isKnown = true;
    this.lastEvent = Math.max(this.lastEvent ?? 0, message.time);
    this.total += 1;
    if (this.chart.typeID !== message.type) {
      this.chart.typeID = message.type;
      setText(byID("subtitle"), `Device type ${message.type}`);
    }
    const { numbers, others } = message.payload === undefined ? { numbers: [], others: [] } : membersOf(message.payload);
    for (const [name, value] of others) {
      if (this.others.has(name) || this.others.size < othersMax) this.others.set(name, value);
    }
    if (numbers.length > 0) this.chart.add(message.time, numbers);
    this.addMessage(message);
    if (!this.pendingValues) {
      this.pendingValues = requestAnimationFrame(() => {
        this.pendingValues = null;
        if (!this.chart.isPaused) this.showValues();
      });
    }
  }

  addMessage(message) {
    const text = message.payload ?? `${message.size} bytes that are not text`;
    this.messages.push(message);
    if (this.messages.length > messagesMax) this.messages.shift();
    setText(byID("message-count"), `${this.total}`);
    if (this.chart.isPaused) return;
    const list = byID("messages");
    list.prepend(
      el("li", {}, el("time", {}, clockTime(message.time)), el("span", { class: "event" }, message.event),
        payloadText(text, messageCharactersMax)));
    while (list.children.length > messagesMax) list.lastElementChild.remove();
  }

  showValues() {
    const body = byID("values");
    for (const series of this.chart.series) {
      const row = this.valueRow(`n${series.name}`, series.name, series);
      setText(row.value, formatNumber(series.value, unitOf(series.name, this.chart.typeID)));
      row.box.checked = series.isShown;
    }
    for (const [name, value] of this.others) {
      if (this.chart.byName.has(name)) continue;
      setText(this.valueRow(`o${name}`, name, null).value, shortened(String(value), valueCharactersMax));
    }
    byID("no-values").hidden = body.children.length > 0;
  }

  valueRow(key, name, series) {
    const known = this.valueRows.get(key);
    if (known) return known;
    const value = el("td", { class: series ? "number" : "text" });
    const label = shortened(name, 80);
    const row = { value };
    let head;
    if (series) {
      row.box = el("input", {
        type: "checkbox", checked: series.isShown,
        change: () => this.chart.setShown(series, row.box.checked),
      });
      head = el("label", {}, row.box, el("span", { class: `swatch color-${series.index % 8}` }),
        el("span", { class: "label" }, label));
    } else {
      head = el("span", { class: "label plain" }, label);
    }
    byID("values").append(el("tr", {}, el("th", { scope: "row", title: shortened(name, 200) }, head), value));
    this.valueRows.set(key, row);
    return row;
  }

  showState() {
    const [name, text] = this.state();
    byID("state").dataset.state = name;
    setText(byID("state-text"), text);
    byID("waiting").hidden = this.total > 0;
    byID("results").hidden = this.total === 0;
  }

  state() {
    if (this.streamState === "lost") return ["lost", "Page offline: reconnecting"];
    if (this.streamState === "connecting") return ["lost", "Connecting"];
    const last = this.lastEvent ? `, last event ${ago(this.lastEvent)}` : "";
    if (this.connected) return ["on", this.lastEvent ? `Live${last}` : "Connected, no event yet"];
    if (this.lastEvent && !this.connected) return ["off", `Offline${last}`];
    return ["off", this.isKnown ? "Offline" : "Waiting for this device"];
  }

  showControls() {
    const chart = this.chart;
    if (!chart) return;
    byID("pause").setAttribute("aria-pressed", String(chart.isPaused));
    setText(byID("pause"), chart.isPaused ? "Resume" : "Pause");
    byID("live").hidden = !chart.window;
    byID("together").setAttribute("aria-pressed", String(chart.isTogether));
    for (const button of document.querySelectorAll("[data-span]")) {
      button.setAttribute("aria-pressed", String(!chart.window && Number(button.dataset.span) === chart.span));
    }
  }

  setPaused(isPaused) {
    this.chart.setPaused(isPaused);
    if (isPaused) return;
    // What came meanwhile.
    byID("messages").replaceChildren();
    const messages = this.messages;
    this.messages = [];
    this.total -= messages.length;
    for (const message of messages) {
      this.total += 1;
      this.addMessage(message);
    }
    this.showValues();
  }

  close() {
    clearInterval(this.timer);
    this.stream.close();
    this.chart.close();
    byID("device").hidden = true;
  }
}

// Controls and addresses

function deviceView() {
  return view instanceof DeviceView ? view : null;
}

byID("pick").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = byID("device-id").value.trim();
  if (id) location.hash = addressOf(id);
});
byID("pause").addEventListener("click", () => deviceView()?.setPaused(!deviceView().chart.isPaused));
byID("live").addEventListener("click", () => deviceView()?.chart.setWindow(null));
byID("together").addEventListener("click", () => deviceView()?.chart.setTogether(!deviceView().chart.isTogether));
byID("zoom-in").addEventListener("click", () => deviceView()?.chart.zoom(0.5));
byID("zoom-out").addEventListener("click", () => deviceView()?.chart.zoom(2));
for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => deviceView()?.chart.setSpan(Number(button.dataset.span)));
}

function route() {
  view?.close();
  const match = /^#\/device\/([^/?]+)$/.exec(location.hash);
  let id = null;
  try {
    id = match ? decodeURIComponent(match[1]) : null;
  } catch {
    id = null;
  }
  document.title = "Mote Quickstart";
  view = id ? new DeviceView(id) : new Picker();
  scrollTo(0, 0);
}

setText(byID("host"), location.hostname);
addEventListener("hashchange", route);
route();
