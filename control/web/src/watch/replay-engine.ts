// What plays a recording: hls.js, or the browser itself where a script may not feed the decoder. In: the address of a finished
// playlist. Out: ReplayEvents, and the moment of the show that is on screen.
import Hls, { ErrorDetails, ErrorTypes, Events, type HlsConfig } from "hls.js";
import { takenAt, type DatedVideo } from "./dated-video.js";
import { qualitiesOf, type Quality } from "./engine.js";

export type ReplayEvent =
  | { kind: "found"; qualities: Quality[] }
  /** With the HTTP status (0: no answer at all). The engine has stopped and may be loaded again. */
  | { kind: "missing"; status: number }
  | { kind: "failed"; detail: string }
  | { kind: "unfit" };

export interface ReplayEngine {
  load(url: string, fromSeconds: number): void;
  stop(): void;
  /** When the picture on screen was taken, in milliseconds since 1970; null while unknown. */
  playingAt(): number | null;
  chooseQuality(level: number | null): void;
}

type Listener = (event: ReplayEvent) => void;

export async function makeReplayEngine(video: HTMLVideoElement, on: Listener): Promise<ReplayEngine | null> {
  if (Hls.isSupported()) return new HlsReplay(video, on);
  return video.canPlayType("application/vnd.apple.mpegurl") ? new NativeReplay(video, on) : null;
}

/** A seek back within a minute needs no second download; more would cost a phone's memory. */
const CONFIG: Partial<HlsConfig> = { workerPath: HLS_WORKER_URL, lowLatencyMode: false, backBufferLength: 60, maxBufferLength: 30, maxMaxBufferLength: 60 };
const RECOVERIES_MAX = 3;

class HlsReplay implements ReplayEngine {
  #hls: Hls | null = null;
  #recoveries = 0;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly on: Listener,
  ) {}

  load(url: string, fromSeconds: number): void {
    this.stop();
    const hls = new Hls({ ...CONFIG, startPosition: fromSeconds });
    this.#hls = hls;
    hls.on(Events.MANIFEST_PARSED, (_, data) => {
      this.on({ kind: "found", qualities: qualitiesOf(data.levels) });
    });
    hls.on(Events.ERROR, (_, data) => {
      if (!data.fatal || hls !== this.#hls) return;
      const isUnfit = data.details === ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR;
      if (data.type === ErrorTypes.MEDIA_ERROR && this.#recoveries++ < RECOVERIES_MAX && !isUnfit) return hls.recoverMediaError();
      this.stop();
      if (isUnfit) this.on({ kind: "unfit" });
      else if (data.type === ErrorTypes.NETWORK_ERROR) this.on({ kind: "missing", status: data.response?.code ?? 0 });
      else this.on({ kind: "failed", detail: data.details });
    });
    hls.attachMedia(this.video);
    hls.loadSource(url);
  }

  stop(): void {
    this.#hls?.destroy();
    this.#hls = null;
  }

  playingAt(): number | null {
    return this.#hls?.playingDate?.getTime() ?? null;
  }

  chooseQuality(level: number | null): void {
    if (this.#hls) this.#hls.nextLevel = level ?? -1;
  }
}

class NativeReplay implements ReplayEngine {
  #listeners = new AbortController();

  constructor(
    private readonly video: DatedVideo,
    private readonly on: Listener,
  ) {}

  load(url: string, fromSeconds: number): void {
    this.stop();
    this.#listeners = new AbortController();
    const { video } = this;
    const { signal } = this.#listeners;
    video.addEventListener("loadedmetadata", () => {
      if (fromSeconds > 0) video.currentTime = fromSeconds;
      this.on({ kind: "found", qualities: [] });
    }, { signal });
    video.addEventListener("error", () => this.on({ kind: "failed", detail: `media error ${video.error?.code ?? "unknown"}` }), { signal });
    video.src = url;
  }

  stop(): void {
    this.#listeners.abort();
    this.video.removeAttribute("src");
    this.video.load();
  }

  playingAt(): number | null {
    return takenAt(this.video);
  }

  chooseQuality(): void {
    // The browser chooses by itself.
  }
}
