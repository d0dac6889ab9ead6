// A modal window. The browser's own <dialog> keeps the focus inside, closes on Escape and gives the focus back.
import { h } from "../dom.js";
import { t } from "../i18n/index.js";
import { icon } from "./icons.js";

export interface Dialog {
  close(): void;
  setTitle(text: string, lead: string): void;
  setBody(...content: Node[]): void;
}

export function openDialog(className: string): Dialog {
  const heading = h("h2", { id: "dialog-title", class: "dialog-title" });
  const lead = h("p", { class: "dialog-lead" });
  const body = h("div", { class: "dialog-body" });
  const closer = h("button", { type: "button", class: "icon-button dialog-close", "aria-label": t("close"), onclick: () => box.close() });
  closer.append(icon("close"));
  const box = h("dialog", { class: `dialog ${className}`, "aria-labelledby": "dialog-title" }, h("div", { class: "dialog-inner" }, closer, heading, lead, body));
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return {
    close: () => box.close(),
    setTitle(text, under) {
      heading.textContent = text;
      lead.textContent = under;
    },
    setBody(...content) {
      body.replaceChildren(...content);
      body.querySelector<HTMLElement>("input, button")?.focus();
    },
  };
}
