// What plays a show: WebRTC; or HLS, by hls.js where the browser lets a script feed the decoder, else by the browser itself (older
// iPhones).
import type { Transport, Unfit } from "./transport.js";
import { WhepEngine } from "./whep-engine.js";

export type EngineEvent =
  /** The show is there and says what there is to play. */
  | { kind: "found"; qualities: Quality[] }
  /** What there is to play has changed, or which of it the viewer chose; null: none, it is chosen for them. */
  | { kind: "qualities"; qualities: Quality[]; chosen: number | null }
  /** The live edge moved: the broadcaster is sending. */
  | { kind: "advanced" }
  /** The playlist says that nothing more will come. */
  | { kind: "complete" }
  /** No show, with the HTTP status (0: no answer at all) and when to ask again. The engine has stopped and must be loaded again. */
  | { kind: "missing"; status: number; retryAfterMs?: number }
  /** A playlist without a whole segment yet: a show in its first seconds. The engine has stopped and must be loaded again. */
  | { kind: "budding" }
  /** The engine has given up on this load for a reason of its own and must be loaded again. */
  | { kind: "failed"; detail: string }
  /** This transport will not do here. The engine has stopped; another has to be made. */
  | { kind: "unfit"; reason: Unfit };

export interface Quality {
  level: number;
  /** Shorter side in pixels, as people name it: 720 for 1280×720 and for 720×1280. */
  lines: number;
  bitrate: number;
}

/** What a playlist offers, as hls.js lists it. */
export function qualitiesOf(levels: readonly { width: number; height: number; bitrate: number }[]): Quality[] {
  return levels.map(({ width, height, bitrate }, level) => ({ level, lines: Math.min(width, height), bitrate }));
}

export interface Engine {
  /** The ticket goes along where an engine can send it without making a public address private. */
  load(url: string, ticket: string | null): void;
  stop(): void;
  /** Age of the picture on screen by the broadcaster's clock, or null while unknown. */
  delayMs(): number | null;
  /** Where playback should be to be live, or null while unknown. */
  livePosition(): number | null;
  chooseQuality(level: number | null): void;
}

export type EngineListener = (event: EngineEvent) => void;

/** What the page's main picture has that those of co-hosts have not. */
export interface Main {
  /** The viewer watches the past of a live show and does not want to catch up. */
  isBack: () => boolean;
}

/** Without `main` there is no menu to fill. */
export async function makeEngine(transport: Transport, video: HTMLVideoElement, on: EngineListener, main?: Main): Promise<Engine | null> {
  if (transport === "whep") return WhepEngine.supported() ? new WhepEngine(video, on, main !== undefined) : null;
  const { HlsEngine } = await import("./hls-engine.js");
  if (HlsEngine.supported()) return new HlsEngine(video, on, main?.isBack ?? ((): boolean => false));
  if (!video.canPlayType("application/vnd.apple.mpegurl")) return null;
  const { NativeEngine } = await import("./native-engine.js");
  return new NativeEngine(video, on);
}

/** Fetches the larger engine while the page still asks where to play from. */
export function prepareEngine(transport: Transport): void {
  if (transport === "hls") void import("./hls-engine.js");
}
