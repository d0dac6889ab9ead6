// What a WebRTC receiver's statistics say of the picture. In: getStats and the figures before. Out: figures now. W3C webrtc-stats.

export interface Reception {
  /** RTP payload received so far, sound and picture. */
  bytes: number;
  /** Frames of the picture are decoded; of the sound, where no picture is sent. */
  decodes: boolean;
  /** From the server to the eye, or null while nothing has been shown since the figures before. */
  delayMs: number | null;
  /** Totals from which the next delay is told. */
  heldSeconds: number;
  held: number;
}

/** The standard library of TypeScript lists neither of the two sums. */
interface Inbound extends RTCInboundRtpStreamStats {
  jitterBufferDelay?: number;
  jitterBufferEmittedCount?: number;
}

export async function measure(pc: RTCPeerConnection, before: Reception | null): Promise<Reception> {
  let video: Inbound | null = null;
  let audio: Inbound | null = null;
  let roundTrip = 0;
  (await pc.getStats()).forEach((entry: RTCStats) => {
    if (entry.type === "inbound-rtp") {
      const inbound = entry as Inbound;
      if (inbound.kind === "video") video = inbound;
      else audio = inbound;
    } else if (entry.type === "candidate-pair") {
      const pair = entry as RTCIceCandidatePairStats;
      if (pair.nominated && pair.currentRoundTripTime !== undefined) roundTrip = pair.currentRoundTripTime;
    }
  });
  return tell(video, audio, roundTrip, before);
}

function tell(video: Inbound | null, audio: Inbound | null, roundTrip: number, before: Reception | null): Reception {
  const seen = (video?.packetsReceived ?? 0) > 0;
  const heard = (audio?.packetsReceived ?? 0) > 0 && (audio?.jitterBufferEmittedCount ?? 0) > 0;
  const shown = seen ? video : audio;
  const heldSeconds = shown?.jitterBufferDelay ?? 0;
  const held = shown?.jitterBufferEmittedCount ?? 0;
  const since = before && held > before.held ? before : null;
  const waited = since ? (heldSeconds - since.heldSeconds) / (held - since.held) : null;
  return {
    bytes: (video?.bytesReceived ?? 0) + (audio?.bytesReceived ?? 0),
    decodes: seen ? (video?.framesDecoded ?? 0) > 0 : heard,
    delayMs: waited === null || waited < 0 ? null : (waited + roundTrip / 2) * 1000,
    heldSeconds,
    held,
  };
}
