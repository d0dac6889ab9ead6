// What only the host of the show sees: the way to end it, and what viewers suffer from.
import { must, setText } from "../dom.js";
import { t, type TextKey } from "../i18n/index.js";
import { confirmEnd } from "../ui/end-dialog.js";

const WARNINGS: Record<string, TextKey> = {
  b_frames: "warningBFrames",
  long_gop: "warningLongGop",
  webrtc_only: "warningWebrtcOnly",
};

export function showHostTools(sessionId: string): void {
  const button = must<HTMLButtonElement>("#end-show");
  if (!button.hidden) return;
  button.hidden = false;
  button.addEventListener("click", () => confirmEnd(sessionId));
}

export function showWarning(code: string): void {
  const key = WARNINGS[code];
  if (!key) return;
  const place = must<HTMLElement>("#warning");
  setText(place, t(key));
  place.hidden = false;
}
