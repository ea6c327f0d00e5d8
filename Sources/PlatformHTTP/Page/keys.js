// API keys: who may what, and for how long.

import { dateTime, el, setText, shortened } from "./common.js";
import { call } from "./rest.js";

const path = "/api/v0002/authorization/apikeys";
const roles = [["read", "Read"], ["operate", "Operate"], ["administer", "Administer"]];

/** The card of API keys. */
export class KeyList {
  constructor(handlers) {
    this.onfail = handlers.fail;
    this.rows = el("tbody", { id: "key-rows" });
    this.result = el("p", { id: "key-result", role: "status" });
    const role = el("select", { id: "key-role" }, ...roles.map(([value, text]) => el("option", { value }, text)));
    const comment = el("input", { id: "key-comment", maxlength: "60" });
    const days = el("input", { id: "key-days", type: "number", min: "1", max: "36500" });
    const form = el("form", { class: "form row", id: "key-add" },
      el("label", {}, "Role ", role), el("label", {}, "What for ", comment), el("label", {}, "Ends after days ", days),
      el("button", { class: "primary" }, "Make a key"), this.result);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run(async () => {
        const made = await call("POST", path, {
          role: role.value, comment: comment.value, ...(days.value ? { expiresInDays: Number(days.value) } : {}),
        });
        this.showToken(made);
      });
    });
    this.element = el("section", { class: "card", id: "keys" },
      el("h2", {}, "API keys"),
      el("div", { class: "scroll" },
        el("table", {},
          el("thead", {}, el("tr", {}, ...["Key", "Role", "What for", "Made", "Ends", ""].map((text) =>
            el("th", { scope: "col" }, text)))),
          this.rows)),
      form);
    this.run(async () => {});
  }

  /** Does something, and shows the keys as they are then. */
  async run(operation) {
    try {
      await operation();
      const { results } = await call("GET", `${path}?_limit=200`);
      this.rows.replaceChildren(...results.map((key) => this.row(key)));
    } catch (error) {
      this.onfail(error);
    }
  }

  row(key) {
    const button = (text, attributes, question, operation) => el("button", {
      type: "button", ...attributes, click: () => {
        if (confirm(question)) this.run(operation);
      },
    }, text);
    const own = `${path}/${encodeURIComponent(key.key)}`;
    return el("tr", {},
      el("th", { scope: "row", class: "id" }, key.key),
      el("td", {}, roles.find(([value]) => value === key.role)?.[1] ?? key.role),
      el("td", {}, el("bdi", {}, shortened(key.comment, 60))),
      el("td", {}, dateTime(Date.parse(key.created))),
      el("td", {}, key.expires ? dateTime(Date.parse(key.expires)) : "Never"),
      el("td", {}, el("div", { class: "toolbar" },
        button("New token", {}, `Give ${key.key} a new token? What its old one has opened ends at once.`,
          async () => this.showToken(await call("POST", `${own}/token`))),
        button("Remove", { class: "danger" }, `Take ${key.key} back? What it has opened ends at once.`, async () => {
          await call("DELETE", own);
          setText(this.result, `${key.key} is removed.`);
        }))));
  }

  showToken(key) {
    this.result.replaceChildren(
      "The token of ", el("code", {}, key.key), ", which is shown only now: ", el("code", {}, key.token));
  }
}
