// HLS played by hls.js in low-latency mode. In: a playlist address. Out: EngineEvents. RFC 8216bis, sections 4.4.3 and 6.
import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData, type HlsConfig, type LoadPolicy } from "hls.js";
import { qualitiesOf, type Engine, type EngineListener } from "./engine.js";
import { PaceKeeper } from "./pace.js";
import { playbackId } from "./playback-id.js";

/** Decoder trouble is recovered in place this often per window; after that the whole load starts anew. */
const RECOVERIES_MAX = 3;
const RECOVERY_WINDOW_MS = 30_000;

const retrying = (attempts: number): LoadPolicy => ({
  default: {
    maxTimeToFirstByteMs: 10_000,
    maxLoadTimeMs: 20_000,
    timeoutRetry: { maxNumRetry: 2, retryDelayMs: 0, maxRetryDelayMs: 0 },
    errorRetry: { maxNumRetry: attempts, retryDelayMs: 300, maxRetryDelayMs: 3000 },
  },
});

const CONFIG: Partial<HlsConfig> = {
  lowLatencyMode: true,
  workerPath: HLS_WORKER_URL,
  // PaceKeeper holds the delay instead: hls.js speeds up only with more than a second buffered, more than a low delay leaves.
  maxLiveSyncPlaybackRate: 1,
  // After a stall, how much further from the edge to stay. The default of one second would never be won back.
  liveSyncOnStallIncrease: 0.2,
  // Half a minute behind is enough for a short rewind and keeps a phone's memory flat.
  backBufferLength: 30,
  maxBufferLength: 20,
  startFragPrefetch: true,
  // Whether a show exists is asked again by watch.ts, which also knows what to tell the viewer meanwhile.
  manifestLoadPolicy: retrying(0),
  playlistLoadPolicy: retrying(4),
  fragLoadPolicy: retrying(6),
};

export class HlsEngine implements Engine {
  #hls: Hls | null = null;
  #pace: PaceKeeper | null = null;
  #recoveries: number[] = [];

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly on: EngineListener,
    private readonly isBack: () => boolean,
  ) {}

  static supported(): boolean {
    return Hls.isSupported();
  }

  load(url: string): void {
    this.stop();
    const crossOrigin = new URL(url, location.href).origin !== location.origin;
    const hls = new Hls({ ...CONFIG, ...(crossOrigin ? { xhrSetup: nameViewer } : {}) });
    this.#hls = hls;
    hls.on(Events.MANIFEST_PARSED, (_, data) => {
      this.on({ kind: "found", qualities: qualitiesOf(data.levels) });
    });
    hls.on(Events.LEVEL_UPDATED, (_, { details }) => {
      if (!details.live) this.on({ kind: "complete" });
      else if (details.advanced) this.on({ kind: "advanced" });
    });
    hls.on(Events.ERROR, (_, data) => this.#onError(hls, data));
    this.#pace = new PaceKeeper(this.video, () => ({
      parts: !this.isBack() && (hls.latestLevelDetails?.partTarget ?? 0) > 0,
      latency: hls.latency,
      target: this.isBack() ? null : hls.targetLatency,
    }));
    hls.attachMedia(this.video);
    hls.loadSource(url);
  }

  stop(): void {
    this.#pace?.stop();
    this.#pace = null;
    this.#hls?.destroy();
    this.#hls = null;
  }

  delayMs(): number | null {
    const shown = this.#hls?.playingDate;
    return shown ? Date.now() - shown.getTime() : null;
  }

  livePosition(): number | null {
    return this.#hls?.liveSyncPosition ?? null;
  }

  chooseQuality(level: number | null): void {
    if (this.#hls) this.#hls.nextLevel = level ?? -1;
  }

  #onError(hls: Hls, data: ErrorData): void {
    if (hls !== this.#hls) return;
    if (data.details === ErrorDetails.LEVEL_EMPTY_ERROR) {
      this.stop();
      return this.on({ kind: "budding" });
    }
    if (!data.fatal) return;
    // hls.js calls this a media error, but there is nothing to recover: it has no level left to load.
    if (data.details === ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) {
      this.stop();
      return this.on({ kind: "unfit", reason: "codec" });
    }
    if (data.type === ErrorTypes.MEDIA_ERROR && this.#mayRecover()) return hls.recoverMediaError();
    const status = data.response?.code;
    this.stop();
    if (data.type === ErrorTypes.NETWORK_ERROR) this.on({ kind: "missing", status: status ?? 0 });
    else this.on({ kind: "failed", detail: data.details });
  }

  #mayRecover(): boolean {
    const now = performance.now();
    this.#recoveries = this.#recoveries.filter((at) => now - at < RECOVERY_WINDOW_MS);
    return this.#recoveries.push(now) <= RECOVERIES_MAX;
  }
}

/** Where the viewer's cookie does not reach, on another host, this header says that the requests are one viewer's. */
function nameViewer(request: XMLHttpRequest, url: string): void {
  if (request.readyState === XMLHttpRequest.UNSENT) request.open("GET", url, true);
  request.setRequestHeader("X-Playback-Session-Id", playbackId());
}
