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
  #renewing: Promise<string> | null = null;

  constructor(private readonly sessionId: string) {}

  get ticket(): string | null {
    return this.now?.ticket ?? null;
  }

  async join(): Promise<Joined> {
    const joining = (this.#joining ??= join(this.sessionId));
    try {
      const joined = await joining;
      if (joining === this.#joining) this.now = joined;
      return joined;
    } catch (error) {
      if (joining === this.#joining) this.#joining = null;
      throw error;
    }
  }

  /** Another ticket, one for all who find at the same time that the old one is none any more. */
  renew(): Promise<string> {
    const renew = async (): Promise<string> => {
      this.#joining = null;
      return (await this.join()).ticket;
    };
    return (this.#renewing ??= renew().finally(() => (this.#renewing = null)));
  }

  /** Somebody else is looking now. */
  forget(): void {
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
