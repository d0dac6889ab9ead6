// Ending a show, after a second thought. Out: streaming.endSession; `ended` hears the figures of the show.
import type { SessionStats } from "../api/app-router.js";
import { api } from "../api/client.js";
import { wording } from "../api/errors.js";
import { h } from "../dom.js";
import { t } from "../i18n/index.js";
import { openDialog } from "./dialog.js";

export function confirmEnd(sessionId: string, ended: (stats: SessionStats) => void = () => undefined): void {
  const dialog = openDialog("end-show");
  dialog.setTitle(t("endShowTitle"), t("endShowText"));
  const failure = h("p", { class: "form-error", role: "alert", hidden: true });
  const end = h("button", { type: "button", class: "button wide danger", id: "confirm-end" }, t("endShow"));
  end.addEventListener("click", async () => {
    end.disabled = true;
    try {
      const { stats } = await api.streaming.endSession.mutate({ sessionId });
      dialog.close();
      ended(stats);
    } catch (error) {
      failure.textContent = wording(error);
      failure.hidden = false;
      end.disabled = false;
    }
  });
  dialog.setBody(h("button", { type: "button", class: "button quiet wide", onclick: () => dialog.close() }, t("keepGoing")), end, failure);
}
