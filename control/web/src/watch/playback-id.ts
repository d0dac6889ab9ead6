// What this player calls itself, over HLS and over WebRTC alike: how a server knows a viewer without a ticket again.

/** One per tab, for as long as the tab lives. */
export function playbackId(): string {
  const key = "chobi.playback";
  const fresh = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    const kept = sessionStorage.getItem(key);
    if (kept) return kept;
    sessionStorage.setItem(key, fresh);
  } catch {
    // Without storage every load counts as a viewer of its own.
  }
  return fresh;
}
