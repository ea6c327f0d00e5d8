// The form that brings an image onto a device: a file of this machine, which the platform then serves, or an address.

import { el, formatNumber, setText, shortened } from "./common.js";
import { call, upload } from "./rest.js";

const updateProblems = [
  null, null, "out of memory", "connection lost", "verification failed", "unsupported image", "invalid address",
];

/** The version in a file's name: its first "1.2" or "1.2.3". */
export function versionIn(name) {
  return /\d+(?:\.\d+)+/.exec(name)?.[0] ?? "";
}

/** What speaks against an image for a device, in sentences. */
function doubtsAbout(image, device) {
  if (image.damage) return [`No device takes this bundle: ${image.damage}.`];
  const { bundle } = image;
  if (!bundle) return [];
  const wanted = device?.metadata?.compatible;
  return [
    wanted && wanted !== bundle.compatible && `This device takes what is made for ${shortened(String(wanted), 64)}.`,
    device?.deviceInfo.fwVersion === bundle.version && `This device runs ${bundle.version} already.`,
    !bundle.keys.length && "A device with a key will not take what nobody has signed.",
  ].filter(Boolean);
}

/** The form. `handlers.submit` gets a request's parameters, `handlers.progress` how far an upload is, from 0 to 1. */
export class FirmwareForm {
  constructor(handlers) {
    this.handlers = handlers;
    const field = (id, label, attributes) => {
      const input = el("input", { id, spellcheck: "false", autocapitalize: "off", ...attributes });
      return [input, el("label", {}, `${label} `, input)];
    };
    let fileLabel, uriLabel, versionLabel, verifierLabel;
    [this.file, fileLabel] = field("firmware-file", "Image file", { type: "file" });
    this.kept = el("select", { id: "firmware-kept" });
    this.keptLabel = el("label", { hidden: true }, "Or one that the platform has ", this.kept);
    [this.uri, uriLabel] = field("firmware-uri", "Address of the image, as the device reaches it",
      { type: "url", required: true });
    [this.version, versionLabel] = field("firmware-version", "Version", { required: true, maxlength: "100" });
    [this.verifier, verifierLabel] = field("firmware-verifier", "Verifier (optional)", {});
    this.content = el("p", { class: "muted", id: "firmware-content", role: "status" });
    this.doubts = el("p", { class: "problem", id: "firmware-doubts", role: "alert" });
    this.submit = el("button", { class: "primary", id: "update" }, "Download and update");
    this.state = el("p", { class: "muted" });
    this.element = el("form", { class: "form", id: "firmware" },
      this.state, fileLabel, this.keptLabel, this.content, this.doubts, uriLabel, versionLabel, verifierLabel,
      this.submit);
    // Another address is another image, of which nothing is known.
    this.uri.addEventListener("input", () => this.tell(null));
    this.file.addEventListener("change", () => this.send(this.file.files[0]));
    this.kept.addEventListener("change", () => this.choose(this.images[this.kept.value]));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      handlers.submit([["uri", this.uri], ["name", { value: this.name ?? "" }], ["version", this.version],
        ["verifier", this.verifier]]
        .filter(([, input]) => input.value.trim()).map(([name, input]) => ({ name, value: input.value.trim() })));
    });
  }

  /** Brings a file to the platform, and its address into the form. */
  async send(file) {
    if (!file) return;
    this.file.disabled = this.submit.disabled = true;
    try {
      const image = await upload(`/api/images?name=${encodeURIComponent(file.name)}`, file,
        (share) => this.handlers.progress(share, `Uploading ${shortened(file.name, 60)}`));
      this.handlers.progress(1, `Uploaded ${shortened(image.name, 60)}, ${formatNumber(image.size, "B")}`);
      this.choose(image);
      await this.load();
    } catch (error) {
      this.handlers.progress(null);
      this.handlers.fail(error);
    } finally {
      this.file.disabled = false;
      this.submit.disabled = this.submit.dataset.unsupported === "true";
      // The same file may be chosen again, when it has changed.
      this.file.value = "";
    }
  }

  choose(image) {
    if (!image) return;
    this.name = image.name;
    this.uri.value = location.origin + image.path;
    this.version.value = image.bundle?.version || versionIn(image.name) || image.sha256.slice(0, 12);
    this.verifier.value = `sha256:${image.sha256}`;
    this.tell(image);
  }

  /** Shows what the image is, and what speaks against it for this device. */
  tell(image) {
    this.image = image;
    setText(this.content, image?.bundle ? `This is ${image.bundle.text}.` : "");
    setText(this.doubts, image ? doubtsAbout(image, this.device).join(" ") : "");
  }

  /** More is known about the device. */
  showDevice(device) {
    this.device = device;
    this.tell(this.image);
  }

  /** Shows which images the platform has. */
  async load() {
    this.images = (await call("GET", "/api/images")).reverse();
    this.keptLabel.hidden = this.images.length === 0;
    this.kept.replaceChildren(el("option", { value: "" }, "Choose…"), ...this.images.map((image, index) =>
      el("option", { value: String(index) }, `${image.name}, ${formatNumber(image.size, "B")}`)));
  }

  /** What the device last told about its firmware. */
  showState(firmware) {
    const state = ["idle", "downloading", "downloaded"][firmware?.state] ?? "";
    const problem = updateProblems[firmware?.updateStatus];
    setText(this.state, !firmware ? "" : problem
      ? `Last update: ${problem}.`
      : firmware.updateStatus === 1 ? "An update is being installed."
        : firmware.state === 0 ? "No image waits." : `Image ${shortened(firmware.version || "without version", 60)}: ${state}.`);
  }
}
