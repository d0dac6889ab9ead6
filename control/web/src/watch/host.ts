// What only the host of the show sees: the way to end it, and what viewers suffer from.
import { api } from "../api/client.js";
import { wording } from "../api/errors.js";
import { h, must, setText } from "../dom.js";
import { t, type TextKey } from "../i18n/index.js";
import { openDialog } from "../ui/dialog.js";

const WARNINGS: Record<string, TextKey> = { b_frames: "warningBFrames", long_gop: "warningLongGop" };

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

function confirmEnd(sessionId: string): void {
  const dialog = openDialog("end-show");
  dialog.setTitle(t("endShowTitle"), t("endShowText"));
  const failure = h("p", { class: "form-error", role: "alert", hidden: true });
  const end = h("button", { type: "button", class: "button wide danger" }, t("endShow"));
  end.addEventListener("click", async () => {
    end.disabled = true;
    try {
      await api.streaming.endSession.mutate({ sessionId });
      dialog.close();
    } catch (error) {
      failure.textContent = wording(error);
      failure.hidden = false;
      end.disabled = false;
    }
  });
  dialog.setBody(h("button", { type: "button", class: "button quiet wide", onclick: () => dialog.close() }, t("keepGoing")), end, failure);
}
