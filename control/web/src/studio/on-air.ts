// What a host sees of the show that goes on: how long, how many watch, where to watch it, and the lines for other programs. In: the
// session and the room's events. Out: `ended`, with the figures of the show.
import type { SessionStats } from "../api/app-router.js";
import { api } from "../api/client.js";
import { wording } from "../api/errors.js";
import { h, must, setText } from "../dom.js";
import { compact, counted, elapsed, t } from "../i18n/index.js";
import { toClipboard } from "../ui/copyable.js";
import { encoderLines } from "../ui/encoder-lines.js";
import { confirmEnd } from "../ui/end-dialog.js";
import { withNewKey, type KeptShow } from "./kept-show.js";

const CLOCK_MS = 1000;

export class OnAir {
  #startedAt: Date | null = null;
  #fill = (): void => undefined;

  constructor(
    private show: KeptShow,
    private readonly renewed: (show: KeptShow) => void,
    ended: (stats: SessionStats) => void,
  ) {
    const address = `${location.origin}/watch/${encodeURIComponent(show.sessionId)}`;
    must<HTMLAnchorElement>("#watch-link").href = address;
    setText(must("#watch-address"), address.replace(/^https?:\/\//, ""));
    must("#copy-link").addEventListener("click", async () => {
      const label = must("#copy-link-label");
      if (!(await toClipboard(address))) return window.getSelection()?.selectAllChildren(must("#watch-address"));
      setText(label, t("linkCopied"));
      window.setTimeout(() => setText(label, t("copyLink")), 2000);
    });
    must("#end-show").addEventListener("click", () => confirmEnd(show.sessionId, ended));
    must<HTMLElement>("#on-air").hidden = false;
    window.setInterval(() => this.#tick(), CLOCK_MS);
    this.showLines();
  }

  /** Title and the moment it went live: known to the server, whoever sends. */
  async refresh(): Promise<"waiting" | "live" | "ended"> {
    const { session, status } = await api.streaming.getSession.query({ sessionId: this.show.sessionId });
    setText(must("#show-title"), session.title);
    document.title = `${session.title} – ${t("brand")}`;
    this.#startedAt = status === "live" ? (session.startedAt ?? null) : null;
    this.#tick();
    return status;
  }

  /** The key is another one. */
  update(show: KeptShow): void {
    this.show = show;
    this.#fill();
  }

  setViewers(count: number): void {
    must<HTMLElement>("#viewers").hidden = false;
    setText(must("#viewers-short"), compact(count));
    setText(must("#viewers-long"), counted("viewers", count));
    document.documentElement.dataset["viewers"] = String(count);
  }

  /** Built when they are opened: the key stays out of the page until then. */
  showLines(): void {
    const details = must<HTMLDetailsElement>("#encoders");
    const body = must("#encoders-body");
    this.#fill = (): void => {
      if (!details.open) return body.replaceChildren();
      if (this.show.streamKey) body.replaceChildren(encoderLines(this.show.rtmpUrl, this.show.streamKey));
      else body.replaceChildren(this.#keyMaker());
    };
    details.addEventListener("toggle", this.#fill);
    details.open = this.show.by === "encoder";
    this.#fill();
  }

  #keyMaker(): HTMLElement {
    const failure = h("p", { class: "form-error", role: "alert", hidden: true });
    const make = h("button", { type: "button", class: "button quiet" }, t("makeKey"));
    make.addEventListener("click", async () => {
      make.disabled = true;
      try {
        this.renewed(await withNewKey(this.show));
      } catch (error) {
        failure.textContent = wording(error);
        failure.hidden = false;
        make.disabled = false;
      }
    });
    return h("div", { class: "key-maker" }, h("p", {}, t("keyShownOnce")), make, failure);
  }

  #tick(): void {
    must<HTMLElement>("#elapsed").hidden = this.#startedAt === null;
    if (this.#startedAt) setText(must("#elapsed"), elapsed(Date.now() - this.#startedAt.getTime()));
  }
}
