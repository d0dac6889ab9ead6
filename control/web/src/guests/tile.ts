// One co-host on the page: picture and sound by WebRTC, by HLS where that fails. In: how they stand. Out: an element.
import type { CoHostCard } from "../api/app-router.js";
import { h, setText } from "../dom.js";
import { t } from "../i18n/index.js";
import { hue, initial } from "../ui/avatar.js";
import { icon } from "../ui/icons.js";
import { makeEngine, type Engine, type EngineEvent } from "../watch/engine.js";
import type { Entrance } from "../watch/join.js";
import { start } from "../watch/start.js";
import { TransportChoice } from "../watch/transport.js";

/** Asked again after this, with a little dice. */
const RETRY_MS = 1500;
/** A ticket that is refused is replaced, and seldom: what is closed to us stays closed. */
const RENEW_EVERY_MS = 60_000;

export class Tile {
  readonly element: HTMLLIElement;
  readonly #video = h("video", { playsinline: true, disableremoteplayback: true });
  readonly #name = h("bdi");
  readonly #choice = new TransportChoice(false);
  #engine: Engine | null = null;
  #retry = 0;
  #wanted = false;
  #renewed = 0;

  constructor(
    readonly userId: string,
    private readonly broadcastId: string,
    private readonly entrance: Entrance,
    tools: Node[],
  ) {
    const muted = h("span", { class: "guest-muted", role: "img", "aria-label": t("guestMuted") }, icon("microphoneOff"));
    const name = h("p", { class: "guest-name" }, muted, this.#name);
    const face = h("span", { class: "avatar guest-face", "aria-hidden": "true" });
    this.element = h("li", { class: "guest", "data-user": userId }, face, this.#video, name, tools.length > 0 && h("div", { class: "guest-tools" }, ...tools));
    this.element.style.setProperty("--hue", String(hue(userId)));
    this.#video.addEventListener("resize", () => (this.element.dataset["picture"] = String(this.#video.videoWidth > 0)));
    this.#video.addEventListener("timeupdate", () => (this.element.dataset["plays"] = "true"));
  }

  show(card: CoHostCard): void {
    setText(this.#name, card.name);
    const face = this.element.querySelector(".guest-face");
    if (face) setText(face, initial(card.name));
    this.element.dataset["muted"] = String(card.isMuted);
    this.element.dataset["live"] = String(card.isLive);
    if (card.isLive && !this.#wanted) void this.#open();
    if (!card.isLive) this.stop();
  }

  /** As loud as the host: one button for both. */
  follow(main: HTMLVideoElement): void {
    this.#video.muted = main.muted;
    this.#video.volume = main.volume;
  }

  stop(): void {
    this.#wanted = false;
    window.clearTimeout(this.#retry);
    this.#engine?.stop();
    this.#engine = null;
    delete this.element.dataset["plays"];
    delete this.element.dataset["picture"];
  }

  async #open(): Promise<void> {
    this.#wanted = true;
    const engine: Engine | null = await makeEngine(this.#choice.now, this.#video, (event) => engine === this.#engine && this.#hear(event));
    if (!this.#wanted) return engine?.stop();
    this.#engine = engine;
    const id = encodeURIComponent(this.broadcastId);
    const { ticket } = this.entrance;
    if (this.#choice.now === "whep") return engine?.load(`/whep/${id}`, ticket);
    engine?.load(`/hls/${id}/index.m3u8${ticket ? `?ticket=${encodeURIComponent(ticket)}` : ""}`, null);
  }

  #hear(event: EngineEvent): void {
    switch (event.kind) {
      case "found":
        return void start(this.#video);
      case "unfit":
        return this.#choice.giveUpWebRtc(event.reason) ? this.#again(0) : undefined;
      case "missing":
        if (event.status === 401 || event.status === 403) return void this.#renew();
        return this.#again(RETRY_MS * (1 + Math.random()));
      case "budding":
      case "failed":
        return this.#again(RETRY_MS * (1 + Math.random()));
      case "qualities":
      case "advanced":
      case "complete":
    }
  }

  async #renew(): Promise<void> {
    const now = performance.now();
    const isLate = this.#renewed === 0 || now - this.#renewed > RENEW_EVERY_MS;
    if (isLate) {
      this.#renewed = now;
      await this.entrance.renew().catch(() => null);
    }
    this.#again(isLate ? 0 : RENEW_EVERY_MS);
  }

  #again(afterMs: number): void {
    window.clearTimeout(this.#retry);
    this.#engine?.stop();
    this.#retry = window.setTimeout(() => this.#wanted && void this.#open(), afterMs);
  }
}
