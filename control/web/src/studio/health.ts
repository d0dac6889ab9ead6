// From figures to one calm state. In: one `Sending` every two seconds. Out: a state that changes only when several in a row agree. Pure.
import type { Sending } from "./sending.js";

export type Health = "good" | "network" | "computer";

/** So many samples must say the same before the host is told: a hiccup is nobody's business. */
const AGREE = 3;
/** A connection takes some seconds to find out how much it may send. */
const WARM_UP = 5;
const LOST_MAX = 0.05;
const ROUND_TRIP_MAX_MS = 400;
/** Of the bits asked for. Below it "bandwidth" is more than the usual caution of a sender. */
const ENOUGH = 0.6;
const FRAMES_MIN = 15;

export class HealthWatch {
  #state: Health = "good";
  #candidate: Health = "good";
  #agreed = 0;
  #seen = 0;

  /** `wantedBits` is what the host asked for; `isStill` says that the picture is one that hardly changes. */
  observe(sending: Sending, wantedBits: number, isStill: boolean): Health {
    this.#seen += 1;
    const now = judge(sending, wantedBits, isStill);
    if (now !== this.#candidate) this.#agreed = 0;
    this.#candidate = now;
    this.#agreed += 1;
    if (this.#seen > WARM_UP && this.#agreed >= AGREE) this.#state = now;
    return this.#state;
  }

  /** A new connection learns anew. */
  reset(): void {
    this.#state = this.#candidate = "good";
    this.#agreed = this.#seen = 0;
  }
}

function judge({ lost, roundTripMs, limit, bitsPerSecond, framesPerSecond }: Sending, wantedBits: number, isStill: boolean): Health {
  if ((lost ?? 0) > LOST_MAX || (roundTripMs ?? 0) > ROUND_TRIP_MAX_MS) return "network";
  if (limit === "bandwidth" && bitsPerSecond < wantedBits * ENOUGH) return "network";
  if (limit === "cpu" || (!isStill && framesPerSecond !== null && framesPerSecond < FRAMES_MIN)) return "computer";
  return "good";
}
