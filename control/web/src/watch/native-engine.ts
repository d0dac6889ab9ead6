// HLS played by the browser itself. In: a playlist address. Out: EngineEvents, read off the media element.
import { takenAt, type DatedVideo } from "./dated-video.js";
import type { Engine, EngineListener } from "./engine.js";

export class NativeEngine implements Engine {
  #listeners = new AbortController();

  constructor(
    private readonly video: DatedVideo,
    private readonly on: EngineListener,
  ) {}

  load(url: string): void {
    this.stop();
    this.#listeners = new AbortController();
    void this.#start(url, this.#listeners.signal);
  }

  stop(): void {
    this.#listeners.abort();
    this.video.removeAttribute("src");
    this.video.load();
  }

  delayMs(): number | null {
    const taken = takenAt(this.video);
    return taken === null ? null : Date.now() - taken;
  }

  livePosition(): number | null {
    const { seekable } = this.video;
    return seekable.length ? seekable.end(seekable.length - 1) : null;
  }

  chooseQuality(): void {
    // The browser chooses by itself.
  }

  /** The element reports no HTTP status, so the playlist is asked for once before it is handed over. */
  async #start(url: string, signal: AbortSignal): Promise<void> {
    try {
      const response = await fetch(url, { credentials: "same-origin", signal });
      if (!response.ok) return this.on({ kind: "missing", status: response.status });
    } catch {
      if (!signal.aborted) this.on({ kind: "missing", status: 0 });
      return;
    }
    if (signal.aborted) return;
    const { video } = this;
    video.addEventListener("loadedmetadata", () => this.on({ kind: "found", qualities: [] }), { signal });
    video.addEventListener("progress", () => this.on({ kind: "advanced" }), { signal });
    video.addEventListener("ended", () => this.on({ kind: "complete" }), { signal });
    video.addEventListener("error", () => this.on({ kind: "failed", detail: `media error ${video.error?.code ?? "unknown"}` }), { signal });
    video.src = url;
  }
}
