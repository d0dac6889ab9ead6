// One WebRTC connection that publishes. In: tracks, a quality, the stream key. Out: a connection that tells how it fares, or why there is
// none. Driven by broadcast.ts; RFC 9725. The HTTP side is in rtc/exchange.ts.
import { exchange, gathered, release, type Exchange } from "../rtc/exchange.js";
import { layers, preferH264, retune, single, type Quality } from "./encodings.js";

export interface Tracks {
  picture: MediaStreamTrack | null;
  sound: MediaStreamTrack | null;
}

export type Fate =
  | "connected"
  /** The path is gone; another connection may find one. */
  | "lost"
  /** The server closed it: the show ended, somebody took over, or the server stops. */
  | "closed";

export type Opened =
  | { ok: true; connection: WhipConnection }
  | { ok: false; status: number; retryAfterMs: number | null };

/** From the answer to a path that works. */
const CONNECT_MAX_MS = 8000;
/** A phone changing cells is back within this. */
const DISCONNECTED_MAX_MS = 4000;
/** Good enough for music; a browser left to itself makes it speech. */
const SOUND_BITRATE = 96_000;
/** These say something about the show or the key, not about what was offered. */
const NOT_ABOUT_THE_OFFER = new Set([0, 401, 403, 404, 409, 410, 429, 503]);

/** Learnt once: a server that has no use for layers is not offered them again by this page. */
let takesLayers = true;

export class WhipConnection {
  #patience = 0;
  #over = false;

  private constructor(
    readonly pc: RTCPeerConnection,
    private readonly resource: string | null,
    private readonly key: string,
    private readonly tell: (fate: Fate) => void,
  ) {
    this.#patience = window.setTimeout(() => this.#end("lost"), CONNECT_MAX_MS);
    pc.addEventListener("iceconnectionstatechange", () => this.#onIce());
    const transport = pc.getSenders()[0]?.transport;
    transport?.addEventListener("statechange", () => transport.state === "closed" && this.#end("closed"));
    this.#onIce();
  }

  /** With layers first; alone where they are not understood. */
  static async open(key: string, tracks: Tracks, quality: Quality, tell: (fate: Fate) => void): Promise<Opened> {
    if (takesLayers && tracks.picture) {
      const opened = await attempt(key, tracks, quality, layers(quality), tell);
      if (opened.ok || NOT_ABOUT_THE_OFFER.has(opened.status)) return opened;
      takesLayers = false;
    }
    return attempt(key, tracks, quality, single(quality), tell);
  }

  /** @internal Used by `attempt` alone. */
  static of(pc: RTCPeerConnection, resource: string | null, key: string, tell: (fate: Fate) => void): WhipConnection {
    return new WhipConnection(pc, resource, key, tell);
  }

  /** How many layers of the picture go out. */
  get layers(): number {
    return this.#sender("video")?.getParameters().encodings.length ?? 0;
  }

  /** `false` when a track has no place in this connection: WHIP has no second offer, so another connection is needed. */
  async replace({ picture, sound }: Tracks): Promise<boolean> {
    const [video, audio] = [this.#sender("video"), this.#sender("audio")];
    if ((picture && !video) || (sound && !audio)) return false;
    try {
      await video?.replaceTrack(picture);
      await audio?.replaceTrack(sound);
      return true;
    } catch {
      return false;
    }
  }

  async retune(quality: Quality): Promise<void> {
    const sender = this.#sender("video");
    if (sender) await retune(sender, quality).catch(() => undefined);
  }

  /** Tells the server, and nobody else. A server that has ended the show knows already. */
  close(isKnown = false): void {
    if (this.#over) return;
    this.#over = true;
    window.clearTimeout(this.#patience);
    this.pc.close();
    if (!isKnown) release(this.resource, this.key);
  }

  #sender(kind: "audio" | "video"): RTCRtpSender | null {
    const found = this.pc.getTransceivers().find((transceiver) => transceiver.receiver.track.kind === kind);
    return found?.currentDirection === "sendonly" ? found.sender : null;
  }

  #onIce(): void {
    switch (this.pc.iceConnectionState) {
      case "connected":
      case "completed":
        window.clearTimeout(this.#patience);
        return this.tell("connected");
      case "disconnected":
        window.clearTimeout(this.#patience);
        this.#patience = window.setTimeout(() => this.#end("lost"), DISCONNECTED_MAX_MS);
        return;
      case "failed":
        return this.#end("lost");
    }
  }

  #end(fate: Fate): void {
    if (this.#over) return;
    this.close(fate === "closed");
    this.tell(fate);
  }
}

async function attempt(key: string, { picture, sound }: Tracks, quality: Quality, sendEncodings: RTCRtpEncodingParameters[], tell: (fate: Fate) => void): Promise<Opened> {
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const streams = [new MediaStream([picture, sound].filter((track): track is MediaStreamTrack => track !== null))];
  let answer: Exchange | null = null;
  try {
    if (picture) preferH264(pc.addTransceiver(picture, { direction: "sendonly", streams, sendEncodings }));
    if (sound) pc.addTransceiver(sound, { direction: "sendonly", streams, sendEncodings: [{ maxBitrate: SOUND_BITRATE }] });
    await pc.setLocalDescription();
    await gathered(pc);
    answer = await exchange("/whip", pc.localDescription?.sdp ?? "", key);
    if (!answer.ok) {
      pc.close();
      return { ok: false, status: answer.status, retryAfterMs: answer.retryAfterMs };
    }
    await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  } catch {
    // An answer this browser cannot use, or an offer it cannot make.
    pc.close();
    if (answer?.ok) release(answer.resource, key);
    return { ok: false, status: 422, retryAfterMs: null };
  }
  const connection = WhipConnection.of(pc, answer.resource, key, tell);
  // The server may have taken fewer layers than it was offered.
  if (connection.layers < sendEncodings.length) await connection.retune(quality);
  return { ok: true, connection };
}
