// One show in the list. The same card is refreshed in place, so that nothing jumps under the finger.
import type { SessionListItem } from "../api/app-router.js";
import { h, must, setText } from "../dom.js";
import { compact, counted, liveFor, t } from "../i18n/index.js";
import { hue, initial } from "../ui/avatar.js";
import { cover } from "../ui/cover.js";
import { icon } from "../ui/icons.js";
import { showPicture } from "../ui/picture.js";

export function card(session: SessionListItem): HTMLElement {
  const art = h("div", { class: "card-art" }, cover(session.id),
    h("span", { class: "live-tag" }, h("i", { class: "nuqta", "aria-hidden": "true" }), session.type === "audio" ? t("audioShow") : t("live")),
    h("span", { class: "viewers-tag" }, icon("eye"), h("span", { class: "card-viewers", "aria-hidden": "true" }), h("span", { class: "sr-only card-viewers-long" })));
  const face = h("span", { class: "avatar", "aria-hidden": "true" }, initial(session.hostName));
  const words = h("div", { class: "card-words" }, h("h2", { class: "card-title", dir: "auto" }),
    h("p", { class: "card-host" }, h("bdi", { class: "card-host-name" })),
    h("p", { class: "card-meta" }, h("bdi", { class: "card-category" }), h("span", { class: "card-since" })));
  const link = h("a", { class: "card", href: `/watch/${encodeURIComponent(session.id)}` }, art, h("div", { class: "card-foot" }, face, words));
  link.style.setProperty("--hue", String(hue(session.hostId)));
  return refreshCard(h("article", {}, link), session);
}

export function refreshCard(element: HTMLElement, session: SessionListItem): HTMLElement {
  showPicture(must(".card-art", element), session.id, session.thumbnail);
  const put = (selector: string, text: string): void => setText(must(selector, element), text);
  must<HTMLElement>(".viewers-tag", element).hidden = session.viewerCount === 0;
  put(".card-viewers", compact(session.viewerCount));
  put(".card-viewers-long", counted("viewers", session.viewerCount));
  put(".card-title", session.title);
  put(".card-host-name", session.hostName);
  put(".card-category", session.category ?? "");
  put(".card-since", session.startedAt ? liveFor(session.startedAt) : "");
  return element;
}
