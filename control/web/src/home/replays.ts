// The shows that are over and can be watched. In: videos.getVideos. Out: cards below what is live.
import type { VideoItem } from "../api/app-router.js";
import { api } from "../api/client.js";
import { h, must } from "../dom.js";
import { counted, elapsed, t, timeAgo } from "../i18n/index.js";
import { hue, initial } from "../ui/avatar.js";
import { cover } from "../ui/cover.js";
import { icon } from "../ui/icons.js";
import { showPicture } from "../ui/picture.js";

const PAGE = 12;
/** The server's own limit for one question. */
const SHOWN_MAX = 50;
const REFRESH_MS = 30_000;

export function startReplays(): void {
  const section = must<HTMLElement>("#replays");
  const grid = must<HTMLElement>("#replay-cards");
  const more = must<HTMLButtonElement>("#replays-more");
  let wanted = PAGE;
  let shown = "";
  let timer = 0;

  const refresh = async (): Promise<void> => {
    window.clearTimeout(timer);
    const page = await api.videos.getVideos.query({ limit: wanted }).catch(() => null);
    if (page) {
      // Owners find what is still being prepared, or failed, elsewhere.
      const videos = page.videos.filter((video) => video.status === "ready");
      const now = videos.map((video) => `${video.id} ${video.views}`).join();
      // Cards that stay as they are keep the keyboard's focus.
      if (now !== shown) grid.replaceChildren(...videos.map(replayCard));
      shown = now;
      section.hidden = videos.length === 0;
      must<HTMLElement>("#empty").toggleAttribute("data-brief", videos.length > 0);
      more.hidden = !page.hasMore || wanted >= SHOWN_MAX;
    }
    if (document.visibilityState === "visible") timer = window.setTimeout(() => void refresh(), REFRESH_MS);
  };
  more.addEventListener("click", () => {
    wanted = Math.min(SHOWN_MAX, wanted + PAGE);
    void refresh();
  });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && void refresh());
  void refresh();
}

function replayCard(video: VideoItem): HTMLElement {
  const tags = [
    h("span", { class: "replay-tag" }, icon("play"), t(video.isPrivate ? "privateReplay" : "replay")),
    h("span", { class: "length-tag" }, h("bdi", { dir: "ltr" }, elapsed(video.durationMs))),
  ];
  const meta = [video.category, video.views > 0 ? counted("views", video.views) : "", timeAgo(video.createdAt)].filter((part) => part !== "");
  const words = h("div", { class: "card-words" }, h("h3", { class: "card-title", dir: "auto" }, video.title),
    h("p", { class: "card-host" }, h("bdi", {}, video.userName)),
    h("p", { class: "card-meta" }, ...meta.flatMap((part, index) => [index > 0 ? " · " : "", h("bdi", {}, part)])));
  const face = h("span", { class: "avatar", "aria-hidden": "true" }, initial(video.userName));
  const art = h("div", { class: "card-art" }, cover(video.sessionId), ...tags);
  showPicture(art, video.sessionId, video.thumbnail);
  const link = h("a", { class: "card", href: `/watch/${encodeURIComponent(video.sessionId)}` },
    art, h("div", { class: "card-foot" }, face, words));
  link.style.setProperty("--hue", String(hue(video.userId)));
  return h("article", { "data-session": video.sessionId }, link);
}
