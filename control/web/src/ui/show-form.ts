// The few things a show is made of. In: a person's typing. Out: streaming.createSession's answer, and the button it was sent with.
import type { StreamingSession } from "../api/app-router.js";
import { api } from "../api/client.js";
import { refusedFields, wording } from "../api/errors.js";
import { h } from "../dom.js";
import { t } from "../i18n/index.js";
import { field } from "./field.js";
import { icon, type IconName } from "./icons.js";

/** One way to send the form. The first is the one that Enter takes. */
export interface Way {
  label: string;
  icon?: IconName;
  /** Asked before the show is made; `false` leaves everything as it is. */
  ready?: () => Promise<boolean>;
  created: (session: StreamingSession) => void;
}

export function showForm(ways: Way[]): HTMLFormElement {
  const title = field("title", t("showTitle"), { type: "text", maxlength: 120, dir: "auto", required: true, autocomplete: "off" }, t("showTitleHint"));
  const category = field("category", `${t("category")} (${t("optional")})`, { type: "text", maxlength: 40, dir: "auto", autocomplete: "off" }, t("categoryHint"));
  const isPrivate = h("input", { type: "checkbox", id: "field-private" });
  const allowDownload = h("input", { type: "checkbox", id: "field-download" });
  const failure = h("p", { class: "form-error", role: "alert", hidden: true });
  const buttons = ways.map((way, index) => {
    const button = h("button", { type: "submit", value: index, class: index === 0 ? "button wide" : "button quiet wide" }, way.label);
    if (way.icon) button.prepend(icon(way.icon));
    return button;
  });
  const form = h("form", { class: "form", novalidate: true }, title.row, category.row,
    h("label", { class: "check", for: "field-private" }, isPrivate, t("privateShow")),
    h("label", { class: "check", for: "field-download" }, allowDownload, t("downloadableShow")), failure, ...buttons);

  const send = async (way: Way): Promise<void> => {
    if (way.ready && !(await way.ready())) return;
    const inCategory = category.input.value.trim();
    const { session } = await api.streaming.createSession.mutate({
      title: title.input.value.trim(), type: "video", isPrivate: isPrivate.checked, allowDownload: allowDownload.checked,
      ...(inCategory ? { category: inCategory } : {}),
    });
    way.created(session);
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const pressed = (event.submitter ?? buttons[0]) as HTMLButtonElement;
    const way = ways[Number(pressed.value)];
    failure.hidden = true;
    title.fail(title.input.value.trim() ? "" : t("errorTitle"));
    if (!way || pressed.disabled) return;
    if (!title.input.value.trim()) return title.input.focus();
    for (const button of buttons) button.disabled = true;
    try {
      await send(way);
    } catch (error) {
      if (refusedFields(error).includes("title")) return title.fail(t("errorTitle"));
      failure.textContent = wording(error);
      failure.hidden = false;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  });
  return form;
}
