// Holds the delay of a live picture near its target by playing slightly faster. In: what is buffered and how late the picture is.
// Out: the element's playback rate. The ear does not hear up to a tenth (pitch is kept); a viewer far behind is brought back quicker.

/** What must stay buffered ahead; speeding up with less would trade delay for stalls. */
const AHEAD_MIN_S = 0.3;
/** Below this excess the picture is on target: correcting it would only make the rate tremble. */
const TOLERANCE_S = 0.08;
const GENTLE_MAX = 1.1;
const FAST_MAX = 1.5;
/** From this excess on the faster pace is used. */
const FAR_S = 1.5;
/** Further behind than this the viewer has paused or gone back on purpose. */
const CHASE_MAX_S = 15;
const EVERY_MS = 100;

export interface Lateness {
  /** Seconds behind the live edge. */
  latency: number;
  /** Seconds behind the edge the playlist asks players to stay; null until it is known. */
  target: number | null;
}

/** The playback rate for a picture `excess` seconds later than its target with `ahead` seconds buffered. Pure. */
export function paceFor(excess: number, ahead: number): number {
  if (excess <= TOLERANCE_S || excess > CHASE_MAX_S || ahead <= AHEAD_MIN_S) return 1;
  const max = excess > FAR_S ? FAST_MAX : GENTLE_MAX;
  // No faster than what empties the spare buffer, or the excess, within about a second.
  return Math.min(max, 1 + Math.min(excess, ahead - AHEAD_MIN_S) / 2);
}

export class PaceKeeper {
  readonly #timer: number;

  constructor(video: HTMLVideoElement, lateness: () => Lateness) {
    this.#timer = window.setInterval(() => {
      if (video.paused || video.seeking) return;
      const { latency, target } = lateness();
      const rate = target === null || latency <= 0 ? 1 : paceFor(latency - target, bufferedAhead(video));
      if (Math.abs(video.playbackRate - rate) > 0.01) video.playbackRate = rate;
    }, EVERY_MS);
  }

  stop(): void {
    window.clearInterval(this.#timer);
  }
}

export function bufferedAhead(video: HTMLVideoElement): number {
  const { buffered, currentTime } = video;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= currentTime + 0.1 && currentTime <= buffered.end(i)) return buffered.end(i) - currentTime;
  }
  return 0;
}
