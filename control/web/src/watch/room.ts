// The page's socket to one session's room. In: frames of /ws. Out: RoomEvents. Driven by watch.ts.
// It stays connected by itself: a lost socket is reopened with growing, jittered pauses, at once when the network or the tab returns.
import type { CoHostCard } from "../api/app-router.js";
import { freshAccessToken } from "../api/client.js";

export interface RoomMessage {
  id: string;
  userId: string;
  userName: string;
  message: string;
  timestamp: Date;
  isHighlighted: boolean;
}

export type SessionStatus = "waiting" | "live" | "ended";

export type RoomEvent =
  /** In the room. `recovered`: what was missed while away follows; else it has to be fetched. */
  | { kind: "joined"; status: SessionStatus; recovered: boolean }
  | { kind: "refused"; code: string; reason: string | null }
  | { kind: "lost" }
  | { kind: "viewers"; count: number }
  | { kind: "message"; message: RoomMessage }
  | { kind: "status"; live: boolean }
  /** All who publish beside the host, after every change. */
  | { kind: "coHosts"; coHosts: CoHostCard[] }
  /** Another one of those on air is the loudest; null for the host. */
  | { kind: "speaker"; userId: string | null }
  /** A request, an invitation, or its end: for the one whom it concerns. */
  | { kind: "coHostNews" }
  /** For the host alone: the encoder sends something viewers suffer from. */
  | { kind: "warning"; code: string }
  | { kind: "ended" };

interface Frame {
  type?: unknown;
  sessionId?: unknown;
  epoch?: unknown;
  seq?: unknown;
  data?: Record<string, unknown> | null;
}

const PING_EVERY_MS = 25_000;
/** Two pings unanswered: the connection is dead, whatever the browser believes. */
const SILENCE_MAX_MS = 60_000;
const RETRY_FIRST_MS = 500;
/** Longer would feel broken to a viewer; shorter would let a full room storm a server that just restarted. */
const RETRY_MAX_MS = 15_000;
/** What no second asking changes. */
const FINAL: ReadonlySet<string> = new Set(["NOT_FOUND", "BAD_REQUEST"]);
/** Who was refused by name may be let in by the host. */
const REFUSED_RETRY_MS = 30_000;

export class Room {
  #socket: WebSocket | null = null;
  #attempts = 0;
  /** Place of the last frame heard, from which the server goes on after a lost connection. */
  #place: string | null = null;
  #stopped = false;
  #heardAt = 0;
  #timer = 0;
  #pinger = 0;
  /** In the room by this socket. */
  #isIn = false;

  constructor(
    private readonly sessionId: string,
    private readonly ticket: () => string | null,
    private readonly on: (event: RoomEvent) => void,
  ) {
    window.addEventListener("online", this.#soon);
    document.addEventListener("visibilitychange", this.#soon);
  }

  connect(): void {
    if (this.#stopped || this.#socket) return;
    window.clearTimeout(this.#timer);
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    this.#socket = socket;
    socket.addEventListener("open", () => void this.#begin(socket));
    socket.addEventListener("message", (event) => this.#hear(socket, event.data));
    socket.addEventListener("close", () => this.#lose(socket));
  }

  /** Leaves and comes back as whoever is signed in now. */
  rejoin(): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#lose(socket);
    socket.close(1000);
    this.#attempts = 0;
    this.connect();
  }

  /** For good: the show is over. */
  stop(): void {
    this.#stopped = true;
    window.clearTimeout(this.#timer);
    window.removeEventListener("online", this.#soon);
    document.removeEventListener("visibilitychange", this.#soon);
    const socket = this.#socket;
    if (!socket) return;
    this.#lose(socket);
    socket.close(1000);
  }

  async #begin(socket: WebSocket): Promise<void> {
    this.#heardAt = Date.now();
    this.#pinger = window.setInterval(() => {
      if (Date.now() - this.#heardAt > SILENCE_MAX_MS) {
        this.#lose(socket);
        socket.close(4000);
      } else socket.send(JSON.stringify({ type: "ping" }));
    }, PING_EVERY_MS);
    await this.#join(socket);
  }

  async #join(socket: WebSocket): Promise<void> {
    const token = await freshAccessToken();
    if (this.#socket !== socket || socket.readyState !== WebSocket.OPEN) return;
    if (token) socket.send(JSON.stringify({ type: "auth", token }));
    const ticket = this.ticket();
    const lastEventId = this.#place;
    socket.send(JSON.stringify({ type: "join_session", sessionId: this.sessionId, ...(ticket ? { ticket } : {}), ...(lastEventId ? { lastEventId } : {}) }));
  }

  /** A refusal that may pass: a busy server, a place that gets free, an invitation to come. */
  #joinAgain(socket: WebSocket, code: string): void {
    if (FINAL.has(code) || this.#socket !== socket) return;
    const byName = code === "FORBIDDEN" || code === "UNAUTHORIZED" || code === "PRECONDITION_FAILED";
    const ceiling = byName ? REFUSED_RETRY_MS : Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#attempts++);
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#join(socket), ceiling / 2 + (Math.random() * ceiling) / 2);
  }

  #hear(socket: WebSocket, text: unknown): void {
    this.#heardAt = Date.now();
    const frame = parse(text);
    if (frame.sessionId !== undefined && frame.sessionId !== this.sessionId) return;
    if (typeof frame.epoch === "string" && typeof frame.seq === "number") this.#place = `${frame.epoch}.${frame.seq}`;
    const data = frame.data ?? {};
    switch (frame.type) {
      case "session_joined":
        this.#isIn = true;
        this.#attempts = 0;
        window.clearTimeout(this.#timer);
        this.on({ kind: "joined", status: statusOf(data["status"]), recovered: data["recovered"] === true });
        if (typeof data["viewerCount"] === "number") this.on({ kind: "viewers", count: data["viewerCount"] });
        break;
      case "error":
        // In the room already, only its own refusal counts: somebody was put out of it.
        if (this.#isIn && (frame.sessionId === undefined || data["code"] !== "FORBIDDEN")) break;
        this.#isIn = false;
        this.on({ kind: "refused", code: String(data["code"]), reason: typeof data["reason"] === "string" ? data["reason"] : null });
        this.#joinAgain(socket, String(data["code"]));
        break;
      case "ingest_warning":
        this.on({ kind: "warning", code: String(data["code"]) });
        break;
      case "co_hosts":
        if (Array.isArray(data["coHosts"])) this.on({ kind: "coHosts", coHosts: data["coHosts"] as CoHostCard[] });
        break;
      case "active_speaker":
        this.on({ kind: "speaker", userId: typeof data["userId"] === "string" ? data["userId"] : null });
        break;
      case "co_host_requested":
      case "co_host_invited":
      case "co_host_declined":
        this.on({ kind: "coHostNews" });
        break;
      case "viewer_joined":
      case "viewer_left":
      case "viewer_count":
        if (typeof data["viewerCount"] === "number") this.on({ kind: "viewers", count: data["viewerCount"] });
        break;
      case "new_message":
        if (typeof data["id"] === "string") this.on({ kind: "message", message: message(data) });
        break;
      case "session_status":
        this.on({ kind: "status", live: data["status"] === "live" });
        break;
      case "session_ended":
        this.on({ kind: "ended" });
        break;
    }
  }

  #lose(socket: WebSocket): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    this.#isIn = false;
    window.clearInterval(this.#pinger);
    window.clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.on({ kind: "lost" });
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#attempts++);
    this.#timer = window.setTimeout(() => this.connect(), ceiling / 2 + (Math.random() * ceiling) / 2);
  }

  readonly #soon = (): void => {
    if (document.visibilityState === "visible") this.connect();
  };
}

/** A server that does not say is asked through the playlist: that is what "live" leads to. */
function statusOf(value: unknown): SessionStatus {
  return value === "waiting" || value === "ended" ? value : "live";
}

function parse(text: unknown): Frame {
  try {
    const frame: unknown = JSON.parse(String(text));
    return typeof frame === "object" && frame !== null ? frame : {};
  } catch {
    return {};
  }
}

function message(data: Record<string, unknown>): RoomMessage {
  return {
    id: String(data["id"]),
    userId: String(data["userId"] ?? ""),
    userName: String(data["userName"] ?? ""),
    message: String(data["message"] ?? ""),
    timestamp: new Date(String(data["timestamp"])),
    isHighlighted: data["isHighlighted"] === true,
  };
}
