// Keeps one connection up for as long as the host wants to be on air. In: start, end, tracks and qualities that change, and how the
// connection fares. Out: a state. A lost connection is replaced with growing, jittered pauses; the session waits 60 s for it.
import type { Quality } from "./encodings.js";
import { WhipConnection, type Fate, type Tracks } from "./whip.js";

export type BroadcastState =
  | "idle"
  | "connecting"
  | "live"
  | "reconnecting"
  /** Somebody else sends for this session now; two that reconnect would throw each other out for ever. */
  | "taken"
  /** The key is not good any more. */
  | "refused"
  | "ended"
  /** Neither this browser's offer nor its answer works. */
  | "unfit";

/** How the session stands for somebody whose connection the server has closed. */
export type Standing = "open" | "taken" | "ended";

const RETRY_FIRST_MS = 500;
/** The session waits a minute: several tries must fall into it. */
const RETRY_MAX_MS = 8000;
/** After so many refusals of the offer itself nothing will change. */
const UNFIT_MAX = 3;

export class Broadcast {
  #state: BroadcastState = "idle";
  #connection: WhipConnection | null = null;
  #key = "";
  #attempts = 0;
  #unfit = 0;
  /** Grows with every start and end: what an older attempt brings is closed unheard. */
  #turn = 0;
  #timer = 0;

  constructor(
    private readonly tracks: () => Tracks,
    private readonly quality: () => Quality,
    private readonly standing: () => Promise<Standing>,
    private readonly on: (state: BroadcastState) => void,
  ) {
    window.addEventListener("online", () => this.#state === "reconnecting" && void this.#attempt());
    // A page that is left tells the server at once; the show waits for it to come back.
    window.addEventListener("pagehide", () => this.#connection?.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.isWanted && void this.#attempt());
  }

  get state(): BroadcastState {
    return this.#state;
  }

  /** On air, or on the way there. */
  get isWanted(): boolean {
    return this.#state === "connecting" || this.#state === "live" || this.#state === "reconnecting";
  }

  get connection(): WhipConnection | null {
    return this.#connection;
  }

  start(key: string): void {
    this.#key = key;
    this.#attempts = this.#unfit = 0;
    this.#be("connecting");
    void this.#attempt();
  }

  /** The show is over, and the server has told so. */
  end(): void {
    this.#drop(true);
    this.#be("ended");
  }

  /** Other tracks. A new kind of track needs a new connection, which takes over from this one without a gap for viewers. */
  async tracksChanged(): Promise<void> {
    const connection = this.#connection;
    if (!connection || (await connection.replace(this.tracks())) || connection !== this.#connection) return;
    void this.#attempt();
  }

  async qualityChanged(): Promise<void> {
    await this.#connection?.retune(this.quality());
  }

  #be(state: BroadcastState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.on(state);
  }

  #drop(isKnown = false): void {
    this.#turn += 1;
    window.clearTimeout(this.#timer);
    this.#connection?.close(isKnown);
    this.#connection = null;
  }

  /** The connection before, where there still is one, goes when the next one stands: the server hands over without a gap. */
  async #attempt(): Promise<void> {
    window.clearTimeout(this.#timer);
    const before = this.#connection;
    const turn = ++this.#turn;
    const opened = await WhipConnection.open(this.#key, this.tracks(), this.quality(), (fate) => this.#hear(fate, turn));
    if (turn !== this.#turn) return opened.ok ? opened.connection.close() : undefined;
    before?.close();
    if (opened.ok) this.#connection = opened.connection;
    else this.#onRefusal(opened.status, opened.retryAfterMs);
  }

  #onRefusal(status: number, retryAfterMs: number | null): void {
    switch (status) {
      case 401:
      case 403:
        return this.#stop("refused");
      case 404:
      case 410:
        return this.#stop("ended");
      case 422:
        if (++this.#unfit >= UNFIT_MAX) return this.#stop("unfit");
        return this.#again(retryAfterMs);
      default:
        return this.#again(retryAfterMs);
    }
  }

  #hear(fate: Fate, turn: number): void {
    if (turn !== this.#turn) return;
    switch (fate) {
      case "connected":
        this.#attempts = this.#unfit = 0;
        return this.#be("live");
      case "lost":
        return this.#again(null);
      case "closed":
        return void this.#ask(turn);
    }
  }

  /** The server let go of us on purpose. Reconnecting is right unless the show is over or in other hands. */
  async #ask(turn: number): Promise<void> {
    this.#be("reconnecting");
    const standing = await this.standing().catch((): Standing => "open");
    if (turn !== this.#turn) return;
    if (standing === "open") this.#again(null);
    else this.#stop(standing);
  }

  #stop(state: "taken" | "refused" | "ended" | "unfit"): void {
    this.#drop();
    this.#be(state);
  }

  #again(afterMs: number | null): void {
    this.#drop();
    if (this.#state === "live") this.#be("reconnecting");
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#attempts++);
    this.#timer = window.setTimeout(() => void this.#attempt(), afterMs ?? ceiling / 2 + (Math.random() * ceiling) / 2);
  }
}
