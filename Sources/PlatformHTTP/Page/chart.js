// Live charts of a device's numbers: each series in a panel of its own, or all in one. Drawn by dygraphs.

import { clockTime, el, formatNumber, platformNow, setText, shortened, unitOf } from "./common.js";

/** Points that are kept: an hour of one event a second. The oldest go first. */
const rowsMax = 3600;
/** Series that are charted; further ones are values only, and of those so many are kept. */
const seriesMax = 40;
const furtherMax = 2000;
/** A line ends where the next point is so many times later than points usually are, and at least so late. */
const gapFactor = 4;
const gapMin = 5000;
/** Panels that are shown at first; the others are a click away. */
const panelsShownFirst = 12;
/** Drawings take at most this share of the time: what is quick to draw is drawn at once, and a page of many charts stays
 * responsive. */
const drawingShare = 0.25;

const palette = 8;

/** The charts in `container`, their legend being the panels' heads. */
export class LiveChart {
  constructor(container, options = {}) {
    this.container = container;
    this.typeID = "";
    this.onchange = options.onchange ?? (() => {});
    this.span = 300000;
    this.isTogether = false;
    this.isPaused = false;
    /** The zoom, [from, to]; null follows the newest point. */
    this.window = null;
    /** When the charts may be drawn again. */
    this.nextDrawing = 0;
    this.panels = [];
    this.hasLibrary = typeof globalThis.Dygraph !== "undefined";
    this.clear();
    if (!this.hasLibrary) container.append(missingLibrary());
    this.colorScheme = matchMedia("(prefers-color-scheme: dark)");
    /** Ends all listeners with the chart. */
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    this.colorScheme.addEventListener("change", () => this.build(), { signal });
    this.resizes = new ResizeObserver(() => this.resize());
    this.resizes.observe(container);
    this.timer = setInterval(() => this.follow(), 1000);
    container.addEventListener("keydown", (event) => this.key(event), { signal });
  }

  /** Forgets all points. */
  clear() {
    /** Rows of [time, value of series 0, …], in order of time. */
    this.rows = [];
    this.series = [];
    this.byName = new Map();
    /** The newest values of what is not charted, by name. */
    this.further = new Map();
    this.build();
  }

  /** Adds the numbers of one event, which may be earlier than others that are there. */
  add(at, numbers) {
    let isNew = false;
    for (const [name, value] of numbers) {
      if (this.byName.has(name)) continue;
      if (this.series.length >= seriesMax) {
        if (this.further.has(name) || this.further.size < furtherMax) this.further.set(name, value);
        continue;
      }
      const series = {
        name, index: this.series.length, isShown: this.series.length < panelsShownFirst, value: null, time: 0,
      };
      this.byName.set(name, series);
      this.series.push(series);
      for (const row of this.rows) row.push(null);
      isNew = true;
    }
    const row = [at, ...new Array(this.series.length).fill(null)];
    for (const [name, value] of numbers) {
      const series = this.byName.get(name);
      if (!series) continue;
      row[series.index + 1] = value;
      if (at < series.time) continue;
      series.value = value;
      series.time = at;
    }
    this.rows.splice(this.placeOf(at), 0, row);
    if (this.rows.length > rowsMax) this.rows.splice(0, this.rows.length - rowsMax);
    if (isNew) {
      this.build();
      this.onchange();
    } else {
      this.schedule();
    }
  }

  /** Where in the rows one of this time belongs: behind those that are not later. */
  placeOf(time) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle][0] <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  setShown(series, isShown) {
    series.isShown = isShown;
    this.build();
    this.onchange();
  }

  setTogether(isTogether) {
    this.isTogether = isTogether;
    this.build();
    this.onchange();
  }

  setSpan(milliseconds) {
    this.span = milliseconds;
    this.setWindow(null);
  }

  setPaused(isPaused) {
    this.isPaused = isPaused;
    // What is on the screen stays there.
    if (isPaused && !this.window) this.pausedAt = this.range();
    this.draw();
    this.onchange();
  }

  setWindow(window) {
    this.window = window;
    this.draw();
    this.onchange();
  }

  /** The visible span of time. */
  range() {
    if (this.window) return this.window;
    if (this.isPaused && this.pausedAt) return this.pausedAt;
    const last = this.rows.at(-1)?.[0] ?? platformNow();
    const end = Math.max(last, Math.min(platformNow(), last + this.span));
    const first = this.rows[0]?.[0] ?? end;
    // What has just begun fills the chart as well.
    const start = Math.max(end - this.span, Math.min(first, end - 30000));
    return [start, end + (end - start) * 0.01];
  }

  zoom(factor) {
    const [start, end] = this.range();
    const middle = (start + end) / 2;
    const half = Math.max(500, ((end - start) / 2) * factor);
    this.setWindow([middle - half, middle + half]);
  }

  pan(fraction) {
    const [start, end] = this.range();
    const distance = (end - start) * fraction;
    this.setWindow([start + distance, end + distance]);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, button, select")) return;
    const actions = {
      "ArrowLeft": () => this.pan(-0.25), "ArrowRight": () => this.pan(0.25), "+": () => this.zoom(0.5),
      "=": () => this.zoom(0.5), "-": () => this.zoom(2), "0": () => this.setWindow(null),
      "Escape": () => this.setWindow(null), " ": () => this.setPaused(!this.isPaused),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // Panels

  /** Makes the panels anew: when series come, go or change places, or the colours do. */
  build() {
    for (const panel of this.panels) panel.graph?.destroy();
    this.panels = [];
    if (!this.hasLibrary) return;
    const shown = this.series.filter((series) => series.isShown);
    const groups = this.isTogether ? (shown.length > 0 ? [shown] : []) : shown.map((series) => [series]);
    this.container.classList.toggle("together", this.isTogether);
    this.container.classList.toggle("single", groups.length === 1);
    this.container.classList.toggle("wide", groups.length === 2 || groups.length === 4);
    this.container.replaceChildren();
    for (const group of groups) {
      const panel = this.makePanel(group);
      this.panels.push(panel);
      this.container.append(panel.element);
    }
    if (this.rows.length > 0 && shown.length === 0) {
      this.container.append(el("p", { class: "empty" }, "All series are off. Switch one on below."));
    }
    this.draw();
  }

  makePanel(group) {
    const panel = { group, heads: new Map(), graph: null };
    const names = el("div", { class: "names" });
    for (const series of group) {
      const value = el("span", { class: "value" });
      panel.heads.set(series, value);
      names.append(
        el("div", { class: "name" }, el("span", { class: `swatch color-${series.index % palette}` }),
          el("bdi", { class: "label", title: shortened(series.name, 200) }, shortened(series.name, 80)), value));
    }
    panel.canvas = el("div", {
      class: "canvas", tabindex: "0", role: "group",
      "aria-label": `Chart of ${group.map((series) => shortened(series.name, 40)).join(", ")}. `
        + "Arrow keys move, plus and minus zoom, 0 goes back to live, space pauses.",
    });
    panel.time = el("span", { class: "time" });
    panel.note = el("span", { class: "note" });
    names.append(panel.note);
    panel.element = el("section", { class: "panel" }, names, panel.canvas, panel.time);
    return panel;
  }

  makeGraph(panel) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const units = new Set(panel.group.map((series) => unitOf(series.name, this.typeID)));
    const unit = units.size === 1 ? [...units][0] : "";
    const graph = new Dygraph(panel.canvas, this.data(panel), {
      // Names of devices' making never get into the library, which puts its labels into the document as markup.
      labels: ["t", ...panel.group.map((_, index) => `s${index}`)],
      colors: panel.group.map((series) => color(`--series-${series.index % palette}`)),
      dateWindow: this.range(),
      connectSeparatedPoints: true,
      strokeWidth: 1.75,
      // Of points that no line leads to.
      pointSize: 3,
      gridLineColor: color("--grid"),
      axisLineColor: color("--grid"),
      axisLabelFontSize: 11,
      yRangePad: 6,
      fillGraph: panel.group.length === 1,
      fillAlpha: 0.1,
      rightGap: 4,
      highlightCircleSize: 3.5,
      interactionModel: interactions,
      axes: {
        x: {
          ticker: Dygraph.dateTicker, drawGrid: false, pixelsPerLabel: 84,
          axisLabelFormatter: (time) => clockTime(time), valueFormatter: () => "",
        },
        y: {
          axisLabelWidth: 62, pixelsPerLabel: 26, valueFormatter: () => "",
          axisLabelFormatter: (value, _, __, owner) => panel.isScaled ? "" : formatNumber(value, unit, stepOf(owner)),
        },
      },
      zoomCallback: (start, end) => this.setWindow([start, end]),
      drawCallback: (owner, isInitial) => {
        if (!isInitial && owner.isDragging) this.setWindow(owner.xAxisRange());
      },
      highlightCallback: (_, time, __, row) => this.highlight(row, panel),
      unhighlightCallback: () => this.highlight(null, panel),
    });
    // A double click undoes the zoom.
    panel.canvas.addEventListener("dblclick", () => this.setWindow(null));
    return graph;
  }

  data(panel) {
    const [start, end] = this.range();
    const columns = panel.group.map((series) => series.index + 1);
    // One more point on either side, so that lines reach the edges.
    let from = this.rows.findIndex((row) => row[0] >= start);
    if (from === -1) from = this.rows.length;
    from = Math.max(0, from - 1);
    let to = from;
    while (to < this.rows.length && this.rows[to][0] <= end) to += 1;
    const rows = this.rows.slice(from, to + 1);
    const scales = columns.map((column) => scaleOf(rows, column));
    panel.isScaled = columns.length > 1 && needsScales(scales);
    setText(panel.note, panel.isScaled ? "Each series on its own scale" : "");
    panel.rows = [];
    const data = [];
    const last = columns.map(() => null);
    const gaps = columns.map((column) => gapOf(rows, column));
    for (const row of rows) {
      const isLate = columns.map((column, index) =>
        (row[column] ?? null) !== null && last[index] !== null && row[0] - last[index] > gaps[index]);
      // The library joins over nothing, and not over what is no number.
      if (isLate.includes(true)) {
        data.push([row[0] - 1, ...isLate.map((late) => late ? NaN : null)]);
        panel.rows.push(row);
      }
      data.push([row[0], ...columns.map((column, index) => {
        const value = row[column] ?? null;
        if (value !== null) last[index] = row[0];
        if (value === null || !panel.isScaled) return value;
        const { low, high } = scales[index];
        return high > low ? (value - low) / (high - low) : 0.5;
      })]);
      panel.rows.push(row);
    }
    return data;
  }

  // Drawing

  schedule() {
    if (this.isPaused || this.scheduled) return;
    const wait = Math.max(0, this.nextDrawing - performance.now());
    this.scheduled = setTimeout(() => {
      this.scheduled = null;
      this.draw();
    }, wait);
  }

  follow() {
    if (!document.hidden && !this.isPaused && !this.window && this.rows.length > 0) this.schedule();
  }

  draw() {
    const began = performance.now();
    const dateWindow = this.range();
    for (const panel of this.panels) {
      const data = this.data(panel);
      // The library measures its element: one that is not shown has no size yet.
      if (data.length === 0 || panel.canvas.clientWidth === 0) continue;
      if (!panel.graph) panel.graph = this.makeGraph(panel);
      panel.graph.updateOptions({ file: data, dateWindow, valueRange: this.valueRange(panel, data) });
    }
    this.showValues(this.row);
    this.nextDrawing = performance.now() + (performance.now() - began) * (1 / drawingShare - 1);
  }

  /** Percentages are shown from 0 to 100; null leaves the range to the data. */
  valueRange(panel, data) {
    const arePercent = panel.group.every((series) => unitOf(series.name, this.typeID) === "%")
      && data.every((row) => row.every((value, index) => index === 0 || (value ?? 0) >= 0 && (value ?? 0) <= 100));
    return arePercent ? [0, 103] : null;
  }

  resize() {
    for (const panel of this.panels) panel.graph?.resize();
    this.draw();
  }

  /** Shows the values of one row in all panels, or the newest ones. */
  highlight(row, source) {
    this.row = row === null ? null : source.rows[row] ?? null;
    for (const panel of this.panels) {
      if (panel === source || !panel.graph) continue;
      const place = this.row === null ? -1 : panel.rows.lastIndexOf(this.row);
      if (place === -1) panel.graph.clearSelection();
      else panel.graph.setSelection(place);
    }
    this.showValues(this.row);
  }

  showValues(row) {
    for (const panel of this.panels) {
      setText(panel.time, row ? clockTime(row[0]) : "");
      for (const [series, element] of panel.heads) {
        const value = row ? row[series.index + 1] : series.value;
        const unit = unitOf(series.name, this.typeID);
        showNumber(element, value, unit);
      }
    }
  }

  close() {
    this.listeners.abort();
    clearInterval(this.timer);
    clearTimeout(this.scheduled);
    this.resizes.disconnect();
    for (const panel of this.panels) panel.graph?.destroy();
  }
}

/** Shows a number in figures that a person can read, and the exact one to whoever points at it. */
export function showNumber(element, value, unit) {
  const isThere = value !== null && value !== undefined && !Number.isNaN(value);
  setText(element, isThere ? formatNumber(value, unit) : "–");
  const exact = isThere ? String(value) : "";
  if (element.title !== exact) element.title = exact;
}

/** How long a column may be silent within one line. */
function gapOf(rows, column) {
  const distances = [];
  let last = null;
  for (const row of rows) {
    if ((row[column] ?? null) === null) continue;
    if (last !== null) distances.push(row[0] - last);
    last = row[0];
  }
  if (distances.length < 3) return Infinity;
  distances.sort((one, other) => one - other);
  return Math.max(gapMin, gapFactor * distances[distances.length >> 1]);
}

/** The distance of two labels on a value axis, roughly. */
function stepOf(graph) {
  const [low, high] = graph.yAxisRange();
  return Math.max(Math.abs(high - low) / Math.max(4, graph.getArea().h / 26), Number.MIN_VALUE);
}

/** The least and the greatest value of a column. */
function scaleOf(rows, column) {
  let [low, high] = [Infinity, -Infinity];
  for (const row of rows) {
    const value = row[column];
    if (value === null || value === undefined) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

/** Whether some series would be a flat line beside others. */
function needsScales(scales) {
  const sizes = scales.filter(({ low }) => Number.isFinite(low))
    .map(({ low, high }) => Math.max(Math.abs(low), Math.abs(high))).filter((size) => size > 0);
  return sizes.length > 1 && Math.max(...sizes) / Math.min(...sizes) > 100;
}

// The library's legend writes markup with styles of its own, and the page has a legend already.
if (typeof globalThis.Dygraph !== "undefined") {
  Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);
}

// With the mouse, dragging zooms and dragging with Shift pans, as the library has it. One finger scrolls the page, two
// zoom and pan.
const interactions = (() => {
  if (typeof globalThis.Dygraph === "undefined") return undefined;
  const model = Dygraph.defaultInteractionModel;
  const twoFingers = (handler) => (event, graph, context) => {
    if (event.touches.length < 2 && !context.isPinching) return;
    context.isPinching = event.touches.length >= 2;
    handler(event, graph, context);
  };
  return {
    // The library's own handlers end what they began.
    willDestroyContextMyself: true,
    mousedown: model.mousedown,
    touchstart: twoFingers(model.touchstart),
    touchmove: twoFingers(model.touchmove),
    touchend: twoFingers(model.touchend),
  };
})();

function missingLibrary() {
  return el("div", { class: "notice", role: "alert" },
    el("strong", {}, "The chart library is not installed."),
    el("p", {}, "Install Debian's package ", el("code", {}, "libjs-dygraphs"), " on the platform's machine (",
      el("code", {}, "sudo apt-get install libjs-dygraphs"), ") and reload this page. Values and messages below are "
      + "live without it."));
}
