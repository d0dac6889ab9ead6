// From a title to a working encoder: creates a session and shows, once, what goes into OBS or ffmpeg.
import { api } from "../api/client.js";
import { refusedFields, wording } from "../api/errors.js";
import { signedInUser } from "../api/tokens.js";
import { h } from "../dom.js";
import { t } from "../i18n/index.js";
import { openAuthDialog } from "./auth-dialog.js";
import { openDialog, type Dialog } from "./dialog.js";
import { field } from "./field.js";
import { icon } from "./icons.js";

/** Two seconds between keyframes is the segment length; no B-frames, so that WebRTC viewers see it too. */
export function ffmpegLine(address: string): string {
  return `ffmpeg -re -i input.mp4 -c:v libx264 -preset veryfast -bf 0 -g 60 -b:v 2500k -c:a aac -b:a 128k -f flv "${address}"`;
}

export function openGoLiveDialog(): void {
  if (!signedInUser()) return openAuthDialog("signIn", openGoLiveDialog);
  const dialog = openDialog("go-live");
  dialog.setTitle(t("goLive"), t("goLiveLead"));
  const title = field("title", t("showTitle"), { type: "text", maxlength: 120, dir: "auto", required: true, autocomplete: "off" }, t("showTitleHint"));
  const category = field("category", `${t("category")} (${t("optional")})`, { type: "text", maxlength: 40, dir: "auto", autocomplete: "off" }, t("categoryHint"));
  const isPrivate = h("input", { type: "checkbox", id: "field-private" });
  const failure = h("p", { class: "form-error", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "button wide" }, t("create"));
  const form = h("form", { class: "form", novalidate: true }, title.row, category.row,
    h("label", { class: "check", for: "field-private" }, isPrivate, t("privateShow")), failure, submit);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    failure.hidden = true;
    title.fail(title.input.value.trim() ? "" : t("errorTitle"));
    if (submit.disabled || !title.input.value.trim()) return title.input.focus();
    submit.disabled = true;
    try {
      const inCategory = category.input.value.trim();
      const { session } = await api.streaming.createSession.mutate({
        title: title.input.value.trim(), type: "video", isPrivate: isPrivate.checked, ...(inCategory ? { category: inCategory } : {}),
      });
      showKey(dialog, session);
    } catch (error) {
      if (refusedFields(error).includes("title")) return title.fail(t("errorTitle"));
      failure.textContent = wording(error);
      failure.hidden = false;
    } finally {
      submit.disabled = false;
    }
  });
  dialog.setBody(form);
}

function showKey(dialog: Dialog, session: { id: string; rtmpUrl: string; streamKey: string }): void {
  dialog.setTitle(t("readyTitle"), t("readyText"));
  dialog.setBody(
    copyable("server", t("server"), session.rtmpUrl, false),
    copyable("key", t("streamKey"), session.streamKey, true),
    copyable("ffmpeg", t("ffmpegLine"), ffmpegLine(`${session.rtmpUrl}/${session.streamKey}`), true),
    h("a", { class: "button wide", href: `/watch/${encodeURIComponent(session.id)}` }, t("openMyShow")),
  );
}

/** A value to copy. A secret one is covered until asked for: people create shows while their screen is being filmed. */
function copyable(name: string, label: string, value: string, secret: boolean): HTMLElement {
  const id = `copy-${name}`;
  const shown = h("input", { id, readonly: true, dir: "ltr", value, type: secret ? "password" : "text", autocomplete: "off" });
  const copy = h("button", { type: "button", class: "button quiet small" }, t("copy"));
  copy.prepend(icon("copy"));
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(value).catch(() => shown.select());
    copy.lastChild?.replaceWith(t("copied"));
    window.setTimeout(() => copy.lastChild?.replaceWith(t("copy")), 2000);
  });
  const reveal = h("button", { type: "button", class: "button quiet small", "aria-controls": id, hidden: !secret }, t("reveal"));
  reveal.addEventListener("click", () => {
    const covered = shown.type === "password";
    shown.type = covered ? "text" : "password";
    reveal.textContent = t(covered ? "conceal" : "reveal");
  });
  return h("div", { class: "field copyable" }, h("label", { for: id }, label), shown, h("div", { class: "copyable-actions" }, reveal, copy));
}
