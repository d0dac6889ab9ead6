// What a WebRTC sender's statistics say of the broadcast. In: getStats and the figures before. Out: figures now. W3C webrtc-stats.

export interface Sending {
  at: number;
  /** RTP payload sent so far, all layers and the sound. */
  bytes: number;
  bitsPerSecond: number;
  /** Of the best layer that is sent; null without a picture. */
  framesPerSecond: number | null;
  /** Lines of that layer, as the encoder makes them now. */
  lines: number | null;
  roundTripMs: number | null;
  /** From 0 to 1, as the server reports it, over the last report; null before the first. */
  lost: number | null;
  /** What keeps the encoder from doing what it was asked. */
  limit: "none" | "cpu" | "bandwidth";
}

interface Outbound extends RTCOutboundRtpStreamStats {
  qualityLimitationReason?: "none" | "cpu" | "bandwidth" | "other";
}

export async function measure(pc: RTCPeerConnection, before: Sending | null): Promise<Sending> {
  const video: Outbound[] = [];
  let bytes = 0;
  let roundTrip: number | null = null;
  const losses: number[] = [];
  (await pc.getStats()).forEach((entry: RTCStats) => {
    if (entry.type === "outbound-rtp") {
      const outbound = entry as Outbound;
      bytes += outbound.bytesSent ?? 0;
      if (outbound.kind === "video") video.push(outbound);
    } else if (entry.type === "remote-inbound-rtp") {
      const { fractionLost } = entry as RTCStats & { fractionLost?: number };
      if (fractionLost !== undefined) losses.push(fractionLost);
    } else if (entry.type === "candidate-pair") {
      const pair = entry as RTCIceCandidatePairStats;
      if (pair.nominated && pair.currentRoundTripTime !== undefined) roundTrip = pair.currentRoundTripTime * 1000;
    }
  });
  const at = performance.now();
  const seconds = before ? (at - before.at) / 1000 : 0;
  const sent = video.filter((layer) => (layer.framesPerSecond ?? 0) > 0);
  const best = sent.sort((a, b) => (b.frameHeight ?? 0) - (a.frameHeight ?? 0))[0];
  const limits = video.map((layer) => layer.qualityLimitationReason);
  return {
    at,
    bytes,
    bitsPerSecond: before && seconds > 0 && bytes >= before.bytes ? ((bytes - before.bytes) * 8) / seconds : 0,
    framesPerSecond: best?.framesPerSecond ?? (video.length > 0 ? 0 : null),
    lines: best?.frameHeight ?? null,
    roundTripMs: roundTrip,
    lost: losses.length > 0 ? Math.max(...losses) : null,
    limit: limits.includes("cpu") ? "cpu" : limits.includes("bandwidth") ? "bandwidth" : "none",
  };
}
