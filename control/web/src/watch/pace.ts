// Holds the delay of a live picture as low as the network allows. In: what is buffered, how late the picture is, stalls. Out: the
// element's playback rate, and one jump where a picture begins anyway. Driven by hls-engine.ts while a playlist is loaded.
//
// With parts, PART-HOLD-BACK says where to begin (RFC 8216bis 4.4.3.8); from there on the buffer decides. What never was needed in
// the last seconds is spare, and is played away slightly faster; each stall widens the margin that is kept, calm narrows it again.

/** What stays buffered at the worst moment. A part is 0.2 s: less than two of them is one late packet away from a stall. */
const MARGIN_MIN_S = 0.4;
/** Beyond this, low delay is lost anyway and hls.js' own distances take over. */
const MARGIN_MAX_S = 2;
const MARGIN_PER_STALL_S = 0.25;
/** Stalls this soon after the beginning come from playlists that have just begun too, not from the network. */
const SETTLING_MS = 4000;
/** A pause longer than this was the broadcaster's: no margin would have bridged it. */
const STALL_MAX_MS = 2500;
const CALM_MS = 10_000;
const MARGIN_PER_CALM_S = 0.05;
/** The worst moment is looked for in so much past: longer than a segment, so that its larger keyframe is in it. */
const WINDOW_MS = 3000;
/** Chasing begins above the first and ends below the second; one threshold alone would make the rate tremble. */
const CHASE_FROM_S = 0.08;
const CHASE_TO_S = 0.02;
/** Nobody hears a tenth: the pitch is kept. */
const GENTLE_MAX = 1.1;
const FAST_MAX = 1.5;
/** From so much spare on the faster pace is used. */
const FAR_S = 1.5;
/** Where a picture begins, more than this is jumped over instead of played away. */
const JUMP_FROM_S = 0.4;
const JUMP_WITHIN_MS = 1500;
/** Just after a part has come, the buffer holds this much more than at its worst moment. */
const ONE_PART_S = 0.2;
const EVERY_MS = 100;

export interface Lateness {
  /** Whether the playlist offers parts. */
  parts: boolean;
  /** Seconds behind the live edge. */
  latency: number;
  /** Seconds behind the edge that the playlist asks for; null until it is known. */
  target: number | null;
}

/** The playback rate that plays away `spare` seconds in about two seconds, as far as ears allow. Pure. */
export function paceFor(spare: number): number {
  return 1 + Math.min(spare / 2, (spare > FAR_S ? FAST_MAX : GENTLE_MAX) - 1);
}

export class PaceKeeper {
  readonly #timer: number;
  readonly #listeners = new AbortController();
  #ahead: { at: number; seconds: number }[] = [];
  #margin = MARGIN_MIN_S;
  #calmSince = performance.now();
  #chasing = false;
  #mayJumpUntil = 0;
  #beganAt: number | null = null;
  #stalledAt: number | null = null;
  #stalls = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly lateness: () => Lateness,
  ) {
    const { signal } = this.#listeners;
    video.addEventListener("playing", () => this.#onPlaying(), { signal });
    video.addEventListener("waiting", () => this.#onWaiting(), { signal });
    this.#timer = window.setInterval(() => this.#tick(), EVERY_MS);
  }

  stop(): void {
    window.clearInterval(this.#timer);
    this.#listeners.abort();
    this.video.playbackRate = 1;
  }

  #onPlaying(): void {
    const now = performance.now();
    this.#ahead = [];
    this.#beganAt ??= now;
    if (this.#stalledAt !== null && now - this.#stalledAt < STALL_MAX_MS) this.#widen(now);
    this.#stalledAt = null;
    this.#mayJumpUntil = now + JUMP_WITHIN_MS;
  }

  #onWaiting(): void {
    // An empty buffer after a seek, or before anything was played, says nothing about the network.
    if (this.video.seeking || this.#ahead.length === 0) return;
    this.#ahead = [];
    const now = performance.now();
    if (this.#beganAt !== null && now - this.#beganAt > SETTLING_MS) this.#stalledAt = now;
  }

  #widen(now: number): void {
    this.#margin = Math.min(MARGIN_MAX_S, this.#margin + MARGIN_PER_STALL_S);
    this.#calmSince = now;
    document.documentElement.dataset["stalls"] = String(++this.#stalls);
  }

  #tick(): void {
    const { video } = this;
    if (video.paused || video.seeking || video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA) return;
    const now = performance.now();
    if (now - this.#calmSince > CALM_MS) {
      this.#calmSince = now;
      this.#margin = Math.max(MARGIN_MIN_S, this.#margin - MARGIN_PER_CALM_S);
    }
    const lateness = this.lateness();
    if (lateness.parts && now < this.#mayJumpUntil && this.#jump()) return;
    const spare = this.#spare(now, lateness);
    this.#chasing = spare > (this.#chasing ? CHASE_TO_S : CHASE_FROM_S);
    const rate = this.#chasing ? paceFor(spare) : 1;
    if (Math.abs(video.playbackRate - rate) > 0.005) video.playbackRate = rate;
  }

  /** What has piled up while the decoder was made ready is jumped over: the picture begins at this moment, nobody sees it. */
  #jump(): boolean {
    const tooMuch = bufferedAhead(this.video) - this.#margin - ONE_PART_S;
    if (tooMuch < JUMP_FROM_S) return false;
    this.#mayJumpUntil = 0;
    this.#ahead = [];
    this.video.currentTime += tooMuch;
    return true;
  }

  /** Seconds that could be given up without needing them; negative when there are too few. */
  #spare(now: number, { parts, latency, target }: Lateness): number {
    const ahead = bufferedAhead(this.video);
    this.#ahead.push({ at: now, seconds: ahead });
    this.#ahead = this.#ahead.filter(({ at }) => now - at < WINDOW_MS);
    const unneeded = Math.min(...this.#ahead.map(({ seconds }) => seconds)) - this.#margin;
    // Without parts a segment arrives at once and seldom: there the buffer is no measure, the playlist's distance is.
    if (!parts) return target === null || latency <= 0 ? 0 : Math.min(latency - target, ahead - 1);
    return unneeded;
  }
}

export function bufferedAhead(video: HTMLVideoElement): number {
  const { buffered, currentTime } = video;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= currentTime + 0.1 && currentTime <= buffered.end(i)) return buffered.end(i) - currentTime;
  }
  return 0;
}
