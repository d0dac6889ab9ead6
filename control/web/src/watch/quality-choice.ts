// How good a picture the viewer wants. In: what engines offer, what the viewer takes of it. Out: which of what is offered now comes to
// the same, so that a choice outlives the engine it was made for. Driven by player.ts and replay.ts.
import type { Quality } from "./engine.js";

export class QualityChoice {
  #offered: Quality[] = [];
  #wish: Quality | null = null;
  /** An engine is asked once, when it first offers something; what becomes of it then is between the two. */
  #asked = true;

  /** Null: it is left to the server or the engine. */
  choose(level: number | null): void {
    this.#wish = this.#offered.find((quality) => quality.level === level) ?? null;
  }

  /** Another engine, or the same one from the beginning. */
  renew(): void {
    this.#asked = false;
  }

  /** The level that a new engine is to be asked for; null: none. */
  toAsk(offered: Quality[]): number | null {
    this.#offered = offered;
    if (this.#asked || offered.length === 0) return null;
    this.#asked = true;
    const wish = this.#wish;
    if (!wish) return null;
    const far = ({ bitrate }: Quality): number => Math.abs(bitrate - wish.bitrate);
    const [nearest] = offered.filter(({ lines }) => lines === wish.lines).sort((a, b) => far(a) - far(b));
    return nearest?.level ?? null;
  }
}
