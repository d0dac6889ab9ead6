// What is to be seen at a place of the seek bar, before the picture goes there. In: the index of the replay's pictures (WebVTT, one
// picture for each cue); where a mouse, a finger or the keyboard is. Out: a small picture above the bar with its time beneath.
import { must, setText } from "../dom.js";
import { elapsed } from "../i18n/index.js";

interface Cue {
  from: number;
  until: number;
  src: string;
}

/** Half of the knob: the bar's ends are this far from those of its box. */
const KNOB_HALF_PX = 8;
/** How long what a key has chosen stays to be seen. */
const KEY_STAYS_MS = 1500;

export class Preview {
  readonly #box = must<HTMLElement>("#seek-preview");
  readonly #image = must<HTMLImageElement>("#seek-preview-image");
  readonly #time = must<HTMLElement>("#seek-preview-time");
  #cues: Cue[] = [];
  #hiding = 0;

  constructor(private readonly bar: HTMLInputElement) {
    bar.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.#show(this.#secondsAt(event.clientX)));
    bar.addEventListener("input", () => this.#show(Number(bar.value)));
    bar.addEventListener("change", () => this.#hideIn(KEY_STAYS_MS));
    for (const name of ["pointerleave", "pointercancel", "blur"]) bar.addEventListener(name, () => this.#hideIn(0));
    this.#image.addEventListener("error", () => (this.#image.hidden = true));
  }

  /** Without an index there is the time alone. */
  async load(index: URL): Promise<void> {
    const answer = await fetch(index).catch(() => null);
    this.#cues = answer?.ok ? cuesOf(await answer.text(), index) : [];
    this.bar.dataset["pictures"] = String(this.#cues.length);
  }

  #show(seconds: number): void {
    window.clearTimeout(this.#hiding);
    const cue = this.#cues.find(({ from, until }) => seconds >= from && seconds < until) ?? (seconds > 0 ? this.#cues.at(-1) : undefined);
    this.#image.hidden = !cue;
    if (cue && this.#image.src !== cue.src) this.#image.src = cue.src;
    setText(this.#time, elapsed(seconds * 1000));
    this.#box.hidden = false;
    const { width } = this.bar.getBoundingClientRect();
    const half = this.#box.offsetWidth / 2;
    const wanted = KNOB_HALF_PX + this.#share(seconds) * (width - 2 * KNOB_HALF_PX);
    this.#box.style.left = `${Math.min(Math.max(wanted, half), Math.max(half, width - half))}px`;
  }

  #hideIn(ms: number): void {
    window.clearTimeout(this.#hiding);
    if (ms === 0) this.#box.hidden = true;
    else this.#hiding = window.setTimeout(() => (this.#box.hidden = true), ms);
  }

  #secondsAt(x: number): number {
    const { left, width } = this.bar.getBoundingClientRect();
    const share = (x - left - KNOB_HALF_PX) / Math.max(1, width - 2 * KNOB_HALF_PX);
    return Math.min(1, Math.max(0, share)) * Number(this.bar.max);
  }

  #share(seconds: number): number {
    const max = Number(this.bar.max);
    return max > 0 ? Math.min(1, Math.max(0, seconds / max)) : 0;
  }
}

/** Addresses are relative to the index. */
export function cuesOf(text: string, index: URL): Cue[] {
  return text.split(/\r?\n\r?\n/).flatMap((block) => {
    const lines = block.split(/\r?\n/);
    const at = lines.findIndex((line) => line.includes(" --> "));
    const [from, until] = (lines[at] ?? "").split(" --> ").map(secondsOf);
    const src = lines[at + 1];
    return at >= 0 && src && from !== undefined && until !== undefined ? [{ from, until, src: new URL(src, index).href }] : [];
  });
}

/** `01:02:03.456` */
function secondsOf(clock: string): number {
  return clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}
