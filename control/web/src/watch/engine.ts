// What plays a playlist: hls.js where the browser lets a script feed the decoder, else the browser's own HLS (older iPhones).

export type EngineEvent =
  /** The playlist is there and names what to play. */
  | { kind: "found"; qualities: Quality[] }
  /** The live edge moved: the broadcaster is sending. */
  | { kind: "advanced" }
  /** The playlist says that nothing more will come. */
  | { kind: "complete" }
  /** No playlist, with the HTTP status (0: no answer at all). The engine has stopped and must be loaded again. */
  | { kind: "missing"; status: number }
  /** A playlist without a whole segment yet: a show in its first seconds. The engine has stopped and must be loaded again. */
  | { kind: "budding" }
  /** The engine has given up on this load for a reason of its own and must be loaded again. */
  | { kind: "failed"; detail: string };

export interface Quality {
  level: number;
  /** Shorter side in pixels, as people name it: 720 for 1280×720 and for 720×1280. */
  lines: number;
  bitrate: number;
}

export interface Engine {
  load(url: string): void;
  stop(): void;
  /** Age of the picture on screen by the broadcaster's clock, or null while unknown. */
  delayMs(): number | null;
  /** Where playback should be to be live, or null while unknown. */
  livePosition(): number | null;
  chooseQuality(level: number | null): void;
}

export type EngineListener = (event: EngineEvent) => void;

export async function makeEngine(video: HTMLVideoElement, on: EngineListener): Promise<Engine | null> {
  const { HlsEngine } = await import("./hls-engine.js");
  if (HlsEngine.supported()) return new HlsEngine(video, on);
  if (!video.canPlayType("application/vnd.apple.mpegurl")) return null;
  const { NativeEngine } = await import("./native-engine.js");
  return new NativeEngine(video, on);
}
