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

export async function join(sessionId: string): Promise<Joined> {
  const answer = await api.streaming.joinSession.mutate({ sessionId });
  return {
    playbackUrl: answer.playbackUrl,
    ticket: answer.viewerSession.token,
    // Guests read only, whatever the permission says: without an account there is nobody to write as.
    isHost: answer.viewerSession.permissions.canModerate,
    mayCoHost: answer.viewerSession.permissions.canRequestCoHost,
    mayChat: answer.viewerSession.permissions.canChat || signedInUser() === null,
  };
}
