// The co-hosts' row under the picture. In: the roster, the host's picture whose loudness they share. Out: a tile each. Tests read
// <html data-guests>, the number of those who are live.
import type { CoHostCard } from "../api/app-router.js";
import { must } from "../dom.js";
import type { Entrance } from "../watch/join.js";
import { Tile } from "./tile.js";

export class Tiles {
  readonly #row = must<HTMLUListElement>("#guests");
  readonly #tiles = new Map<string, Tile>();

  constructor(
    private readonly entrance: Entrance,
    private readonly tools: (card: CoHostCard) => Node[] = () => [],
    private readonly main: HTMLVideoElement | null = null,
  ) {
    main?.addEventListener("volumechange", () => this.#tiles.forEach((tile) => tile.follow(main)));
  }

  /** `except`: somebody who sees themselves elsewhere. */
  show(coHosts: CoHostCard[], except: string | null): void {
    const shown = coHosts.filter(({ userId }) => userId !== except);
    for (const [userId, tile] of this.#tiles) {
      if (shown.some((card) => card.userId === userId)) continue;
      tile.stop();
      tile.element.remove();
      this.#tiles.delete(userId);
    }
    for (const card of shown) this.#tileOf(card).show(card);
    this.#row.hidden = this.#row.childElementCount === 0;
    document.documentElement.dataset["guests"] = String(coHosts.filter(({ isLive }) => isLive).length);
  }

  /** Who is the loudest now; null for the host, whose picture needs no frame. */
  speaks(userId: string | null): void {
    document.documentElement.dataset["speaker"] = userId ?? "host";
    for (const [id, tile] of this.#tiles) tile.element.dataset["speaks"] = String(id === userId);
  }

  /** The show is over. */
  close(): void {
    this.show([], null);
  }

  #tileOf(card: CoHostCard): Tile {
    const known = this.#tiles.get(card.userId);
    if (known) return known;
    const tile = new Tile(card.userId, card.broadcastId, this.entrance, this.tools(card));
    if (this.main) tile.follow(this.main);
    this.#tiles.set(card.userId, tile);
    this.#row.append(tile.element);
    return tile;
  }
}
