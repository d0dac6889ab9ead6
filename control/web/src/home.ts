// The front page: who is live now. In: streaming.getActiveSessions, again and again while the page is seen. Out: cards.
import { api } from "./api/client.js";
import type { SessionListItem } from "./api/app-router.js";
import { must, setText, h } from "./dom.js";
import { counted, t } from "./i18n/index.js";
import { card, refreshCard } from "./home/card.js";
import { startReplays } from "./home/replays.js";
import { rtmpLine } from "./ui/encoder-lines.js";
import { startHeader } from "./ui/header.js";
import { fillIcons } from "./ui/icons.js";

/** Numbers on the cards may be this old. */
const REFRESH_MS = 8000;
const PAGE = 24;
/** A filter needs a choice; this many are as much as one line of a phone can scroll through. */
const CATEGORIES_MAX = 12;

const grid = must<HTMLElement>("#shows");
const notice = must<HTMLElement>("#notice");
const chips = must<HTMLElement>("#categories");
const more = must<HTMLButtonElement>("#more");
const cards = new Map<string, HTMLElement>();
const categories = new Set<string>();
let category: string | null = null;
let wanted = PAGE;
let loaded = false;
let timer = 0;
/** Answers that arrive after a newer question are thrown away. */
let asked = 0;

async function refresh(): Promise<void> {
  window.clearTimeout(timer);
  const turn = ++asked;
  try {
    const answer = await fetchShows();
    if (turn !== asked) return;
    show(answer.sessions, answer.total);
    more.hidden = !answer.hasMore;
    notice.hidden = true;
  } catch {
    if (turn !== asked) return;
    setText(notice, t(loaded ? "listStale" : "listFailed"));
    notice.hidden = false;
  }
  if (document.visibilityState === "visible") timer = window.setTimeout(() => void refresh(), REFRESH_MS);
}

/** As many pages as are on screen; the server gives at most 50 at a time. */
async function fetchShows(): Promise<{ sessions: SessionListItem[]; total: number; hasMore: boolean }> {
  const sessions: SessionListItem[] = [];
  for (;;) {
    const page = await api.streaming.getActiveSessions.query({ limit: PAGE, offset: sessions.length, ...(category ? { category } : {}) });
    sessions.push(...page.sessions);
    if (!page.hasMore || page.sessions.length === 0 || sessions.length >= wanted) return { sessions, total: page.total, hasMore: page.hasMore };
  }
}

function show(sessions: SessionListItem[], total: number): void {
  loaded = true;
  const ids = new Set(sessions.map((session) => session.id));
  for (const [id, element] of cards) {
    if (ids.has(id)) continue;
    element.remove();
    cards.delete(id);
  }
  grid.querySelectorAll(".skeleton").forEach((skeleton) => skeleton.remove());
  sessions.forEach((session, index) => {
    const known = cards.get(session.id);
    const element = known ? refreshCard(known, session) : card(session);
    cards.set(session.id, element);
    // Moving an element that is in its place already would take the keyboard focus from it.
    if (grid.children[index] !== element) grid.insertBefore(element, grid.children[index] ?? null);
  });
  grid.setAttribute("aria-busy", "false");
  must<HTMLElement>("#empty").hidden = sessions.length > 0 || category !== null;
  must<HTMLElement>("#listing").hidden = sessions.length === 0 && category === null;
  setText(must("#count"), counted("liveCount", total));
  for (const session of sessions) if (session.category && categories.size < CATEGORIES_MAX) categories.add(session.category);
  showCategories();
}

function showCategories(): void {
  chips.hidden = categories.size < 2;
  const names = [null, ...categories];
  if (chips.childElementCount === names.length) return;
  chips.replaceChildren(...names.map((name) => {
    const chip = h("button", { type: "button", class: "chip", "aria-pressed": String(name === category), dir: "auto" }, name ?? t("all"));
    chip.addEventListener("click", () => {
      category = name;
      wanted = PAGE;
      for (const other of chips.children) other.setAttribute("aria-pressed", String(other === chip));
      void refresh();
    });
    return chip;
  }));
}

fillIcons();
startHeader();
// Word by word, so that a line never breaks inside an option.
const words = rtmpLine(`rtmp://${location.hostname}:1935/live/YOUR_KEY`).split(" ");
must("#empty-ffmpeg").replaceChildren(...words.flatMap((word) => [h("span", { class: "token" }, word), " "]));
setText(must("#empty-server"), `rtmp://${location.hostname}:1935/live`);
more.addEventListener("click", () => {
  wanted += PAGE;
  void refresh();
});
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && void refresh());
void refresh();
startReplays();
