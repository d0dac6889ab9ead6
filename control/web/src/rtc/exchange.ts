// One offer for one answer over HTTP, as WHIP (RFC 9725 section 4.2) and WHEP (draft-ietf-wish-whep) both do it. In: an address, an
// offer, a bearer token. Out: the answer and the address of what was made, or why not. Used by watch/whep-engine.ts and studio/whip.ts.

export type Exchange =
  | {
      ok: true;
      sdp: string;
      resource: string | null;
      /** Where layers of the picture are listed and chosen from. */
      layers: string | null;
    }
  | {
      ok: false;
      /** HTTP status; 0 when no answer came. */
      status: number;
      retryAfterMs: number | null;
      /** What the server wrote about it, for the words it may contain. */
      problem: string;
    };

/** The server answers from memory: longer than this is a lost connection. */
const ANSWER_MAX_MS = 10_000;
/** The server is ICE-lite with a public address and needs no candidate of ours; those found at once save it a guess. */
const GATHERING_MAX_MS = 100;
const PROBLEM_MAX = 2000;
/** In a Link header (RFC 8288), as draft-ietf-wish-whep names it. */
const LAYERS = /<([^>]*)>\s*;\s*rel="urn:ietf:params:whep:ext:core:layer"/;

/** `name`: what a viewer's player calls itself. */
export async function exchange(url: string, offer: string, token: string | null, name?: string): Promise<Exchange> {
  const abort = new AbortController();
  const timer = window.setTimeout(() => abort.abort(), ANSWER_MAX_MS);
  try {
    const headers = { "content-type": "application/sdp", accept: "application/sdp, application/problem+json", ...bearer(token), ...(name === undefined ? {} : { "x-playback-session-id": name }) };
    const response = await fetch(url, { method: "POST", headers, body: offer, signal: abort.signal });
    const text = await response.text();
    if (response.status !== 201 && response.status !== 200) {
      return { ok: false, status: response.status, retryAfterMs: retryAfter(response), problem: text.slice(0, PROBLEM_MAX) };
    }
    const location = response.headers.get("location");
    const found = LAYERS.exec(response.headers.get("link") ?? "")?.[1];
    const address = (relative: string | null | undefined): string | null => (relative ? new URL(relative, response.url).href : null);
    return { ok: true, sdp: text, resource: address(location), layers: address(found) };
  } catch {
    return { ok: false, status: 0, retryAfterMs: null, problem: "" };
  } finally {
    window.clearTimeout(timer);
  }
}

/** Tells the server that we are done. `keepalive` lets the request outlive the page. If it is lost, ICE silence tells the same. */
export function release(resource: string | null, token: string | null): void {
  if (resource) void fetch(resource, { method: "DELETE", headers: bearer(token), keepalive: true }).catch(() => undefined);
}

/** All candidates, or those that came within a moment. */
export function gathered(pc: RTCPeerConnection): Promise<void> {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = window.setTimeout(resolve, GATHERING_MAX_MS);
    pc.addEventListener("icegatheringstatechange", () => {
      if (pc.iceGatheringState !== "complete") return;
      window.clearTimeout(timer);
      resolve();
    });
  });
}

export const bearer = (token: string | null): Record<string, string> => (token ? { authorization: `Bearer ${token}` } : {});

/** RFC 9110 section 10.2.3: seconds, or a date. */
function retryAfter(response: Response): number | null {
  const value = response.headers.get("retry-after");
  if (value === null) return null;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 30_000) : null;
}
