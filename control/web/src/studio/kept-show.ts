// The show this tab broadcasts. The server shows a stream key once: the tab keeps it, so that a reload goes on broadcasting. It is gone
// with the tab; another key is then made.
import type { StreamingSession } from "../api/app-router.js";
import { api } from "../api/client.js";

export interface KeptShow {
  sessionId: string;
  hostId: string;
  rtmpUrl: string;
  /** Null: this tab has never seen it. */
  streamKey: string | null;
  /** Whose picture is sent: this browser's, or that of a program elsewhere. */
  by: "browser" | "encoder";
}

const KEY = "chobi.studio.show";

export function keptShow(): KeptShow | null {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Partial<KeptShow> | null;
    return typeof kept?.sessionId === "string" && typeof kept.hostId === "string" ? (kept as KeptShow) : null;
  } catch {
    return null;
  }
}

export function keep(show: KeptShow): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(show));
  } catch {
    // Without storage the show lasts as long as the page.
  }
}

export function forget(): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // Nothing was kept then.
  }
}

export function created(session: StreamingSession, by: KeptShow["by"]): KeptShow {
  return { sessionId: session.id, hostId: session.hostId, rtmpUrl: session.rtmpUrl, streamKey: session.streamKey, by };
}

/** The show with a key this tab knows. The one before no longer lets anybody in. */
export async function withNewKey(show: KeptShow): Promise<KeptShow> {
  const { streamKey, rtmpUrl } = await api.streaming.rotateStreamKey.mutate({ sessionId: show.sessionId });
  return { ...show, streamKey, rtmpUrl };
}
