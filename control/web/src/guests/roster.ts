// Who publishes beside the host, who asks to, and where this user stands. In: coHosts.getCoHosts, frames of the room. Out: `on` after
// every change. The list itself comes with each frame; the rest is fetched by those whom it concerns.
import type { Candidate, CoHostCard, CoHostOverview } from "../api/app-router.js";
import { api } from "../api/client.js";
import { signedInUser } from "../api/tokens.js";

export type Standing = NonNullable<CoHostOverview["ownState"]> | "none";

export class Roster {
  coHosts: CoHostCard[] = [];
  /** For the host alone. */
  requests: Candidate[] = [];
  invitations: Candidate[] = [];
  own: Standing = "none";
  /** Grows with every answer asked for and every frame heard: an answer that was overtaken is thrown away. */
  #turn = 0;

  constructor(
    private readonly sessionId: string,
    private readonly on: () => void,
  ) {}

  /** False when there was no answer; one that was overtaken by news of the room is as good as those. */
  async refresh(): Promise<boolean> {
    const turn = ++this.#turn;
    const overview = await api.coHosts.getCoHosts.query({ sessionId: this.sessionId }).catch(() => null);
    if (!overview || turn !== this.#turn) return overview !== null;
    this.coHosts = overview.coHosts;
    this.requests = overview.requests ?? [];
    this.invitations = overview.invitations ?? [];
    this.own = overview.ownState ?? "none";
    this.on();
    return true;
  }

  /** The room says who they are now. */
  hear(coHosts: CoHostCard[], isHost: boolean): void {
    this.#turn += 1;
    this.coHosts = coHosts;
    const amOne = coHosts.some(({ userId }) => userId === signedInUser()?.id);
    if (amOne) this.own = "approved";
    this.on();
    // Requests change with the list; and whoever is not in it any more should know why.
    if (isHost || (!amOne && this.own === "approved")) void this.refresh();
  }
}
