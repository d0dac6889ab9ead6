// The words over the picture while there is none to see, with what the host can do about it.
import { h, must, setText } from "../dom.js";

export interface CardAction {
  label: string;
  run: () => void;
  quiet?: boolean;
}

export interface CardWords {
  title: string;
  text?: string;
  /** A command to type, on a line of its own. */
  code?: string;
  /** Something goes on: the mark keeps moving. */
  alive?: boolean;
  actions?: CardAction[];
}

export class Card {
  readonly #card = must<HTMLElement>("#card");

  show({ title, text = "", code = "", alive = false, actions = [] }: CardWords): void {
    this.#card.dataset["alive"] = String(alive);
    setText(must("#card-title"), title);
    setText(must("#card-text"), text);
    const command = must<HTMLElement>("#card-code");
    command.hidden = code === "";
    setText(command, code);
    must("#card-actions").replaceChildren(...actions.map(({ label, run, quiet }) =>
      h("button", { type: "button", class: quiet ? "button quiet" : "button", onclick: run }, label)));
    this.#card.hidden = false;
  }

  hide(): void {
    this.#card.hidden = true;
  }
}
