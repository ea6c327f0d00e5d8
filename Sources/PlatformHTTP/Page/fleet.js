// The fleet page: registered devices, and what an operator does with one.

import { LiveStream, ago, dateTime, el, foreign, setPlatformNow, setText, shortened } from "./common.js";
import { LiveDevice } from "./device.js";
import { KeyList } from "./keys.js";
import { Operations } from "./operations.js";
import { NeedsLogin, call, onLoginNeeded } from "./rest.js";

/** Rows of the list that are in the document; the search finds the others. */
const rowsMax = 500;

const byID = (id) => document.getElementById(id);
let view = null;

/** Shows a problem. Where the login is the problem it has been asked for already. */
function fail(error, element) {
  if (error instanceof NeedsLogin) return;
  setText(element, error.message);
  element.hidden = false;
}

// Login

/** Who waits for the login that is being asked for; null where none is. */
let waiting = null;

async function showLogin(why = "") {
  const login = await call("GET", "/api/login").catch(() => ({}));
  setText(byID("organization"), login.organization ?? "");
  byID("no-keys").hidden = login.hasKeys !== false;
  setText(byID("login-why"), why);
  byID("login-why").hidden = why === "";
  byID("login").hidden = false;
  byID("key").focus({ preventScroll: true });
}

/** Asks for a login in the middle of something, once for all who need it: the page stays as it is behind the form. */
function askAgain() {
  if (!view) return Promise.resolve(false);
  if (waiting) return waiting.promise;
  waiting = Promise.withResolvers?.() ?? withResolvers();
  for (const section of ["list", "device"]) {
    byID(section).inert = true;
    byID(section).classList.add("waits");
  }
  showLogin("The platform does not know your login any more: it was restarted, or the login has ended. Log in, and it "
    + "goes on here.");
  scrollTo(0, 0);
  return waiting.promise;
}

function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve) => {
    made.resolve = resolve;
  });
  return made;
}

/** The page goes on, with a login or without. */
function endWaiting(isLoggedIn) {
  const ended = waiting;
  waiting = null;
  for (const section of ["list", "device"]) {
    byID(section).inert = false;
    byID(section).classList.remove("waits");
  }
  ended?.resolve(isLoggedIn);
}

onLoginNeeded(askAgain);

byID("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = byID("login-problem");
  problem.hidden = true;
  try {
    await call("POST", "/api/login", { key: byID("key").value.trim(), token: byID("token").value });
    byID("token").value = "";
    byID("login").hidden = true;
    if (waiting) endWaiting(true);
    else route();
  } catch (error) {
    setText(problem, error instanceof NeedsLogin ? "The key or the token is wrong." : error.message);
    problem.hidden = false;
  }
});

/** A stream that is lost may be so because the login is over: this asks, and calls ask for the login then. */
function checkLogin() {
  call("GET", "/api/v0002/device/types?_limit=1").catch(() => {});
}

byID("logout").addEventListener("click", async () => {
  await call("DELETE", "/api/login").catch(() => {});
  leave();
  showLogin();
});

// The list

class DeviceList {
  constructor() {
    byID("list").hidden = false;
    this.devices = new Map();
    this.rows = new Map();
    this.state = "all";
    byID("rows").replaceChildren();
    this.stream = new LiveStream("/api/live/fleet", {
      state: (state) => this.showStream(state),
      message: (message) => this.receive(message),
    });
    this.timer = setInterval(() => this.showTimes(), 1000);
  }

  showStream(state) {
    byID("list-state").dataset.state = state === "open" ? "on" : "lost";
    setText(byID("list-state").lastElementChild,
      { open: "Live", connecting: "Connecting", lost: "Page offline: reconnecting" }[state]);
    if (state === "lost") checkLogin();
  }

  receive(message) {
    if (message.now) setPlatformNow(message.now);
    const key = (device) => `${device.type}:${device.id}`;
    if (message.kind === "devices") this.devices.clear();
    for (const device of message.devices ?? []) this.devices.set(key(device), device);
    for (const device of message.removed ?? []) this.devices.delete(key(device));
    this.isLoaded = true;
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = null;
        this.show();
      });
    }
  }

  /** Rows are made once and changed in place: only what is different costs anything. */
  show() {
    const words = byID("search").value.trim().toLowerCase();
    const all = [...this.devices.entries()].sort(([a, one], [b, other]) =>
      one.id === other.id ? (a < b ? -1 : 1) : one.id < other.id ? -1 : 1);
    const found = all.filter(([key, device]) => key.toLowerCase().includes(words)
      && (this.state === "all" || device.connected === (this.state === "on")));
    const shown = found.slice(0, rowsMax);
    const body = byID("rows");
    const wanted = new Set(shown.map(([key]) => key));
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      row.element.remove();
      this.rows.delete(key);
    }
    shown.forEach(([key, device], index) => {
      let row = this.rows.get(key);
      if (!row) {
        row = makeRow(device);
        this.rows.set(key, row);
      }
      row.device = device;
      row.dot.classList.toggle("on", device.connected);
      setText(row.state, device.connected ? "Connected" : device.lastSeen ? "Offline" : "Never seen");
      setText(row.firmware, device.firmware ? shortened(device.firmware, 60) : "–");
      setText(row.seen, device.lastSeen ? ago(device.lastSeen) : "–");
      const place = placeOf(device.location, device.place);
      if (row.location.textContent !== place.textContent) row.location.replaceChildren(place);
      if (body.children[index] !== row.element) body.insertBefore(row.element, body.children[index] ?? null);
    });
    const connected = all.filter(([, device]) => device.connected).length;
    const more = found.length > shown.length ? `, the first ${rowsMax} of ${found.length} are shown` : "";
    setText(byID("summary"), all.length === 0 ? "" : `${connected} of ${all.length} connected${more}`);
    byID("no-rows").hidden = shown.length > 0 || !this.isLoaded;
    setText(byID("no-rows"), all.length === 0
      ? "No device is registered yet. Register one: it gets a token, which is all that it needs."
      : "No device matches.");
  }

  showTimes() {
    for (const row of this.rows.values()) setText(row.seen, row.device.lastSeen ? ago(row.device.lastSeen) : "–");
  }

  close() {
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    this.stream.close();
    byID("list").hidden = true;
  }
}

function makeRow(device) {
  const dot = el("span", { class: "dot" });
  const state = el("span");
  const seen = el("td", { class: "seen" });
  const firmware = el("td", { class: "firmware foreign" });
  const location = el("td", { class: "location" });
  const element = el("tr", {},
    el("th", { scope: "row" },
      el("a", { class: "id", href: `#/device/${encodeURIComponent(device.type)}/${encodeURIComponent(device.id)}` },
        device.id)),
    el("td", { class: "kind" }, device.type, device.gateway ? el("span", { class: "tag" }, "Gateway") : null),
    el("td", { class: "connection" }, dot, state), seen, firmware, location);
  return { element, dot, state, seen, firmware, location, device };
}

/** Where a device is: its coordinates, which a phone opens as a map (RFC 5870), or words. */
function placeOf(location, words) {
  if (!location) return words ? foreign(words, 60) : el("span", {}, "–");
  const { latitude, longitude, accuracy } = location;
  const figures = [latitude, longitude].map((degrees) => degrees.toFixed(5).replace(/\.?0+$/, ""));
  return el("a", { href: `geo:${figures.join(",")}${accuracy === undefined ? "" : `;u=${accuracy}`}`,
    title: [words, location.measuredDateTime].filter(Boolean).join(", ") }, figures.join(", "));
}

byID("search").addEventListener("input", () => view?.show?.());
for (const button of document.querySelectorAll("[data-state-filter]")) {
  button.addEventListener("click", () => {
    if (!(view instanceof DeviceList)) return;
    view.state = button.dataset.stateFilter;
    for (const other of document.querySelectorAll("[data-state-filter]")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    view.show();
  });
}

byID("locations").addEventListener("click", (event) => {
  const isShown = byID("fleet").classList.toggle("with-locations");
  event.currentTarget.setAttribute("aria-pressed", String(isShown));
});

byID("add-open").addEventListener("click", () => {
  const form = byID("add");
  form.hidden = !form.hidden;
  byID("add-open").setAttribute("aria-expanded", String(!form.hidden));
  if (!form.hidden) byID("add-type").focus();
});

byID("keys-open").addEventListener("click", () => {
  const place = byID("keys-place");
  const isOpen = place.childElementCount === 0;
  byID("keys-open").setAttribute("aria-expanded", String(isOpen));
  place.replaceChildren();
  if (isOpen) place.append(new KeyList({ fail: (error) => fail(error, byID("no-rows")) }).element);
});

byID("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const result = byID("add-result");
  const type = byID("add-type").value.trim();
  const id = byID("add-id").value.trim();
  try {
    await call("POST", "/api/v0002/device/types", { id: type }).catch((error) => {
      // It exists already.
      if (error.status !== 409) throw error;
    });
    const device = await call("POST", `/api/v0002/device/types/${type}/devices`, { deviceId: id });
    result.className = "";
    result.replaceChildren("Registered. Its token, which is shown only now: ", el("code", {}, device.authToken));
    byID("add-id").value = "";
  } catch (error) {
    result.className = "problem";
    fail(error, result);
  }
});

// One device

class DevicePage {
  constructor(type, id) {
    this.path = `/api/v0002/device/types/${encodeURIComponent(type)}/devices/${encodeURIComponent(id)}`;
    byID("device").hidden = false;
    byID("device-problem").hidden = true;
    setText(byID("title"), id);
    setText(byID("subtitle"), `Device type ${type}`);
    document.title = `${shortened(id, 60)} – Mote Fleet`;
    this.operations = new Operations(type, id, {
      fail: (error) => fail(error, byID("device-problem")), reload: () => this.load(),
      begin: () => {
        byID("device-problem").hidden = true;
      },
    });
    this.facts = el("dl", { class: "facts" });
    byID("details").replaceChildren(
      el("section", { class: "card" }, el("h2", {}, "About"), this.facts), this.operations.element);
    this.log = el("ol", { class: "log" });
    this.codes = el("ol", { class: "log" });
    byID("diagnostics").replaceChildren(
      el("section", { class: "card" }, el("h2", {}, "Log"), this.log),
      el("section", { class: "card" }, el("h2", {}, "Error codes"), this.codes));
    this.live = new LiveDevice(byID("live-device"), byID("state"),
      `/api/live/fleet/types/${encodeURIComponent(type)}/devices/${encodeURIComponent(id)}`,
      { onmessage: (message) => this.receive(message), onlost: checkLogin });
    this.load();
  }

  receive(message) {
    if (message.kind === "request") this.operations.noteChange(message.request);
    if (message.kind === "removed") fail(new Error("This device was removed."), byID("device-problem"));
    if (["changed", "connection", "state"].includes(message.kind)) this.loadSoon();
  }

  loadSoon() {
    this.loading ??= setTimeout(() => {
      this.loading = null;
      this.load();
    }, 200);
  }

  async load() {
    try {
      const device = await call("GET", this.path);
      const [management, log, codes] = await Promise.all([
        device.managed ? call("GET", `${this.path}/mgmt`) : null,
        call("GET", `${this.path}/diag/logs`), call("GET", `${this.path}/diag/errorCodes`),
      ]);
      this.showFacts(device, management);
      this.operations.showManagement(management, device);
      showEntries(this.log, log, "Nothing is logged.", (entry) => [
        el("span", { class: `tag severity-${entry.severity}` }, ["Info", "Warning", "Error"][entry.severity] ?? "?"),
        el("bdi", { class: "text" }, shortened(entry.message, 500)),
      ]);
      showEntries(this.codes, codes.reverse(), "No error codes.", (entry) => [
        el("span", { class: "tag severity-2" }, String(entry.errorCode)), el("span", { class: "text" }),
      ]);
    } catch (error) {
      fail(error, byID("device-problem"));
    }
  }

  showFacts(device, management) {
    const info = device.deviceInfo;
    const connection = device.connection;
    const facts = [
      ["Firmware", info.fwVersion], ["Hardware", info.hwVersion], ["Manufacturer", info.manufacturer],
      ["Model", info.model], ["Serial number", info.serialNumber], ["Description", info.description],
      ["Location", device.location ? placeOf(device.location) : null], ["Place", info.descriptiveLocation],
      ["Management", management ? management.dormantDateTime
        ? `Managed until ${dateTime(Date.parse(management.dormantDateTime))}` : "Managed" : "Not managed"],
      ["Connection", connection
        ? `${connection.address}, ${connection.protocol}${connection.secure ? ", TLS" : ", without TLS"}` : "Never"],
      ["Registered", dateTime(Date.parse(device.registration.date))],
    ].filter(([, value]) => value);
    this.facts.replaceChildren(...facts.flatMap(([name, value]) =>
      [el("dt", {}, name), el("dd", {}, value instanceof Node ? value : foreign(String(value), 300))]));
  }

  close() {
    clearTimeout(this.loading);
    this.live.close();
    this.operations.close();
    byID("device").hidden = true;
  }
}

/** Entries of a log, newest first, at most a hundred. */
function showEntries(list, entries, nothing, describe) {
  const shown = entries.slice(-100).reverse();
  list.replaceChildren(...shown.map((entry) =>
    el("li", {}, el("time", {}, dateTime(Date.parse(entry.timestamp))), ...describe(entry))));
  if (shown.length === 0) list.append(el("li", { class: "muted" }, nothing));
}

// Addresses

/** Leaves what is shown. */
function leave() {
  view?.close();
  view = null;
  endWaiting(false);
  byID("logout").hidden = true;
}

async function route() {
  leave();
  let login;
  try {
    login = await call("GET", "/api/login");
  } catch {
    setTimeout(route, 2000);
    return;
  }
  if (!login.key) return showLogin();
  byID("login").hidden = true;
  byID("logout").hidden = false;
  byID("keys-open").hidden = login.role !== "administer";
  view?.close();
  document.title = "Mote Fleet";
  const match = /^#\/device\/([^/]+)\/([^/]+)$/.exec(location.hash);
  try {
    view = match ? new DevicePage(decodeURIComponent(match[1]), decodeURIComponent(match[2])) : new DeviceList();
  } catch {
    location.hash = "#/";
  }
  scrollTo(0, 0);
}

addEventListener("hashchange", route);
route();
