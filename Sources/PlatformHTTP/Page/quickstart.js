// The Quickstart page: a device's live charts, values and messages. No credentials: Quickstart's devices are open.

import { LiveStream, ago, el, setPlatformNow, setText, shortened } from "./common.js";
import { LiveDevice } from "./device.js";

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

class DevicePage {
  constructor(id) {
    byID("device").hidden = false;
    setText(byID("title"), id);
    setText(byID("subtitle"), "");
    document.title = `${shortened(id, 60)} – Mote Quickstart`;
    this.live = new LiveDevice(byID("live-device"), byID("state"),
      `/api/live/quickstart/devices/${encodeURIComponent(id)}`,
      { ontype: (type) => setText(byID("subtitle"), `Device type ${type}`) });
  }

  close() {
    this.live.close();
    byID("device").hidden = true;
  }
}

// Addresses

byID("pick").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = byID("device-id").value.trim();
  if (id) location.hash = addressOf(id);
});

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
  view = id ? new DevicePage(id) : new Picker();
  scrollTo(0, 0);
}

setText(byID("host"), location.hostname);
addEventListener("hashchange", route);
route();
