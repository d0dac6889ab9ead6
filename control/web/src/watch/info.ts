// The words under the picture: title, host, how long it has been live, and how many watch.
import { api } from "../api/client.js";
import type { SessionListItem } from "../api/app-router.js";
import { h, must, setText } from "../dom.js";
import { compact, counted, liveFor, t } from "../i18n/index.js";
import { hue, initial } from "../ui/avatar.js";
import { cover } from "../ui/cover.js";
import { showPicture } from "../ui/picture.js";

const CLOCK_MS = 15_000;

export class Info {
  hostId: string | null = null;
  #host = "";
  #category = "";
  #startedAt: Date | null = null;

  constructor(
    private readonly sessionId: string,
    private readonly onRewind: (seconds: number, startedAt: Date | null) => void,
  ) {
    must("#poster").replaceChildren(cover(sessionId));
    must("#share").addEventListener("click", () => void this.#share());
    window.setInterval(() => this.#showMeta(), CLOCK_MS);
  }

  async start(): Promise<void> {
    const found = await api.streaming.getSession.query({ sessionId: this.sessionId }).catch(() => null);
    if (!found) return;
    this.#show(found.session);
    this.onRewind(found.rewindSeconds, this.#startedAt);
  }

  setViewers(count: number): void {
    must<HTMLElement>("#viewers").hidden = count === 0;
    setText(must("#viewers-short"), compact(count));
    setText(must("#viewers-long"), counted("viewers", count));
    document.documentElement.dataset["viewers"] = String(count);
  }

  #show(session: SessionListItem): void {
    this.hostId = session.hostId;
    this.#startedAt = (session.isLive && session.startedAt) || null;
    document.title = `${session.title} – ${t("brand")}`;
    setText(must("#show-title"), session.title);
    this.#host = session.hostName;
    this.#category = session.category ?? "";
    const face = must<HTMLElement>("#show-face");
    setText(face, initial(session.hostName));
    face.style.setProperty("--hue", String(hue(session.hostId)));
    if (session.description) setText(must("#show-description"), session.description);
    showPicture(must("#poster"), session.id, session.thumbnail);
    if (must<HTMLElement>("#viewers").hidden) this.setViewers(session.viewerCount);
    must("#info").removeAttribute("data-unknown");
    this.#showMeta();
  }

  /** Each part stands for itself, whichever way its letters run. */
  #showMeta(): void {
    const parts = [this.#host, this.#category, this.#startedAt ? liveFor(this.#startedAt) : ""].filter((part) => part !== "");
    must("#show-meta").replaceChildren(...parts.flatMap((part, index) => [index > 0 ? " · " : "", h("bdi", {}, part)]));
  }

  async #share(): Promise<void> {
    const address = `${location.origin}/watch/${encodeURIComponent(this.sessionId)}`;
    if (navigator.share) return navigator.share({ title: document.title, url: address }).catch(() => undefined);
    await navigator.clipboard.writeText(address).catch(() => undefined);
    const label = must("#share-label");
    setText(label, t("linkCopied"));
    window.setTimeout(() => setText(label, t("share")), 2000);
  }
}
