// Joining a session. In: its id. Out: where its picture is, the ticket that opens it, and what this viewer may do.
import { api } from "../api/client.js";
import { signedInUser } from "../api/tokens.js";

export interface Joined {
  playbackUrl: string;
  ticket: string;
  mayChat: boolean;
  isHost: boolean;
  mayCoHost: boolean;
}

/** One session's door: asked once, however many ask at the same time, and again when the ticket has grown too old. */
export class Entrance {
  now: Joined | null = null;
  #joining: Promise<Joined> | null = null;
  /** Somebody else is looking since. */
  #turn = 0;

  constructor(private readonly sessionId: string) {}

  get ticket(): string | null {
    return this.now?.ticket ?? null;
  }

  async join(): Promise<Joined> {
    const turn = this.#turn;
    try {
      const joined = await (this.#joining ??= join(this.sessionId));
      if (turn === this.#turn) this.now = joined;
      return joined;
    } catch (error) {
      if (turn === this.#turn) this.#joining = null;
      throw error;
    }
  }

  /** Another ticket. Null: there is none for this viewer any more. */
  async renew(): Promise<string | null> {
    this.#joining = null;
    return (await this.join()).ticket;
  }

  /** Somebody else is looking now. */
  forget(): void {
    this.#turn += 1;
    this.now = this.#joining = null;
  }
}

async function join(sessionId: string): Promise<Joined> {
  const earlier = signedInUser() ? null : recall(sessionId);
  const answer = await api.streaming.joinSession.mutate({ sessionId, ...(earlier ? { ticket: earlier } : {}) });
  const { token, permissions } = answer.viewerSession;
  if (!signedInUser()) remember(sessionId, token);
  return {
    playbackUrl: answer.playbackUrl,
    ticket: token,
    isHost: permissions.canModerate,
    mayCoHost: permissions.canRequestCoHost,
    // Guests read only, whatever the permission says: without an account there is nobody to write as.
    mayChat: permissions.canChat || signedInUser() === null,
  };
}

/** A guest who loads the page again is the same guest, as long as this tab lives. */
function recall(sessionId: string): string | null {
  try {
    return sessionStorage.getItem(`chobi.guest.${sessionId}`);
  } catch {
    return null;
  }
}

function remember(sessionId: string, ticket: string): void {
  try {
    sessionStorage.setItem(`chobi.guest.${sessionId}`, ticket);
  } catch {
    // Then it is another guest.
  }
}
