// Where in a recording the picture is, and a way to elsewhere. In: the media element. Out: its currentTime.
import { must, setText } from "../dom.js";
import { elapsed, t } from "../i18n/index.js";
import { Preview } from "./preview.js";

/** What the arrow keys move by. */
const KEY_STEP_S = 5;

export class SeekBar {
  readonly #bar = must<HTMLInputElement>("#seek-bar");
  readonly #now = must<HTMLElement>("#seek-now");
  readonly #all = must<HTMLElement>("#seek-all");
  readonly preview = new Preview(this.#bar);
  /** A finger holds the knob: the picture follows when it lets go. */
  #held = false;

  constructor(private readonly video: HTMLVideoElement) {
    this.#bar.addEventListener("input", () => {
      this.#held = true;
      this.#say(Number(this.#bar.value));
    });
    this.#bar.addEventListener("change", () => {
      this.#held = false;
      this.video.currentTime = Number(this.#bar.value);
    });
    for (const name of ["timeupdate", "seeking"]) video.addEventListener(name, () => this.#follow());
    video.addEventListener("durationchange", () => Number.isFinite(video.duration) && video.duration > 0 && this.show(video.duration));
    document.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** The length that control knows, until the playlist says it. */
  show(seconds: number): void {
    must<HTMLElement>("#seek").hidden = false;
    this.#bar.max = seconds.toFixed(1);
    setText(this.#all, elapsed(seconds * 1000));
    this.#follow();
  }

  #follow(): void {
    if (this.#held) return;
    this.#bar.value = this.video.currentTime.toFixed(1);
    this.#say(this.video.currentTime);
  }

  #say(seconds: number): void {
    const [now, all] = [elapsed(seconds * 1000), this.#all.textContent ?? ""];
    setText(this.#now, now);
    this.#bar.setAttribute("aria-valuetext", t("seekPlace", { now, all }));
    this.#bar.dataset["played"] = String(Math.round(seconds * 1000));
  }

  /** Later is to the right in both languages, as the bar runs. */
  #onKey(event: KeyboardEvent): void {
    const step = event.key === "ArrowRight" ? KEY_STEP_S : event.key === "ArrowLeft" ? -KEY_STEP_S : 0;
    const isElsewhere = (event.target as HTMLElement).closest("input, textarea, select, [contenteditable], .chat-scroll") !== null;
    if (step === 0 || isElsewhere || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const end = Number.isFinite(this.video.duration) ? this.video.duration : Number(this.#bar.max);
    this.video.currentTime = Math.min(Math.max(0, this.video.currentTime + step), end);
    event.preventDefault();
  }
}
