// A show that is over, played from its beginning. In: the session id. Out: a picture in the page's video element, a seek bar, and the
// conversation as it went. Driven by watch.ts once the live player has let go of the element. Tests and style sheets read
// <html data-player-mode="replay"> and the same data-player-state as of a live show.
import { isLoopback } from "../address.js";
import { api } from "../api/client.js";
import { codeOf, reasonOf, wording } from "../api/errors.js";
import { t } from "../i18n/index.js";
import type { Chat } from "./chat.js";
import { offerDownload } from "./download.js";
import type { Quality } from "./engine.js";
import type { QualityChoice } from "./quality-choice.js";
import { ReplayChat } from "./replay-chat.js";
import type { ReplayEngine, ReplayEvent } from "./replay-engine.js";
import { SeekBar } from "./seek-bar.js";
import { start } from "./start.js";
import type { StatusCard } from "./status.js";

/** A shorter gap is a hiccup that needs no words. */
const BUFFERING_AFTER_MS = 600;
/** The recording is closed within moments of the end. */
const PREPARING_RETRY_MS = 2000;
const BROKEN_RETRY_MS = 3000;
const RETRY_MAX_MS = 15_000;
/** A pause may outlast a ticket. One that is this new and refused is meant. */
const TICKET_NEW_MS = 60_000;

type ReplayState = "loading" | "playing" | "paused" | "blocked" | "buffering" | "ended" | "private" | "broken" | "unsupported";

export interface ReplayHooks {
  /** The video element is needed now, whatever played in it. */
  onBegin: () => void;
  /** Nobody may watch it but some, and this one is none of them, or not yet. */
  onPrivate: () => void;
  onQualities: (qualities: Quality[], chosen: number | null) => void;
}

export class Replay {
  #engine: ReplayEngine | null = null;
  #seekBar: SeekBar | null = null;
  #begun = false;
  #failures = 0;
  #timer = 0;
  #waiting = 0;
  /** Where to go on after the engine was loaded again. */
  #position = 0;
  #ticketAt = 0;

  constructor(
    private readonly sessionId: string,
    private readonly video: HTMLVideoElement,
    private readonly chat: Chat,
    private readonly status: StatusCard,
    private readonly hooks: ReplayHooks,
    private readonly quality: QualityChoice,
  ) {}

  get hasBegun(): boolean {
    return this.#begun;
  }

  /** Plays it, or says why not. */
  async begin(): Promise<void> {
    if (this.#begun) return;
    this.#begun = true;
    window.clearTimeout(this.#timer);
    this.hooks.onBegin();
    this.#set("loading");
    this.status.show("loading");
    try {
      if (!(await api.streaming.getSession.query({ sessionId: this.sessionId })).hasReplay) return this.#nothing();
      const found = await api.videos.playVideo.mutate({ sessionId: this.sessionId });
      document.documentElement.dataset["playerMode"] = "replay";
      offerDownload(found.video);
      this.#seekBar ??= new SeekBar(this.video);
      this.#seekBar.show(found.video.durationMs / 1000);
      const index = new URL(addressOf(found.playbackUrl, found.video.isPrivate ? found.token : null), location.href);
      index.pathname = index.pathname.replace(/[^/]*$/, "thumbnails.vtt");
      // Of a private show nobody says beforehand whether it has any.
      if (found.video.thumbnail || found.video.isPrivate) void this.#seekBar.preview.load(index);
      this.#listen(new ReplayChat(this.sessionId, this.chat));
      this.#ticketAt = performance.now();
      await this.#load(addressOf(found.playbackUrl, found.video.isPrivate ? found.token : null));
    } catch (error) {
      this.#begun = false;
      this.#refused(error);
    }
  }

  chooseQuality(level: number | null): void {
    this.quality.choose(level);
    this.#engine?.chooseQuality(level);
  }

  #refused(error: unknown): void {
    window.clearTimeout(this.#timer);
    switch (codeOf(error)) {
      case "FORBIDDEN":
      case "UNAUTHORIZED":
        this.#set("private");
        return this.hooks.onPrivate();
      case "NOT_FOUND":
        return this.#nothing();
      case "PRECONDITION_FAILED":
        if (reasonOf(error) === "video_not_ready") {
          this.status.show("preparing");
          this.#timer = window.setTimeout(() => void this.begin(), PREPARING_RETRY_MS);
        } else {
          this.#set("ended");
          this.status.show("ended", wording(error));
          void this.chat.refresh();
        }
        return;
      default:
        this.status.show("offline");
        this.#timer = window.setTimeout(() => void this.begin(), BROKEN_RETRY_MS);
    }
  }

  /** It was never kept, or is not any more; what was said is still there. */
  #nothing(): void {
    this.#begun = false;
    this.#set("ended");
    this.status.show("ended");
    void this.chat.refresh();
  }

  async #load(url: string): Promise<void> {
    const on = (event: ReplayEvent): void => this.#onEngine(event, url);
    const { makeReplayEngine } = await import("./replay-engine.js");
    this.#engine = await makeReplayEngine(this.video, on);
    if (!this.#engine) return this.#say("unsupported", () => this.status.show("unsupported"));
    this.#open(url);
  }

  async #renewTicket(): Promise<void> {
    const now = performance.now();
    if (now - this.#ticketAt < TICKET_NEW_MS) return this.#say("private", this.hooks.onPrivate);
    this.#ticketAt = now;
    this.#position = this.video.currentTime || this.#position;
    this.#engine?.stop();
    try {
      const { playbackUrl, video, token } = await api.videos.playVideo.mutate({ sessionId: this.sessionId });
      await this.#load(addressOf(playbackUrl, video.isPrivate ? token : null));
    } catch (error) {
      const code = codeOf(error);
      if (code !== null && ["FORBIDDEN", "UNAUTHORIZED", "NOT_FOUND"].includes(code)) return this.#refused(error);
      this.#ticketAt = -TICKET_NEW_MS;
      this.#say("broken", () => this.status.show("offline"));
      this.#timer = window.setTimeout(() => void this.#renewTicket(), BROKEN_RETRY_MS);
    }
  }

  #open(url: string): void {
    this.quality.renew();
    this.#engine?.load(url, this.#position);
  }

  #onEngine(event: ReplayEvent, url: string): void {
    switch (event.kind) {
      case "found":
        this.#offer(event.qualities);
        return void this.#start();
      case "missing":
        if (event.status === 401 || event.status === 403) return void this.#renewTicket();
        // Deleted meanwhile.
        if (event.status === 404 || event.status === 410) return this.#say("ended", () => this.status.show("ended"));
        break;
      case "failed":
        break;
      case "unfit":
        return this.#say("unsupported", () => this.status.show("unsupported"));
    }
    this.#position = this.video.currentTime || this.#position;
    this.#say("broken", () => this.status.show("broken"));
    window.clearTimeout(this.#timer);
    const pause = Math.min(RETRY_MAX_MS, BROKEN_RETRY_MS * 2 ** this.#failures++);
    this.#timer = window.setTimeout(() => this.#open(url), pause);
  }

  #offer(qualities: Quality[]): void {
    const level = this.quality.toAsk(qualities);
    if (level !== null) this.#engine?.chooseQuality(level);
    this.hooks.onQualities(qualities, level);
  }

  async #start(): Promise<void> {
    if (!(await start(this.video))) this.#say("blocked", () => this.status.hide());
  }

  #listen(replayChat: ReplayChat): void {
    const { video } = this;
    video.addEventListener("playing", () => {
      this.#failures = 0;
      window.clearTimeout(this.#waiting);
      this.#say("playing", () => this.status.hide());
    });
    // Its end is a place to start again from, not a farewell.
    for (const name of ["pause", "ended"]) video.addEventListener(name, () => this.#set("paused"));
    video.addEventListener("waiting", () => {
      window.clearTimeout(this.#waiting);
      this.#waiting = window.setTimeout(() => !video.paused && video.readyState < video.HAVE_FUTURE_DATA && this.#set("buffering"), BUFFERING_AFTER_MS);
    });
    const follow = (): void => {
      const shown = this.#engine?.playingAt() ?? null;
      if (shown === null) return;
      document.documentElement.dataset["replayAt"] = String(Math.round(shown));
      replayChat.follow(shown);
    };
    for (const name of ["timeupdate", "seeked"]) video.addEventListener(name, follow);
  }

  #say(state: ReplayState, say: () => void): void {
    this.#set(state);
    say();
  }

  #set(state: ReplayState): void {
    document.documentElement.dataset["playerState"] = state;
  }
}

/** A public playlist is the same for everybody and stays cacheable; a private one opens with the ticket. */
function addressOf(playbackUrl: string, ticket: string | null): string {
  const url = new URL(playbackUrl, location.href);
  if (ticket) url.searchParams.set("ticket", ticket);
  return isLoopback(url.hostname) ? url.pathname + url.search : url.href;
}

/** At the end of a show: the way back to its beginning, when there is one. */
export async function offerReplay(sessionId: string, replay: Replay, status: StatusCard): Promise<void> {
  status.show("ended");
  const found = await api.streaming.getSession.query({ sessionId }).catch(() => null);
  if (found?.hasReplay && !replay.hasBegun) status.show("ended", undefined, { label: t("watchReplay"), run: () => void replay.begin() });
}
