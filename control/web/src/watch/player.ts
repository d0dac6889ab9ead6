// One live picture in one video element. In: the address joinSession gave. Out: a PlayerState, kept true by itself: it asks again
// while there is nothing to play, starts when there is, turns from WebRTC to HLS where it must, and says why when it cannot play.
// Driven by watch.ts. Tests and style sheets read <html data-player-state>, data-player-transport, data-delay-ms and data-played-ms.
import { isLoopback } from "../address.js";
import { makeEngine, prepareEngine, type Engine, type EngineEvent, type Quality } from "./engine.js";
import { codeOf } from "../api/errors.js";
import type { Entrance } from "./join.js";
import { bufferedAhead } from "./pace.js";
import type { QualityChoice } from "./quality-choice.js";
import { start } from "./start.js";
import { TransportChoice, type Transport, type Unfit } from "./transport.js";

export type PlayerState =
  | "loading"
  | "playing"
  | "paused"
  /** The browser wants a touch before it plays anything. */
  | "blocked"
  | "buffering"
  /** It was live; now nothing comes, but the end was not declared. */
  | "interrupted"
  /** No playlist yet. */
  | "waiting"
  | "private"
  | "ended"
  | "offline"
  | "broken"
  /** What the broadcaster sends plays here in no way. They may send something else: it is looked at again now and then. */
  | "unsupported";

export interface Source {
  /** The HLS playlist. */
  url: string;
  whepUrl: string;
  /** Has the ticket. With HLS it is presented only when the address alone is refused: a public playlist is the same for everybody and
   * stays cacheable. */
  entrance: Entrance;
  /** The room says that it is live: where nothing comes all the same, the broadcaster is away for a moment. */
  hasBegun: boolean;
}

const TICK_MS = 250;
/** A shorter gap is a hiccup that needs no words. */
const BUFFERING_AFTER_MS = 600;
/** Picture stopped and live edge standing still for this long: it is the broadcaster who is gone, not our network. */
const INTERRUPTED_AFTER_MS = 3000;
/** A show that was announced has its first playlist within a moment; one that was not is asked for at the slower pace. */
const ASK_AGAIN_FIRST_MS = 250;
const ASK_AGAIN_MAX_MS = 3000;
/** The first segment is whole within two seconds. Asked seldom enough that a full room does not storm the server for it. */
const BUDDING_MS = 500;
const RETRY_MAX_MS = 15_000;
/** A broadcaster who changes codec is told of in the room; this is for those who are not heard there. */
const LOOK_AGAIN_MS = 10_000;
/** Further behind than this, catching up by pace would take too long: jump. There is no rewind a viewer could have meant. */
const JUMP_AFTER_S = 6;
const JUMP_EVERY_MS = 5000;
/** A picture that stands still for so long while the playlist moves on is one that the engine will not bring back by itself. */
const STUCK_AFTER_MS = 8000;
/** A ticket lasts some hours, and a show or a pause may last longer. One that is this new and refused is meant. */
const TICKET_NEW_MS = 60_000;
const FINAL: ReadonlySet<PlayerState> = new Set(["ended", "private", "unsupported"]);

export class Player {
  state: PlayerState = "loading";

  readonly #choice = new TransportChoice();
  #engine: Engine | null = null;
  #source: Source | null = null;
  #withTicket = false;
  /** When the ticket was asked for; the first one is as old as the page. */
  #ticketAt = performance.now();
  #sameOrigin = false;
  #everPlayed = false;
  #complete = false;
  #failures = 0;
  /** The engine has given up and is to be loaded again when the timer rings. */
  #asking = false;
  #retry = 0;
  #advancedAt = 0;
  #movedAt = 0;
  #position = 0;
  #playedMs = 0;
  #jumpedAt = 0;
  /** Seconds behind live where the viewer wants to be; 0: live. */
  #back = 0;
  #isThere = true;

  constructor(
    readonly video: HTMLVideoElement,
    private readonly onState: (state: PlayerState) => void,
    private readonly onQualities: (qualities: Quality[], chosen: number | null) => void,
    private readonly quality: QualityChoice,
  ) {
    video.addEventListener("pause", () => this.#everPlayed && !video.ended && !FINAL.has(this.state) && this.#set("paused"));
    video.addEventListener("play", () => this.state === "paused" && this.#set("buffering"));
    video.addEventListener("ended", () => this.#complete && this.#set("ended"));
    window.setInterval(() => this.#tick(), TICK_MS);
    prepareEngine(this.transport);
  }

  get transport(): Transport {
    return this.#choice.now;
  }

  get isLoaded(): boolean {
    return this.#source !== null;
  }

  async load(source: Source): Promise<void> {
    this.#source = source;
    this.#sameOrigin = isLoopback(new URL(source.url, location.href).hostname);
    await this.#engage();
  }

  /** Control says that the show is over. What is buffered is still played. */
  expectEnd(): void {
    this.#complete = true;
    if (this.state !== "playing" && this.state !== "paused") this.end();
  }

  end(): void {
    window.clearTimeout(this.#retry);
    this.#engine?.stop();
    this.#set("ended");
  }

  /** Control says that media arrived: no need to wait for the next asking. */
  wake(): void {
    if (this.state === "unsupported") return this.#lookAgain();
    if (!["waiting", "offline", "broken", "interrupted"].includes(this.state)) return;
    this.#failures = 0;
    if (this.#choice.reconsider()) return this.#reengage();
    // An interrupted picture that still has its playlist goes on by itself.
    if (this.state !== "interrupted" || this.#asking) this.#askAgain(0);
  }

  /** The user's wish to see it, from a touch or a key: the only moment at which browsers allow sound. */
  async play(): Promise<void> {
    this.#chase(0);
    try {
      await this.video.play();
    } catch {
      this.#set("blocked");
    }
  }

  toLive(): void {
    this.#back = 0;
    this.#isThere = true;
    if (this.#choice.goBack(false)) this.#reengage();
    this.#chase(0);
    if (this.video.paused) void this.play();
  }

  /** So many seconds behind live, where the server still has them: by HLS, whatever it was before. */
  goBack(seconds: number): void {
    this.#back = seconds;
    this.#isThere = false;
    if (this.#choice.goBack(true)) this.#reengage();
    else this.#tick();
  }

  delayMs(): number | null {
    return this.#everPlayed ? (this.#engine?.delayMs() ?? null) : null;
  }

  chooseQuality(level: number | null): void {
    this.quality.choose(level);
    this.#engine?.chooseQuality(level);
  }

  async #engage(): Promise<void> {
    const engine: Engine | null = await makeEngine(this.transport, this.video, (event) => engine === this.#engine && this.#onEngine(event), { isBack: () => this.#back > 0 });
    this.#engine = engine;
    if (!engine) return this.#onUnsupported();
    document.documentElement.dataset["playerTransport"] = this.transport;
    this.#open();
  }

  #reengage(): void {
    window.clearTimeout(this.#retry);
    this.#engine?.stop();
    this.#engine = null;
    void this.#engage();
  }

  #open(): void {
    const source = this.#source;
    if (!source || !this.#engine) return;
    window.clearTimeout(this.#retry);
    this.#asking = false;
    this.#complete = false;
    // Whoever looks back is taken there again, whatever made the engine begin anew.
    this.#isThere = this.#back === 0;
    this.quality.renew();
    if (this.transport === "whep") return this.#engine.load(source.whepUrl, source.entrance.ticket);
    const url = new URL(source.url, location.href);
    const { ticket } = source.entrance;
    if (this.#withTicket && ticket) url.searchParams.set("ticket", ticket);
    this.#engine.load(this.#sameOrigin ? url.pathname + url.search : url.href, null);
  }

  #askAgain(afterMs: number): void {
    window.clearTimeout(this.#retry);
    this.#asking = true;
    this.#retry = window.setTimeout(() => this.#open(), afterMs);
  }

  #onEngine(event: EngineEvent): void {
    switch (event.kind) {
      case "found":
        this.#advancedAt = this.#movedAt = performance.now();
        if (this.state === "unsupported") this.#set("loading");
        this.#offer(event.qualities, null);
        // A connection that mended itself does not take back a pause.
        if (this.state !== "paused") void this.#start();
        break;
      case "qualities":
        this.#offer(event.qualities, event.chosen);
        break;
      case "advanced":
        this.#advancedAt = performance.now();
        break;
      case "complete":
        this.#complete = true;
        if (bufferedAhead(this.video) < 0.1 && this.#everPlayed) this.end();
        break;
      case "missing":
        this.#onMissing(event.status, event.retryAfterMs);
        break;
      case "budding":
        if (!this.#everPlayed) this.#set("loading");
        this.#askAgain(BUDDING_MS);
        break;
      case "failed":
        this.#set("broken");
        this.#askAgain(this.#backOff());
        break;
      case "unfit":
        this.#onUnfit(event.reason);
    }
  }

  #offer(qualities: Quality[], chosen: number | null): void {
    const level = this.quality.toAsk(qualities);
    if (level !== null && chosen === null) this.#engine?.chooseQuality(level);
    this.onQualities(qualities, chosen ?? level);
  }

  #onUnfit(reason: Unfit): void {
    // HLS was the other way; there is no third.
    if (this.transport === "hls") return this.#onUnsupported();
    if (this.#choice.giveUpWebRtc(reason)) return this.#reengage();
    if (reason === "codec") return this.#onUnsupported();
    this.#set("broken");
    this.#askAgain(this.#backOff());
  }

  #onUnsupported(): void {
    this.#set("unsupported");
    window.clearTimeout(this.#retry);
    this.#retry = window.setTimeout(() => this.#lookAgain(), LOOK_AGAIN_MS * (1 + Math.random() / 4));
  }

  /** From the beginning: what comes now may go another way than what came before. */
  #lookAgain(): void {
    this.#choice.forgetCodec();
    this.#reengage();
  }

  #onMissing(status: number, retryAfterMs?: number): void {
    const forbidden = status === 401 || status === 403;
    const hls = this.transport === "hls";
    if (hls && forbidden && !this.#withTicket && this.#source?.entrance.ticket) {
      this.#withTicket = true;
      return this.#open();
    }
    if (hls && status === 0 && !this.#everPlayed && !this.#sameOrigin && this.#elsewhere()) {
      // The configured address may be one this browser cannot reach; this server has the show too.
      this.#sameOrigin = true;
      return this.#open();
    }
    if (forbidden) return void this.#renewTicket();
    // HLS cannot carry the codec. WebRTC can, if it was only the moment's fault that it was given up.
    if (hls && status === 409) return this.#choice.reconsider() ? this.#reengage() : this.#onUnsupported();
    if (status === 410 || this.#complete) return this.end();
    if (status === 0) this.#set("offline");
    else if (this.#everPlayed) this.#set("interrupted");
    else if (status !== 404) this.#set("offline");
    else this.#set(this.#source?.hasBegun ? "interrupted" : "waiting");
    if (retryAfterMs !== undefined) return this.#askAgain(retryAfterMs * (1 + Math.random() / 4));
    this.#askAgain(status === 404 ? Math.min(ASK_AGAIN_MAX_MS, ASK_AGAIN_FIRST_MS * 2 ** this.#failures++) : this.#backOff());
  }

  async #renewTicket(): Promise<void> {
    const now = performance.now();
    const [source, engine] = [this.#source, this.#engine];
    if (!source || now - this.#ticketAt < TICKET_NEW_MS) return this.#set("private");
    this.#ticketAt = now;
    const refusal = await source.entrance.renew().then(() => null, (error: unknown) => codeOf(error) ?? "");
    // Meanwhile the show may have ended and its replay have begun in the same element.
    if (engine !== this.#engine || FINAL.has(this.state)) return;
    if (refusal === "NOT_FOUND" || this.#complete) return this.end();
    if (refusal === "UNAUTHORIZED" || refusal === "FORBIDDEN") return this.#set("private");
    if (refusal === null) return this.#open();
    this.#ticketAt = -TICKET_NEW_MS;
    this.#set("offline");
    this.#askAgain(this.#backOff());
  }

  #elsewhere(): boolean {
    return new URL(this.#source?.url ?? "", location.href).origin !== location.origin;
  }

  #backOff(): number {
    return Math.min(RETRY_MAX_MS, 1000 * 2 ** this.#failures++) * (0.75 + Math.random() / 2);
  }

  async #start(): Promise<void> {
    if (!(await start(this.video))) this.#set("blocked");
  }

  #tick(): void {
    const { video } = this;
    const now = performance.now();
    this.#settleBack();
    const moved = video.currentTime - this.#position;
    this.#position = video.currentTime;
    // Over WebRTC sound runs on by itself when nothing comes any more.
    const fed = this.transport === "hls" || now - this.#advancedAt < INTERRUPTED_AFTER_MS;
    if (moved > 0 && !video.paused && fed) {
      this.#movedAt = now;
      this.#everPlayed = true;
      this.#failures = 0;
      // A seek is not playback.
      if (moved < 2) this.#playedMs += moved * 1000;
      if (!FINAL.has(this.state)) this.#set("playing");
      this.#chase(JUMP_AFTER_S);
    } else if (this.#isStuck(now)) {
      this.#movedAt = now;
      this.#engine?.stop();
      this.#askAgain(0);
    } else if (!video.paused && this.#everPlayed && (this.state === "playing" || this.state === "buffering")) {
      this.#stall(now);
    }
    const delay = this.delayMs();
    const { dataset } = document.documentElement;
    if (delay !== null) dataset["delayMs"] = String(Math.round(delay));
    dataset["playedMs"] = String(Math.round(this.#playedMs));
  }

  /** Goes to where the viewer wanted, once the engine knows where that is. */
  #settleBack(): void {
    const live = this.#engine?.livePosition() ?? null;
    if (this.#isThere || live === null || this.transport !== "hls") return;
    this.#isThere = true;
    const { seekable } = this.video;
    const first = seekable.length > 0 ? seekable.start(0) : 0;
    this.video.currentTime = Math.max(first, live - this.#back);
  }

  /** WebRTC looks after itself. Of HLS, a player that waits for sound while its sound waits for the picture has been seen. */
  #isStuck(now: number): boolean {
    const waits = this.state === "loading" || this.state === "playing" || this.state === "buffering";
    const advances = this.#movedAt > 0 && now - this.#advancedAt < INTERRUPTED_AFTER_MS;
    return this.transport === "hls" && !this.#asking && waits && !this.video.paused && advances && now - this.#movedAt > STUCK_AFTER_MS;
  }

  #stall(now: number): void {
    const still = now - this.#movedAt;
    if (this.#complete && bufferedAhead(this.video) < 0.1) this.end();
    else if (still > INTERRUPTED_AFTER_MS && now - this.#advancedAt > INTERRUPTED_AFTER_MS) this.#set("interrupted");
    else if (still > BUFFERING_AFTER_MS) this.#set("buffering");
  }

  #chase(behindMaxSeconds: number): void {
    const live = this.#engine?.livePosition() ?? null;
    const now = performance.now();
    if (this.#back > 0 || live === null || live - this.video.currentTime <= behindMaxSeconds) return;
    if (behindMaxSeconds > 0 && now - this.#jumpedAt < JUMP_EVERY_MS) return;
    this.#jumpedAt = now;
    this.video.currentTime = live;
  }

  #set(state: PlayerState): void {
    if (state === this.state) return;
    this.state = state;
    document.documentElement.dataset["playerState"] = state;
    this.onState(state);
  }
}

/** "localhost" is the server's own name for itself. Seen from here, that is the host this page came from. */
