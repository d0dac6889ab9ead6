// Going back in a live show. In: how far back the server has it, and since when it is live. Out: Player.goBack and toLive.
import { must, setText } from "../dom.js";
import { elapsed, t } from "../i18n/index.js";
import type { Player } from "./player.js";

const CLOCK_MS = 500;
/** Less than this is what a player is behind anyway. */
const WORTH_S = 15;
/** This near to the end of the bar means live. */
const LIVE_WITHIN_S = 5;

export class Rewind {
  readonly #bar = must<HTMLInputElement>("#rewind-bar");
  /** A finger holds the knob: the picture follows when it lets go. */
  #held = false;
  #seconds = 0;
  #startedAt: Date | null = null;

  constructor(private readonly player: Player) {
    this.#bar.addEventListener("input", () => {
      this.#held = true;
      this.#say(-Number(this.#bar.value));
    });
    this.#bar.addEventListener("change", () => {
      this.#held = false;
      const back = -Number(this.#bar.value);
      if (back <= LIVE_WITHIN_S) this.player.toLive();
      else this.player.goBack(back);
    });
    window.setInterval(() => this.#follow(), CLOCK_MS);
  }

  /** `seconds`: how far back viewers of this show may go. */
  allow(seconds: number, startedAt: Date | null): void {
    this.#seconds = seconds;
    this.#startedAt = startedAt;
    this.#follow();
  }

  #follow(): void {
    const live = this.#startedAt ? (Date.now() - this.#startedAt.getTime()) / 1000 : 0;
    const span = Math.floor(Math.min(this.#seconds, live));
    must<HTMLElement>("#rewind").hidden = span < WORTH_S;
    if (span < WORTH_S || this.#held) return;
    this.#bar.min = String(-span);
    const behind = Math.min(Math.max(0, (this.player.delayMs() ?? 0) / 1000), span);
    this.#bar.value = String(-Math.round(behind));
    this.#say(behind);
  }

  #say(behind: number): void {
    const words = behind <= LIVE_WITHIN_S ? t("live") : `\u2212${elapsed(behind * 1000)}`;
    setText(must("#rewind-now"), words);
    this.#bar.setAttribute("aria-valuetext", words);
  }
}
