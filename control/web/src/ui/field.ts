// A labelled input with its hint and its error in place.
import { h } from "../dom.js";

export interface Field {
  row: HTMLElement;
  input: HTMLInputElement;
  fail(text: string): void;
}

export function field(name: string, label: string, attributes: Record<string, string | number | boolean>, hint = ""): Field {
  const id = `field-${name}`;
  const error = h("p", { class: "field-error", id: `${id}-error`, role: "alert", hidden: true });
  const input = h("input", { id, name, "aria-describedby": `${id}-hint ${id}-error`, ...attributes });
  const under = h("p", { class: "field-hint", id: `${id}-hint`, hidden: hint === "" }, hint);
  const row = h("div", { class: "field" }, h("label", { for: id }, label), input, under, error);
  return {
    row,
    input,
    fail(text) {
      error.textContent = text;
      error.hidden = text === "";
      under.hidden = hint === "" || text !== "";
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}
