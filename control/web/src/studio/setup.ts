// Before the show: what it is called, or which one goes on. In: a person's choice. Out: `chosen`, with the show and who sends its picture.
import type { HostedSession } from "../api/app-router.js";
import { api } from "../api/client.js";
import { wording } from "../api/errors.js";
import { h, must } from "../dom.js";
import { counted, t } from "../i18n/index.js";
import { confirmEnd } from "../ui/end-dialog.js";
import { showForm, type Way } from "../ui/show-form.js";
import { created, withNewKey, type KeptShow } from "./kept-show.js";

export interface SetupOptions {
  hostId: string;
  /** `false` on pages that get no camera: only other programs can send then. */
  browserCan: boolean;
  /** Devices are open, or the person now says why not. */
  devicesReady: () => Promise<boolean>;
  chosen: (show: KeptShow) => void;
}

export function startSetup(options: SetupOptions): void {
  const { browserCan, devicesReady, chosen } = options;
  const here: Way = { label: t("goLive"), icon: "broadcast", ready: devicesReady, created: (session) => chosen(created(session, "browser")) };
  const elsewhere: Way = { label: t("useEncoder"), created: (session) => chosen(created(session, "encoder")) };
  must("#show-form").replaceChildren(showForm(browserCan ? [here, elsewhere] : [elsewhere]));
  must<HTMLElement>("#setup").hidden = false;
  void listUnfinished(options);
}

export function stopSetup(): void {
  must<HTMLElement>("#setup").hidden = true;
}

async function listUnfinished(options: SetupOptions): Promise<void> {
  const place = must<HTMLElement>("#unfinished");
  const answer = await api.streaming.getMySessions.query().catch(() => null);
  const sessions = answer?.sessions ?? [];
  place.hidden = sessions.length === 0;
  must("#unfinished-list").replaceChildren(...sessions.map((session) => line(session, options)));
}

function line(session: HostedSession, options: SetupOptions): HTMLLIElement {
  const { hostId, browserCan, devicesReady, chosen } = options;
  const failure = h("p", { class: "form-error", role: "alert", hidden: true });
  const state = session.isInterrupted ? t("stateInterrupted") : session.status === "live" ? t("live") : t("stateWaiting");
  const meta = [state, session.isPrivate ? t("stateHidden") : "", session.status === "live" ? counted("viewers", session.viewerCount) : ""];
  const show: KeptShow = { sessionId: session.id, hostId, rtmpUrl: "", streamKey: null, by: "encoder" };
  const goOn = async (button: HTMLButtonElement): Promise<void> => {
    button.disabled = true;
    failure.hidden = true;
    try {
      if (await devicesReady()) chosen({ ...(await withNewKey(show)), by: "browser" });
    } catch (error) {
      failure.textContent = wording(error);
      failure.hidden = false;
    }
    button.disabled = false;
  };
  const here = h("button", { type: "button", class: "button small" }, t("continueHere"));
  here.hidden = !browserCan;
  here.addEventListener("click", () => void goOn(here));
  const watch = h("button", { type: "button", class: "button quiet small open-room", onclick: () => chosen(show) }, t("openRoom"));
  const end = h("button", { type: "button", class: "button quiet small end-one", onclick: () => confirmEnd(session.id, () => void listUnfinished(options)) }, t("endShow"));
  return h("li", { class: "unfinished-one", "data-live": session.status === "live" && !session.isInterrupted },
    h("p", { class: "unfinished-title", dir: "auto" }, session.title),
    h("p", { class: "unfinished-meta" }, meta.filter((part) => part !== "").join(" · ")),
    h("div", { class: "unfinished-actions" }, here, watch, end), failure);
}
