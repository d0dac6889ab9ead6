// A show over WebRTC. In: the WHEP address and the ticket. Out: EngineEvents; "unfit" when this network or this browser cannot have it
// so. Driven by player.ts. draft-ietf-wish-whep; the HTTP side is in rtc/exchange.ts.
import { exchange, gathered, release, type Exchange } from "../rtc/exchange.js";
import type { Engine, EngineListener } from "./engine.js";
import { Layers } from "./layers.js";
import { playbackId } from "./playback-id.js";
import { measure, type Reception } from "./reception.js";

/** From the answer to a pair of addresses that work. Longer means that UDP and TCP are both held up on the way. */
const CONNECT_MAX_MS = 4000;
/** From then to the first decoded frame. A server with a cached GOP needs a tenth of it. */
const FIRST_FRAME_MAX_MS = 4000;
/** A phone changing cells is back within this; longer, and the path is gone. */
const DISCONNECTED_MAX_MS = 3000;
/** After so much undisturbed picture a loss is a new misfortune, with a fresh connection of its own to mend it. */
const STEADY_MS = 20_000;
const SAMPLE_MS = 500;

export class WhepEngine implements Engine {
  #url = "";
  #ticket: string | null = null;
  #pc: RTCPeerConnection | null = null;
  #resource: string | null = null;
  #token: string | null = null;
  /** Grows with every connection; answers to an older one are released unheard. */
  #turn = 0;
  #mended = false;
  #patience = 0;
  #sampler = 0;
  #seen: Reception | null = null;
  #steadySince = 0;
  #delay: number | null = null;
  readonly #layers = new Layers((qualities, chosen) => this.on({ kind: "qualities", qualities, chosen }));

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly on: EngineListener,
    private readonly hasMenu: boolean,
  ) {
    video.addEventListener("resize", () => void this.#layers.look());
    window.addEventListener("pagehide", () => this.#pc && this.#close());
    // Kept by the browser and shown again: what was closed on leaving is opened anew.
    window.addEventListener("pageshow", (event) => event.persisted && this.#url && void this.#open());
  }

  static supported(): boolean {
    return typeof RTCPeerConnection === "function" && "addTransceiver" in RTCPeerConnection.prototype;
  }

  load(url: string, ticket: string | null): void {
    this.stop();
    this.#url = url;
    this.#ticket = ticket;
    this.#mended = false;
    void this.#open();
  }

  stop(): void {
    this.#close();
    this.#url = "";
    this.video.srcObject = null;
  }

  /** Packets' waiting before they are shown, and half of their way there and back: WebRTC carries no wall clock. */
  delayMs(): number | null {
    return this.#delay;
  }

  /** What arrives is shown; there is nothing to be behind of. */
  livePosition(): number | null {
    return null;
  }

  chooseQuality(level: number | null): void {
    this.#layers.choose(level);
  }

  #close(): void {
    this.#turn += 1;
    window.clearTimeout(this.#patience);
    window.clearInterval(this.#sampler);
    this.#pc?.close();
    this.#layers.close();
    release(this.#resource, this.#token);
    this.#pc = this.#resource = this.#seen = this.#delay = null;
  }

  async #open(): Promise<void> {
    this.#close();
    const turn = this.#turn;
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#pc = pc;
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    try {
      await pc.setLocalDescription({ type: "offer", sdp: inStereo((await pc.createOffer()).sdp ?? "") });
      await gathered(pc);
      const answer = await this.#ask(pc.localDescription?.sdp ?? "");
      if (turn !== this.#turn) return answer.ok ? release(answer.resource, this.#token) : undefined;
      if (!answer.ok) return this.#refused(answer);
      this.#resource = answer.resource;
      if (this.hasMenu) this.#layers.open(answer.layers, this.#token);
      await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    } catch {
      if (turn === this.#turn) this.#giveUp("codec");
      return;
    }
    if (turn === this.#turn) this.#receive(pc);
  }

  /** With the ticket; without it once, should it have grown too old for a show that is open to all. */
  async #ask(offer: string): Promise<Exchange> {
    this.#token = this.#ticket;
    const answer = await exchange(this.#url, offer, this.#token, playbackId());
    // 403: the ticket is good, and its bearer is not let in.
    if (answer.ok || answer.status !== 401 || !this.#token) return answer;
    this.#token = null;
    return exchange(this.#url, offer, null, playbackId());
  }

  #refused({ status, retryAfterMs }: Extract<Exchange, { ok: false }>): void {
    // 409 with a time to come back is a show to come; without one it is a show that only HLS can carry.
    if ([415, 422].includes(status) || (status === 409 && retryAfterMs === null)) return this.#giveUp("codec");
    // A show that will come says when to ask again. A plain 404 is no show at all, or a server without WebRTC: HLS tells which.
    if ([404, 405, 501].includes(status) && retryAfterMs === null) return this.#giveUp("absent");
    if (status === 503) return this.#giveUp("busy");
    this.#close();
    this.on({ kind: "missing", status: status === 409 ? 404 : status, ...(retryAfterMs === null ? {} : { retryAfterMs }) });
  }

  #receive(pc: RTCPeerConnection): void {
    const offered = pc.getTransceivers().filter((transceiver) => transceiver.currentDirection === "recvonly");
    if (offered.length === 0) return this.#giveUp("codec");
    // A track that never comes would keep the element waiting for its first frame: only what was granted goes in.
    this.video.srcObject = new MediaStream(offered.map((transceiver) => transceiver.receiver.track));
    this.video.playbackRate = 1;
    this.#patience = window.setTimeout(() => this.#giveUp("ice"), CONNECT_MAX_MS);
    pc.addEventListener("iceconnectionstatechange", () => this.#onIce(pc));
    // The server closed the session; the next POST learns why.
    offered[0]?.receiver.transport?.addEventListener("statechange", (event) => {
      if ((event.target as RTCDtlsTransport).state === "closed" && pc === this.#pc) this.#mend();
    });
    this.on({ kind: "found", qualities: [] });
    this.#sampler = window.setInterval(() => void this.#sample(pc), SAMPLE_MS);
    this.#onIce(pc);
  }

  #onIce(pc: RTCPeerConnection): void {
    if (pc !== this.#pc) return;
    switch (pc.iceConnectionState) {
      case "connected":
      case "completed":
        window.clearTimeout(this.#patience);
        this.#steadySince = performance.now();
        if (!this.#seen?.decodes) this.#patience = window.setTimeout(() => this.#giveUp("media"), FIRST_FRAME_MAX_MS);
        break;
      case "disconnected":
        window.clearTimeout(this.#patience);
        this.#patience = window.setTimeout(() => this.#mend(), DISCONNECTED_MAX_MS);
        break;
      case "failed":
        this.#mend();
    }
  }

  /** One fresh connection for each misfortune; when that does not help, HLS is the way. */
  #mend(): void {
    if (this.#mended) return this.#giveUp("ice");
    this.#mended = true;
    void this.#open();
  }

  async #sample(pc: RTCPeerConnection): Promise<void> {
    const before = this.#seen;
    const now = await measure(pc, before).catch(() => null);
    if (!now || pc !== this.#pc) return;
    this.#seen = now;
    if (now.delayMs !== null) this.#delay = now.delayMs;
    if (now.decodes && !before?.decodes) this.#begins();
    if (now.bytes > (before?.bytes ?? 0)) this.on({ kind: "advanced" });
    if (now.decodes && performance.now() - this.#steadySince > STEADY_MS) this.#mended = false;
  }

  /** The first frame is there. */
  #begins(): void {
    window.clearTimeout(this.#patience);
    void this.#layers.look();
  }

  #giveUp(reason: "codec" | "ice" | "media" | "absent" | "busy"): void {
    this.stop();
    this.on({ kind: "unfit", reason });
  }
}

/** Chromium decodes Opus to one channel unless the offer asks for two (RFC 7587 section 6.1). */
function inStereo(sdp: string): string {
  const opus = /^a=rtpmap:(\d+) opus\/48000\/2/im.exec(sdp)?.[1];
  return opus ? sdp.replace(new RegExp(`^(a=fmtp:${opus} )(?!.*stereo=)`, "m"), "$1stereo=1;") : sdp;
}
