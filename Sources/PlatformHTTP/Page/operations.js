// What an operator asks of a device: reboot, factory reset, firmware, commands, and how far each is.

import { ago, el, setText, shortened } from "./common.js";
import { FirmwareForm } from "./firmware.js";
import { call } from "./rest.js";

/** Requests of the device that are shown. */
const historyMax = 5;

/** The card of operations on one device. */
export class Operations {
  constructor(type, id, handlers) {
    this.device = { typeId: type, deviceId: id };
    this.onfail = handlers.fail;
    this.onbegin = handlers.begin;
    this.reload = handlers.reload;
    this.waiters = new Map();
    this.isClosed = false;
    this.makeElement();
    this.showHistory();
    this.timer = setInterval(() => this.showHistory(), 15000);
  }

  makeElement() {
    const action = (text, attributes, run) => el("button", {
      type: "button", ...attributes, click: (event) => this.run(event.currentTarget, run),
    }, text);
    this.reboot = action("Reboot", { id: "reboot" }, () => this.request("device/reboot"));
    this.reset = action("Factory reset", { id: "factory-reset", class: "danger" }, async () => {
      if (confirm(`Factory reset ${this.device.deviceId}? All of its settings are lost but identity and credentials.`)) {
        await this.request("device/factoryReset");
      }
    });
    this.unmanaged = el("p", { class: "muted", hidden: true },
      "Not managed: this device takes commands, but no reboots and no firmware.");
    this.bar = el("progress", { max: "100", value: "0", "aria-label": "Progress" });
    this.barText = el("p", { role: "status" });
    this.progress = el("div", { id: "progress", class: "progress", hidden: true }, this.bar, this.barText);
    this.history = el("ol", { class: "log history" });
    this.element = el("section", { class: "card operations" },
      el("h2", {}, "Operations"),
      this.unmanaged,
      el("div", { class: "toolbar" }, this.reboot, this.reset),
      this.makeCommandForm(), this.makeFirmwareForm(), this.progress, this.history);
  }

  makeCommandForm() {
    const name = el("input", {
      id: "command-name", required: true, maxlength: "36", pattern: "[A-Za-z0-9_.\\-]{1,36}", value: "ping",
      spellcheck: "false", autocapitalize: "off",
    });
    const payload = el("textarea", { id: "command-payload", spellcheck: "false", rows: "2" });
    payload.value = "{}";
    this.sent = el("p", { class: "muted", role: "status" });
    const form = el("form", { class: "form", id: "command" },
      el("label", {}, "Command ", name), el("label", {}, "Payload (JSON) ", payload),
      el("button", { class: "primary" }, "Send"), this.sent);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run(form.querySelector("button"), async () => {
        const { typeId, deviceId } = this.device;
        await call("POST", `/api/v0002/application/types/${typeId}/devices/${deviceId}/commands/${name.value}`,
          payload.value.trim() || "{}");
        setText(this.sent, `Sent ${name.value}.`);
      });
    });
    return el("details", {}, el("summary", {}, "Send a command"), form);
  }

  makeFirmwareForm() {
    this.firmware = new FirmwareForm({
      submit: (parameters) => this.run(this.firmware.submit, () => this.updateFirmware(parameters)),
      progress: (share, text) => {
        if (share === null) this.progress.hidden = true;
        else this.showProgress(share * 100, text, "");
      },
      fail: (error) => this.onfail(error),
    });
    const details = el("details", {}, el("summary", {}, "Update the firmware"), this.firmware.element);
    details.addEventListener("toggle", () => {
      if (details.open) this.firmware.load().catch((error) => this.onfail(error));
    });
    return details;
  }

  /** Lets the device download and install an image, and tells what it runs at the end. */
  async updateFirmware(parameters) {
    const before = this.version;
    this.hasInstalled = false;
    if (!await this.request("firmware/download", parameters, [0, 60])) return;
    const isDone = await this.request("firmware/update", [], [60, 100]);
    if (this.isClosed) return;
    await this.reload();
    const now = shortened(this.version || "a version that it does not tell", 60);
    if (isDone) {
      this.showProgress(100, `The device runs ${now}.`, "good");
    } else {
      const result = this.version !== before ? `It runs ${now}.`
        : this.hasInstalled ? `Rolled back: it runs ${now} again.` : `It still runs ${now}.`;
      this.showProgress(this.bar.value, `${this.barText.textContent} ${result}`, "bad");
    }
  }

  async run(button, operation) {
    button.disabled = true;
    // What went wrong before is over, and so is what went well.
    this.onbegin();
    setText(this.sent, "");
    try {
      await operation();
    } catch (error) {
      this.onfail(error);
    } finally {
      button.disabled = button.dataset.unsupported === "true";
    }
  }

  // Requests

  /** Makes a request, follows it to its end, and tells whether it succeeded. `range`: its part of the bar. */
  async request(action, parameters = [], range = [0, 100]) {
    this.showProgress(range[0] + 3, "Asking the device", "");
    const made = await call("POST", "/api/v0002/mgmt/requests", { action, parameters, devices: [this.device] });
    this.showHistory();
    const path = `/api/v0002/mgmt/requests/${made.reqId}/deviceStatus/${this.device.typeId}/${this.device.deviceId}`;
    while (!this.isClosed) {
      const status = await call("GET", path);
      if (status.complete) {
        const isDone = status.status === 0;
        this.showProgress(isDone ? range[1] : this.bar.value, status.message || (isDone ? "Done" : "Failed"),
          isDone ? (range[1] === 100 ? "good" : "") : "bad");
        this.showHistory();
        return isDone;
      }
      this.showProgress(range[0] + (range[1] - range[0]) * this.share(action), this.describe(action, status), "");
      // Until the platform tells of a change, or two seconds at most.
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 2000);
        this.waiters.set(made.reqId, () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return false;
  }

  share(action) {
    const firmware = this.management?.firmware;
    if (action === "firmware/download") return { 1: 0.5, 2: 1 }[firmware?.state] ?? 0.1;
    if (action === "firmware/update") return firmware?.updateStatus === 1 ? 0.6 : 0.2;
    return 0.5;
  }

  describe(action, status) {
    const firmware = this.management?.firmware;
    if (action === "firmware/download" && firmware?.state === 1) return "The device is downloading";
    if (action === "firmware/update" && firmware?.updateStatus === 1) return "The device is installing";
    return status.message || "Waiting for the device";
  }

  showProgress(value, text, state) {
    this.progress.hidden = false;
    this.progress.dataset.state = state;
    this.bar.value = value;
    setText(this.barText, text);
  }

  noteChange(request) {
    this.waiters.get(request)?.();
    this.waiters.delete(request);
  }

  showManagement(management, device) {
    this.management = management;
    this.version = device.deviceInfo.fwVersion;
    if (management?.firmware.updateStatus === 1) this.hasInstalled = true;
    const set = (button, isSupported) => {
      button.dataset.unsupported = String(!isSupported);
      button.disabled = !isSupported;
    };
    set(this.reboot, Boolean(management?.supports.deviceActions));
    set(this.reset, Boolean(management?.supports.deviceActions));
    set(this.firmware.submit, Boolean(management?.supports.firmwareActions));
    this.unmanaged.hidden = Boolean(management);
    this.firmware.showState(management?.firmware);
    this.firmware.showDevice(device);
    // What was told changes the bar of a request that is under way.
    for (const wake of this.waiters.values()) wake();
    this.waiters.clear();
  }

  /** The last requests that are for this device. */
  async showHistory() {
    try {
      const { results: mine } = await call("GET", `/api/v0002/mgmt/requests?_limit=${historyMax}` +
        `&typeId=${this.device.typeId}&deviceId=${this.device.deviceId}`);
      const statuses = await Promise.all(mine.map((request) => call("GET",
        `/api/v0002/mgmt/requests/${request.id}/deviceStatus/${this.device.typeId}/${this.device.deviceId}`)));
      this.history.replaceChildren(...mine.map((request, index) => {
        const status = statuses[index];
        const name = ["Done", "Under way", "Unsupported", "Failed", "Timed out", "Cancelled"][status.status] ?? "?";
        const severity = [0, 0, 1, 2, 2, 1][status.status] ?? 1;
        return el("li", {}, el("time", {}, ago(Date.parse(request.started))),
          el("span", { class: `tag severity-${status.status === 0 ? "good" : severity}` }, name),
          el("bdi", { class: "text" }, `${request.action}${status.message ? `: ${shortened(status.message, 200)}` : ""}`));
      }));
    } catch {
      // The card's other parts tell what is wrong.
    }
  }

  close() {
    this.isClosed = true;
    clearInterval(this.timer);
    for (const wake of this.waiters.values()) wake();
  }
}
