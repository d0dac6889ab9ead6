// The words over the picture while there is none, and the cover behind them.
import { h, must, setText } from "../dom.js";
import { t, type TextKey } from "../i18n/index.js";

export type Status =
  | "loading" | "preparing" | "waiting" | "interrupted" | "ended" | "private" | "notFound" | "full" | "broken" | "unsupported" | "offline";

interface Words {
  title: TextKey;
  text?: TextKey;
  /** Something is still being waited for: the mark keeps moving. */
  alive: boolean;
}

const WORDS: Record<Status, Words> = {
  loading: { title: "loading", alive: true },
  preparing: { title: "preparingTitle", text: "preparingText", alive: true },
  waiting: { title: "waitingTitle", text: "waitingText", alive: true },
  interrupted: { title: "interruptedTitle", text: "interruptedText", alive: true },
  ended: { title: "endedTitle", text: "endedText", alive: false },
  private: { title: "privateTitle", text: "privateText", alive: false },
  notFound: { title: "notFoundTitle", text: "notFoundText", alive: false },
  full: { title: "fullTitle", text: "fullText", alive: true },
  broken: { title: "brokenTitle", text: "brokenText", alive: true },
  unsupported: { title: "unsupportedTitle", text: "unsupportedText", alive: false },
  offline: { title: "offlineTitle", text: "offlineText", alive: true },
};

export class StatusCard {
  readonly #card = must<HTMLElement>("#status");

  /** `reason` replaces our own sentence when the server said something more exact. */
  show(status: Status, reason?: string, action?: { label: string; run: () => void }): void {
    const words = WORDS[status];
    this.#card.dataset["status"] = status;
    this.#card.dataset["alive"] = String(words.alive);
    setText(must("#status-title", this.#card), t(words.title));
    setText(must("#status-text", this.#card), reason ?? (words.text ? t(words.text) : ""));
    const actions = must("#status-actions", this.#card);
    const buttons: HTMLElement[] = [];
    if (action) buttons.push(h("button", { type: "button", class: "button", onclick: action.run }, action.label));
    if (!words.alive) buttons.push(h("a", { class: "button quiet", href: "/" }, t("backHome")));
    actions.replaceChildren(...buttons);
    this.#card.hidden = false;
  }

  hide(): void {
    this.#card.hidden = true;
  }
}
