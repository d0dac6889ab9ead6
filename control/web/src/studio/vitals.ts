// How the broadcast fares, as one calm line with advice. In: the connection's statistics every two seconds, the broadcast's state.
// Out: words, and `data-health` on the document.
import { h, must, setText } from "../dom.js";
import { bitrate, number, percent, shortTime, t, type TextKey } from "../i18n/index.js";
import type { Broadcast } from "./broadcast.js";
import { fullBitrate, type Quality } from "./encodings.js";
import { HealthWatch, type Health } from "./health.js";
import { measure, type Sending } from "./sending.js";

const SAMPLE_MS = 2000;

const WORDS: Record<Health | "reconnecting", { title: TextKey; advice: TextKey | null }> = {
  good: { title: "healthGood", advice: null },
  network: { title: "healthNetwork", advice: "adviceNetwork" },
  computer: { title: "healthComputer", advice: "adviceComputer" },
  reconnecting: { title: "healthReconnecting", advice: "adviceReconnecting" },
};

export class Vitals {
  readonly #watch = new HealthWatch();
  #before: Sending | null = null;
  #pc: RTCPeerConnection | null = null;

  constructor(
    private readonly broadcast: Broadcast,
    private readonly quality: () => Quality,
    /** A slate or a screen may well stand still. */
    private readonly isStill: () => boolean,
  ) {
    window.setInterval(() => void this.#sample(), SAMPLE_MS);
  }

  /** At once when the broadcast's state changes; the figures follow with the next sample. */
  show(): void {
    const { state } = this.broadcast;
    const line = must<HTMLElement>("#health");
    line.hidden = state !== "live" && state !== "reconnecting";
    if (state === "reconnecting") {
      this.#before = null;
      this.#watch.reset();
      this.#say("reconnecting", null);
    } else if (state === "live") this.#say("good", null);
    else delete document.documentElement.dataset["health"];
  }

  async #sample(): Promise<void> {
    const pc = this.broadcast.connection?.pc ?? null;
    if (this.broadcast.state !== "live" || !pc) return;
    if (pc !== this.#pc) {
      this.#pc = pc;
      this.#before = null;
      this.#watch.reset();
    }
    const now = await measure(pc, this.#before).catch(() => null);
    if (!now || this.broadcast.state !== "live" || pc !== this.broadcast.connection?.pc) return;
    const isFirst = this.#before === null;
    this.#before = now;
    // The first sample has no rate yet.
    if (!isFirst) this.#say(this.#watch.observe(now, fullBitrate(this.quality()), this.isStill()), now);
  }

  #say(health: Health | "reconnecting", sending: Sending | null): void {
    const words = WORDS[health];
    must<HTMLElement>("#health").dataset["state"] = health;
    document.documentElement.dataset["health"] = health;
    document.documentElement.dataset["layers"] = String(this.broadcast.connection?.layers ?? 0);
    document.documentElement.dataset["sentKbps"] = String(Math.round((sending?.bitsPerSecond ?? 0) / 1000));
    setText(must("#health-title"), t(words.title));
    setText(must("#health-advice"), words.advice ? t(words.advice) : "");
    must("#health-figures").replaceChildren(...figures(sending).flatMap((text, index) => [index > 0 ? " · " : "", h("bdi", {}, text)]));
  }
}

function figures(sending: Sending | null): string[] {
  if (!sending) return [];
  const { bitsPerSecond, framesPerSecond, lines, roundTripMs, lost } = sending;
  return [
    bitrate(bitsPerSecond),
    ...(lines ? [`${number(lines)}p`] : []),
    ...(framesPerSecond === null ? [] : [t("framesPerSecond", { n: number(framesPerSecond) })]),
    ...(roundTripMs === null ? [] : [t("roundTrip", { time: shortTime(roundTripMs) })]),
    ...(lost === null || lost < 0.005 ? [] : [t("lost", { part: percent(lost) })]),
  ];
}
