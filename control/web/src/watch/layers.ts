// The layers of a picture by WebRTC, and the viewer's choice among them. In: the address that the answer to the offer named. Out: what
// there is to choose from, whenever that changes. Driven by whep-engine.ts. draft-ietf-wish-whep, Video Layer Selection.
import { bearer } from "../rtc/exchange.js";
import type { Quality } from "./engine.js";

interface Picture {
  /** The best first. */
  layers: { rid: string; width: number; height: number; bitrate: number }[];
  /** Without a name the server chooses. */
  chosen: { rid?: string };
}

/** `chosen`: the level that was asked for, while it is there; null: the server chooses. */
export type Told = (qualities: Quality[], chosen: number | null) => void;

/** A layer that comes or goes is told of by nobody. Most such changes change the picture's size, and then it is asked at once. */
const LOOK_EVERY_MS = 10_000;
const ANSWER_MAX_MS = 5000;

export class Layers {
  #url: string | null = null;
  #token: string | null = null;
  /** A layer's level is its place here, whatever comes and goes. */
  readonly #names: string[] = [];
  /** Outlives a connection: the next one is asked for the same. */
  #wish: string | null = null;
  #told = "";
  #timer = 0;

  constructor(private readonly tell: Told) {}

  open(url: string | null, token: string | null): void {
    this.close();
    this.#url = url;
    this.#token = token;
    if (url) this.#timer = window.setInterval(() => void this.look(), LOOK_EVERY_MS);
  }

  close(): void {
    window.clearInterval(this.#timer);
    this.#url = null;
    this.#told = "";
  }

  choose(level: number | null): void {
    this.#wish = level === null ? null : (this.#names[level] ?? null);
    // The menu shows what was asked for; it is to hear what became of it in any case.
    this.#told = "";
    void this.look();
  }

  /** What there is now. A choice that the server does not know of is told to it. */
  async look(): Promise<void> {
    const picture = await this.#ask();
    if (!picture) return;
    const wish = this.#wish;
    const isThere = wish === null || picture.layers.some(({ rid }) => rid === wish);
    const differs = (picture.chosen.rid ?? null) !== wish;
    const answered = isThere && differs ? await this.#ask({ rid: wish }) : picture;
    if (answered && wish === this.#wish) this.#show(answered);
  }

  #show({ layers, chosen }: Picture): void {
    const qualities = layers.filter(({ bitrate }) => bitrate > 0).map(({ rid, width, height, bitrate }) => ({ level: this.#level(rid), lines: Math.min(width, height), bitrate }));
    const level = chosen.rid === undefined ? null : this.#level(chosen.rid);
    const present = qualities.some((quality) => quality.level === level) ? level : null;
    const told = [present, ...qualities.map((quality) => `${quality.level}:${quality.lines}`)].join(" ");
    if (told === this.#told) return;
    this.#told = told;
    this.tell(qualities, present);
  }

  #level(rid: string): number {
    const known = this.#names.indexOf(rid);
    return known >= 0 ? known : this.#names.push(rid) - 1;
  }

  /** Null where no answer came, or one to a question that is no longer asked. */
  async #ask(choice?: { rid: string | null }): Promise<Picture | null> {
    const url = this.#url;
    if (!url) return null;
    const headers = { accept: "application/json", ...bearer(this.#token), ...(choice && { "content-type": "application/json" }) };
    const body = choice && JSON.stringify(choice);
    const abort = new AbortController();
    const timer = window.setTimeout(() => abort.abort(), ANSWER_MAX_MS);
    try {
      const response = await fetch(url, { method: choice ? "POST" : "GET", headers, signal: abort.signal, ...(body && { body }) });
      // By media section; this viewer has one picture.
      const pictures = response.ok ? Object.values((await response.json()) as Record<string, Picture>) : [];
      return url === this.#url ? (pictures[0] ?? null) : null;
    } catch {
      return null;
    } finally {
      window.clearTimeout(timer);
    }
  }
}
