// One device, live: charts, values, messages and state. Both pages show devices with this.

import { LiveChart, showNumber } from "./chart.js";
import {
  LiveStream, ago, clockTime, el, eventTime, foreign, membersOf, payloadText, setPlatformNow, setText, shortened,
  unitOf,
} from "./common.js";

/** Raw messages that are kept. */
const messagesMax = 100;
/** Characters of a message or value that are shown. */
const messageCharactersMax = 4096;
const valueCharactersMax = 200;
/** Rows of values that are shown at first; the others are a click away. */
const valuesShownFirst = 60;
/** Values that are not charted and are kept, by name. */
const othersMax = 2000;

const spans = [[60000, "1 min"], [300000, "5 min"], [900000, "15 min"], [3600000, "1 h"]];

/** A device's charts in `container`, its state in `pill`. */
export class LiveDevice {
  constructor(container, pill, address, options = {}) {
    this.pill = pill;
    this.options = options;
    this.others = new Map();
    this.messages = [];
    this.total = 0;
    this.valueRows = new Map();
    this.lastTimes = new Map();
    this.makeElements(container);
    this.chart = new LiveChart(this.charts, { onchange: () => this.showControls() });
    this.showControls();
    this.stream = new LiveStream(address, {
      state: (state) => {
        this.streamState = state;
        if (state === "lost") this.options.onlost?.();
        this.showState();
      },
      message: (message) => this.receive(message),
    });
    this.timer = setInterval(() => this.showState(), 1000);
    this.showState();
  }

  makeElements(container) {
    const button = (text, attributes, click) => el("button", { type: "button", click, ...attributes }, text);
    this.spanButtons = spans.map(([span, text]) => button(text, { "data-span": span }, () => this.chart.setSpan(span)));
    this.pause = button("Pause", { id: "pause", title: "Pause (space)" },
      () => this.chart.setPaused(!this.chart.isPaused));
    this.together = button("One chart", { id: "together", title: "All series in one chart" },
      () => this.chart.setTogether(!this.chart.isTogether));
    this.live = button("Back to live", { id: "live", class: "primary", title: "Back to live (0)" },
      () => this.chart.setWindow(null));
    const zoom = (text, label, factor) =>
      button(text, { "aria-label": label, title: `${label} (${text})` }, () => this.chart.zoom(factor));
    this.charts = el("div", { id: "charts", class: "charts" });
    this.values = el("tbody", { id: "values" });
    this.noValues = el("p", { class: "muted" }, "The payload has no members.");
    this.more = button("", { id: "more-values", hidden: true }, () => {
      this.showsAll = true;
      this.showValues();
    });
    this.count = el("span", { class: "count" }, "0");
    this.list = el("ol", { id: "messages", class: "messages", tabindex: "0", "aria-label": "Messages, newest first" });
    this.waiting = el("div", { class: "card waiting" }, el("div", { class: "pulse", "aria-hidden": "true" }),
      el("p", {}, "The chart begins with the device’s first event."));
    this.results = el("div", { hidden: true },
      el("div", { class: "toolbar", role: "toolbar", "aria-label": "Chart" },
        el("div", { class: "segments", role: "group", "aria-label": "Time span" }, ...this.spanButtons),
        el("div", { class: "segments", role: "group", "aria-label": "Zoom" },
          zoom("+", "Zoom in", 0.5), zoom("−", "Zoom out", 2)),
        this.together, this.pause, this.live),
      this.charts,
      el("div", { class: "columns" },
        el("section", { class: "card" }, el("h2", {}, "Latest values"), this.noValues,
          el("table", { class: "values" }, this.values), this.more),
        el("section", { class: "card" }, el("h2", {}, "Messages ", this.count), this.list)));
    container.replaceChildren(this.waiting, this.results);
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
      case "command":
        this.addMessage(message);
        break;
    }
    this.options.onmessage?.(message);
    this.showState();
  }

  receiveEvent(message) {
    // After a reconnect the platform sends the last events once more.
    if (this.lastTimes.get(message.event) >= message.time) return;
    this.lastTimes.set(message.event, message.time);
    if (this.lastTimes.size > othersMax) this.lastTimes.delete(this.lastTimes.keys().next().value);
    this.isKnown = true;
    this.lastEvent = Math.max(this.lastEvent ?? 0, message.time);
    if (this.chart.typeID !== message.type) {
      this.chart.typeID = message.type;
      this.options.ontype?.(message.type);
    }
    const { numbers, others, time } = membersOf(message.payload ?? "");
    for (const [name, value] of others) {
      if (this.others.has(name) || this.others.size < othersMax) this.others.set(name, value);
    }
    setText(this.noValues, message.tooLong
      ? `The last payload, of ${message.size} bytes, is too long for its values to be shown.`
      : "The payload has no members.");
    if (numbers.length > 0) this.chart.add(eventTime(time, message.time), numbers);
    this.addMessage(message);
    if (!this.pendingValues) {
      this.pendingValues = requestAnimationFrame(() => {
        this.pendingValues = null;
        if (!this.chart.isPaused) this.showValues();
      });
    }
  }

  addMessage(message) {
    const why = message.tooLong ? "bytes, too long to show here" : "bytes that are not text";
    const text = message.payload ?? `${message.size} ${why}`;
    this.total += 1;
    this.messages.push(message);
    if (this.messages.length > messagesMax) this.messages.shift();
    setText(this.count, `${this.total}`);
    if (this.chart.isPaused) return;
    const isCommand = message.kind === "command";
    this.list.prepend(
      el("li", { class: isCommand ? "command" : null }, el("time", {}, clockTime(message.time)),
        el("span", { class: "event" }, isCommand ? "→ " : null, foreign(isCommand ? message.command : message.event, 200)),
        payloadText(text, messageCharactersMax)));
    while (this.list.children.length > messagesMax) this.list.lastElementChild.remove();
  }

  showValues() {
    for (const series of this.chart.series) {
      const row = this.valueRow(`n${series.name}`, series.name, series);
      showNumber(row.value, series.value, unitOf(series.name, this.chart.typeID));
      row.box.checked = series.isShown;
    }
    const rest = [
      ...[...this.chart.further].map(([name, value]) => [`f${name}`, name, value]),
      ...[...this.others].filter(([name]) => !this.chart.byName.has(name)).map(([name, value]) => [`o${name}`, name, value]),
    ];
    const room = this.showsAll ? rest.length : Math.max(0, valuesShownFirst - this.chart.series.length);
    for (const [key, name, value] of rest.slice(0, room)) {
      const { value: cell } = this.valueRow(key, name, null);
      if (typeof value === "number") showNumber(cell, value, unitOf(name, this.chart.typeID));
      else setText(cell, shortened(String(value), valueCharactersMax));
    }
    this.more.hidden = room >= rest.length;
    setText(this.more, `Show ${rest.length - room} more`);
    this.noValues.hidden = this.values.children.length > 0;
  }

  valueRow(key, name, series) {
    const known = this.valueRows.get(key);
    if (known) return known;
    const value = el("td", { class: series ? "number" : "text foreign" });
    const label = shortened(name, 80);
    const row = { value };
    let head;
    if (series) {
      row.box = el("input", {
        type: "checkbox", checked: series.isShown,
        change: () => this.chart.setShown(series, row.box.checked),
      });
      head = el("label", {}, row.box, el("span", { class: `swatch color-${series.index % 8}` }),
        el("bdi", { class: "label" }, label));
    } else {
      head = el("bdi", { class: "label plain" }, label);
    }
    this.values.append(el("tr", {}, el("th", { scope: "row", title: shortened(name, 200) }, head), value));
    this.valueRows.set(key, row);
    return row;
  }

  showState() {
    const [name, text] = this.state();
    this.pill.dataset.state = name;
    setText(this.pill.lastElementChild, text);
    this.waiting.hidden = this.total > 0;
    this.results.hidden = this.total === 0;
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
    this.pause.setAttribute("aria-pressed", String(chart.isPaused));
    setText(this.pause, chart.isPaused ? "Resume" : "Pause");
    this.live.hidden = !chart.window;
    this.together.setAttribute("aria-pressed", String(chart.isTogether));
    for (const button of this.spanButtons) {
      button.setAttribute("aria-pressed", String(!chart.window && Number(button.dataset.span) === chart.span));
    }
    if (this.wasPaused && !chart.isPaused) this.catchUp();
    this.wasPaused = chart.isPaused;
  }

  /** Shows what came during a pause. */
  catchUp() {
    this.list.replaceChildren();
    const messages = this.messages;
    this.messages = [];
    this.total -= messages.length;
    for (const message of messages) this.addMessage(message);
    this.showValues();
  }

  close() {
    clearInterval(this.timer);
    this.stream.close();
    this.chart.close();
  }
}
