// The conversation of a show that is over, as it went. In: the moment of the show that is on screen. Out: in Chat, the lines written up
// to it. Lines are fetched a little ahead and no more: a show may have had a hundred thousand.
import { api } from "../api/client.js";
import type { Chat } from "./chat.js";
import type { RoomMessage } from "./room.js";

const PAGE = 100;
/** How far ahead lines are fetched, and how near its end more are. */
const AHEAD_MS = 60_000;
const MORE_WITHIN_MS = 20_000;
/** The picture moves on by quarters of a second; anything larger was a seek. */
const SEEK_FROM_MS = 5000;
/** A busier second than a page holds loses lines; nobody could have read them. */
const SPAN_MIN_MS = 1000;
const RETRY_MS = 3000;

export class ReplayChat {
  /** Lines after what is shown, oldest first. */
  #ahead: RoomMessage[] = [];
  #shownTo: number | null = null;
  /** Up to here everything is known. */
  #knownTo = 0;
  #turn = 0;
  #fetching = false;
  #restUntil = 0;

  constructor(
    private readonly sessionId: string,
    private readonly chat: Chat,
  ) {}

  /** The picture on screen was taken at `now`. */
  follow(now: number): void {
    if (performance.now() < this.#restUntil) return;
    const moved = this.#shownTo === null ? Infinity : now - this.#shownTo;
    if (moved < 0 || moved > SEEK_FROM_MS) return void this.#jump(now);
    this.#shownTo = now;
    const due = this.#ahead.findIndex((message) => message.timestamp.getTime() > now);
    const lines = this.#ahead.splice(0, due < 0 ? this.#ahead.length : due);
    for (const line of lines) this.chat.receive(line);
    if (!this.#fetching && now > this.#knownTo - MORE_WITHIN_MS) void this.#more();
  }

  async #jump(to: number): Promise<void> {
    const turn = ++this.#turn;
    this.#shownTo = this.#knownTo = to;
    this.#ahead = [];
    this.#fetching = true;
    try {
      const page = await this.#writtenUntil(to);
      if (turn === this.#turn) this.chat.replay(page.messages, page.hasMore);
    } catch {
      if (turn === this.#turn) this.#rest();
    } finally {
      if (turn === this.#turn) this.#fetching = false;
    }
  }

  async #more(): Promise<void> {
    const turn = this.#turn;
    this.#fetching = true;
    try {
      const from = this.#knownTo;
      let until = from + AHEAD_MS;
      for (;;) {
        const page = await this.#writtenUntil(until);
        if (turn !== this.#turn) return;
        const fresh = page.messages.filter((message) => message.timestamp.getTime() > from);
        const mayMissSome = page.hasMore && fresh.length === page.messages.length;
        if (!mayMissSome || until - from <= SPAN_MIN_MS) {
          this.#ahead.push(...fresh);
          this.#knownTo = until;
          return;
        }
        until = from + Math.max(SPAN_MIN_MS, (until - from) / 4);
      }
    } catch {
      if (turn === this.#turn) this.#restUntil = performance.now() + RETRY_MS;
    } finally {
      if (turn === this.#turn) this.#fetching = false;
    }
  }

  /** What failed is asked again in a while, from the beginning. */
  #rest(): void {
    this.#restUntil = performance.now() + RETRY_MS;
    this.#shownTo = null;
  }

  #writtenUntil(moment: number) {
    return api.chat.getMessages.query({ sessionId: this.sessionId, limit: PAGE, before: firstIdAfter(moment) });
  }
}

/** Ids sort by time: they begin with milliseconds since 1970 (UUIDv7). */
function firstIdAfter(moment: number): string {
  return `msg_${(Math.floor(moment) + 1).toString(16).padStart(12, "0")}${"0".repeat(20)}`;
}
