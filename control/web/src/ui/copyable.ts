// A value to copy. A secret one is covered until asked for: people set shows up while their screen is being filmed.
import { h } from "../dom.js";
import { t } from "../i18n/index.js";
import { icon } from "./icons.js";

const SAID_MS = 2000;

export function copyable(name: string, label: string, value: string, secret: boolean): HTMLElement {
  const id = `copy-${name}`;
  const shown = h("input", { id, readonly: true, dir: "ltr", value, type: secret ? "password" : "text", autocomplete: "off" });
  const copy = h("button", { type: "button", class: "button quiet small" }, t("copy"));
  copy.prepend(icon("copy"));
  copy.addEventListener("click", async () => {
    if (await toClipboard(value)) copy.lastChild?.replaceWith(t("copied"));
    else shown.select();
    window.setTimeout(() => copy.lastChild?.replaceWith(t("copy")), SAID_MS);
  });
  const reveal = h("button", { type: "button", class: "button quiet small", "aria-controls": id, hidden: !secret }, t("reveal"));
  reveal.addEventListener("click", () => {
    const covered = shown.type === "password";
    shown.type = covered ? "text" : "password";
    reveal.textContent = t(covered ? "conceal" : "reveal");
  });
  return h("div", { class: "field copyable" }, h("label", { for: id }, label), shown, h("div", { class: "copyable-actions" }, reveal, copy));
}

/** Pages that are not secure have no clipboard. */
export async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
