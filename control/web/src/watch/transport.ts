// Which way the show comes: WebRTC first, for its fraction of a second; HLS where a network or a browser has no WebRTC. The page's
// address may insist (?player=whep, ?player=hls). Nothing is remembered: another network tomorrow is another chance.
import { WhepEngine } from "./whep-engine.js";

export type Transport = "whep" | "hls";

/** Why WebRTC is not it: no path, no frames, no common codec, no such address, or no room left. */
export type Unfit = "ice" | "media" | "codec" | "absent" | "busy";

/** What may have been the moment's fault, not the network's. */
const PASSING: ReadonlySet<Unfit> = new Set(["media", "absent", "busy"]);

export class TransportChoice {
  readonly #insisted: Transport | null;
  #unfit: Unfit | null = null;
  /** The viewer is somewhere in the past, which WebRTC does not have. */
  #isBack = false;

  /** `isMain`: the picture that the page's address and its tests speak of. */
  constructor(private readonly isMain = true) {
    this.#insisted = isMain ? insisted() : null;
  }

  get now(): Transport {
    if (this.#isBack) return "hls";
    if (this.#insisted) return this.#insisted;
    return this.#unfit === null && WhepEngine.supported() ? "whep" : "hls";
  }

  /** True when this means another transport than before. */
  goBack(isBack: boolean): boolean {
    const before = this.now;
    this.#isBack = isBack;
    return this.now !== before;
  }

  /** False when the address insists on WebRTC. */
  giveUpWebRtc(reason: Unfit): boolean {
    if (this.#insisted) return false;
    this.#unfit = reason;
    if (this.isMain) document.documentElement.dataset["playerFallback"] = reason;
    return true;
  }

  /** The broadcaster may send something by now that WebRTC can carry. */
  forgetCodec(): void {
    if (this.#unfit === "codec") this.#forget();
  }

  /** Media has come just now. True when WebRTC deserves another try that it was not given before. */
  reconsider(): boolean {
    if (this.#unfit === null || !PASSING.has(this.#unfit)) return false;
    this.#forget();
    return this.now === "whep";
  }

  #forget(): void {
    this.#unfit = null;
    if (this.isMain) delete document.documentElement.dataset["playerFallback"];
  }
}

function insisted(): Transport | null {
  const asked = new URLSearchParams(location.search).get("player");
  return asked === "whep" || asked === "hls" ? asked : null;
}
