// What a host chose last time. In and out: localStorage. Nothing here is needed: what is missing or strange falls back to a default.

/** Lines of the picture; 16:9, or 9:16 on a phone held upright. */
export const LINES = [480, 720, 1080] as const;
export type Lines = (typeof LINES)[number];
/** Bits a second for the whole picture, for those who know better than "automatic". */
export const BITRATES = [800_000, 1_500_000, 2_500_000, 4_000_000, 6_000_000] as const;

export interface Settings {
  cameraId: string | null;
  microphoneId: string | null;
  lines: Lines;
  /** Null: what suits the number of lines. */
  bitrate: number | null;
}

const KEY = "chobi.studio.settings";

export function readSettings(): Settings {
  let kept: Partial<Settings> = {};
  try {
    kept = (JSON.parse(localStorage.getItem(KEY) ?? "{}") ?? {}) as Partial<Settings>;
  } catch {
    // Storage may be off, or hold what we did not write.
  }
  return {
    cameraId: typeof kept.cameraId === "string" ? kept.cameraId : null,
    microphoneId: typeof kept.microphoneId === "string" ? kept.microphoneId : null,
    lines: LINES.find((lines) => lines === kept.lines) ?? 720,
    bitrate: BITRATES.find((bitrate) => bitrate === kept.bitrate) ?? null,
  };
}

export function rememberSettings(settings: Settings): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Only a convenience.
  }
}
