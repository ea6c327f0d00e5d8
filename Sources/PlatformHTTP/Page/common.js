// What both pages share. Text of devices reaches the document as text nodes only, never as markup.

/** An element with attributes and children; strings become text, functions listeners. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets an element's text, if it is another one: an unchanged text costs no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** At most `max` characters of a text, with what cannot be seen made visible. */
export function shortened(text, max) {
  return visible(text.length > max ? text.slice(0, max - 1) + "…" : text);
}

/** A text in which controls, and what turns the direction of writing, are shown by their numbers (Unicode, UAX #9). */
export function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (character) => `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** Text of a device's making: whatever direction it has, it turns nothing else round. */
export function foreign(text, max) {
  return el("bdi", {}, shortened(text, max));
}

/** How much later the platform's clock is than this browser's, in milliseconds. */
export let clockOffset = 0;

/** The platform's time now, in milliseconds since 1970. */
export function platformNow() {
  return Date.now() + clockOffset;
}

/** Learns the platform's clock. */
export function setPlatformNow(milliseconds) {
  clockOffset = milliseconds - Date.now();
}

/** How long ago something was, in words. */
export function ago(milliseconds) {
  const seconds = Math.max(0, Math.round((platformNow() - milliseconds) / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} d ago`;
}

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const dateFormat = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});

/** A time of day. */
export function clockTime(milliseconds) {
  return clockFormat.format(milliseconds);
}

/** A date and time. */
export function dateTime(milliseconds) {
  return Number.isFinite(milliseconds) ? dateFormat.format(milliseconds) : "–";
}

// Units are part of a name by the habit of ending it with one; of Mote's own sensors the names are known.
const unitSuffixes = new Map([
  ["percent", "%"], ["pct", "%"], ["usage", "%"], ["bytes", "B"], ["seconds", "s"], ["ms", "ms"], ["celsius", "°C"],
  ["volts", "V"], ["millivolts", "mV"], ["amps", "A"], ["watts", "W"], ["hertz", "Hz"], ["hz", "Hz"], ["rpm", "rpm"],
  ["pascal", "Pa"], ["hpa", "hPa"], ["lux", "lx"],
]);
const moteUnits = new Map([["memory_available", "B"], ["memory_used", "B"], ["memory_total", "B"], ["uptime", "s"]]);

/** The unit of a series, "" where it is not known. */
export function unitOf(name, typeID) {
  if (typeID === "mote" && moteUnits.has(name)) return moteUnits.get(name);
  if (typeID === "mote" && /(^|_)temp$/.test(name)) return "°C";
  return unitSuffixes.get(name.toLowerCase().split(/[_.-]/).at(-1)) ?? "";
}

const prefixes = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"]];

/** A number in figures that a person can read: value and unit. `step` is the distance that must remain visible. */
export function formatNumber(value, unit = "", step = 0) {
  if (!Number.isFinite(value)) return "–";
  let scale = 1;
  let prefix = "";
  const size = Math.abs(value);
  if (unit === "s" && size >= 600) return duration(value, step);
  for (const [factor, name] of prefixes) {
    if (size >= factor) {
      [scale, prefix] = [factor, name];
      break;
    }
  }
  if (unit === "B" && scale === 1 && size >= 1e3) [scale, prefix] = [1e3, "k"];
  const scaled = value / scale;
  const magnitude = Math.abs(scaled);
  let decimals;
  if (step > 0) decimals = Math.ceil(-Math.log10(step / scale) - 0.01);
  else if (Number.isInteger(scaled)) decimals = 0;
  else decimals = magnitude >= 100 ? 1 : magnitude >= 1 ? 2 : magnitude >= 0.001 ? 4 : 6;
  const isTiny = size > 0 && size < 1e-6 && (step === 0 || step < 1e-9);
  if (size >= 1e18 || isTiny) return engineering(value) + (unit ? " " + unit : "");
  const text = scaled.toLocaleString("en", {
    minimumFractionDigits: step > 0 ? Math.min(12, Math.max(0, decimals)) : 0,
    maximumFractionDigits: Math.min(12, Math.max(0, decimals)),
    useGrouping: magnitude >= 1e4,
  });
  const suffix = prefix + unit;
  return suffix ? `${text} ${suffix}` : text;
}

/** A number with a power of a thousand: 100e306. */
function engineering(value) {
  const power = Math.floor(Math.log10(Math.abs(value)) / 3) * 3;
  // Twice, because the power itself may be beyond what a number holds.
  const mantissa = value / 10 ** Math.trunc(power / 2) / 10 ** (power - Math.trunc(power / 2));
  return `${Number(mantissa.toPrecision(4))}e${power}`;
}

function duration(seconds, step) {
  if (seconds >= 2 * 86400) return `${(seconds / 86400).toFixed(step > 0 && step < 8640 ? 2 : 1)} d`;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = Math.floor(seconds % 60);
  const two = (number) => String(number).padStart(2, "0");
  return `${hours}:${two(minutes)}:${two(rest)} h`;
}

/**
 * A stream of server-sent events that comes back by itself. `handlers.message` gets each message's JSON,
 * `handlers.state` gets "connecting", "open" or "lost".
 */
export class LiveStream {
  constructor(address, handlers) {
    this.address = address;
    this.handlers = handlers;
    this.attempts = 0;
    // A page that is left may be kept for the way back, and its stream with it: a browser has six connections to a
    // platform, and would wait for one of them.
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    addEventListener("pagehide", () => this.end(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.open(), { signal });
    this.open();
  }

  open() {
    this.handlers.state(this.attempts === 0 ? "connecting" : "lost");
    const source = new EventSource(this.address);
    this.source = source;
    source.onopen = () => {
      this.attempts = 0;
      this.handlers.state("open");
    };
    source.onmessage = (message) => {
      let value;
      try {
        value = JSON.parse(message.data);
      } catch {
        return;
      }
      this.lastMessage = Date.now();
      this.handlers.message(value);
    };
    source.onerror = () => {
      // The browser's own attempts end for good at some errors; ours never do.
      source.close();
      this.handlers.state("lost");
      this.attempts += 1;
      this.timer = setTimeout(() => this.open(), Math.min(1000 * 1.5 ** (this.attempts - 1), 10000));
    };
  }

  close() {
    this.listeners.abort();
    this.end();
  }

  end() {
    clearTimeout(this.timer);
    this.source.close();
  }
}

/** How deep members of members are looked for, and how many are taken in all. */
const depthMax = 8;
const membersMax = 2000;

/**
 * The members of a payload that a chart shows, and those that it does not, as [name, value] pairs; those of members by
 * their path. `time`: what the payload says about its time, in milliseconds since 1970, or NaN.
 */
export function membersOf(payload) {
  let value;
  try {
    value = JSON.parse(payload);
  } catch {
    return { numbers: [], others: [], time: NaN };
  }
  const isObject = (candidate) => candidate !== null && typeof candidate === "object" && !Array.isArray(candidate);
  const data = isObject(value) && isObject(value.d) ? value.d : value;
  const numbers = [];
  const others = [];
  const time = isObject(value) && typeof value.ts === "string" ? Date.parse(value.ts) : NaN;
  if (!isObject(data)) return { numbers, others, time };
  const walk = (object, path, depth) => {
    for (const [name, member] of Object.entries(object)) {
      if (numbers.length + others.length >= membersMax) return;
      const own = path + name;
      if (isObject(member) && depth < depthMax) {
        walk(member, `${own}.`, depth + 1);
        continue;
      }
      const number = typeof member === "string" && member.trim() !== "" ? Number(member) : member;
      if (typeof number === "number" && Number.isFinite(number)) numbers.push([own, number]);
      else others.push([own, typeof member === "string" ? member : JSON.stringify(member)]);
    }
  };
  walk(data, "", 1);
  return { numbers, others, time };
}

/** How much later than its arrival, and how much earlier, an event may say that it is. */
const aheadMax = 60000;
const behindMax = 30 * 86400000;

/** When an event was: what it says itself, where that makes sense, and its arrival otherwise. */
export function eventTime(said, arrival) {
  return said <= arrival + aheadMax && said >= arrival - behindMax ? said : arrival;
}

/** A payload as text that may break behind its commas. */
export function payloadText(text, max) {
  const code = el("code");
  const parts = shortened(text, max).split(",");
  // Beyond some hundred pieces, breaks are anywhere.
  if (parts.length > 300) return el("code", {}, shortened(text, max));
  parts.forEach((part, index) => code.append(index < parts.length - 1 ? part + "," : part, el("wbr")));
  return code;
}
