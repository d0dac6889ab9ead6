// How the picture is encoded. In: lines and bits a second. Out: simulcast layers and the order of codecs. Pure, but for the one
// call on a transceiver. W3C WebRTC section 5.2.5, RFC 8853.
import type { Lines } from "./settings.js";

export interface Quality {
  lines: Lines;
  /** Bits a second for the full picture; null for what suits its size. */
  bitrate: number | null;
}

const BITRATE: Record<Lines, number> = { 480: 1_200_000, 720: 2_500_000, 1080: 4_500_000 };
/** Each step has a quarter of the pixels and needs a little more than a quarter of the bits. */
const STEP_SHARE = 0.28;
const BITRATE_MIN = 120_000;
const FRAMES_MAX = 30;

export const fullBitrate = ({ lines, bitrate }: Quality): number => bitrate ?? BITRATE[lines];

/** From the smallest to the full picture, as browsers want them. */
export function layers(quality: Quality): RTCRtpEncodingParameters[] {
  return [layer("l", 4, quality), layer("m", 2, quality), layer("h", 1, quality)];
}

/** The full picture alone. */
export function single(quality: Quality): RTCRtpEncodingParameters[] {
  const { rid: _, ...full } = layer("h", 1, quality);
  return [full];
}

function layer(rid: string, scale: 1 | 2 | 4, quality: Quality): RTCRtpEncodingParameters {
  const share = STEP_SHARE ** Math.log2(scale);
  return { rid, active: true, scaleResolutionDownBy: scale, maxFramerate: FRAMES_MAX, maxBitrate: Math.max(BITRATE_MIN, Math.round(fullBitrate(quality) * share)) };
}

/** Fits what is being sent to another quality. A server that took fewer layers than offered gets the full picture in the best of them. */
export async function retune(sender: RTCRtpSender, quality: Quality): Promise<void> {
  const parameters = sender.getParameters();
  const count = parameters.encodings?.length ?? 0;
  if (count === 0) return;
  const wanted = layers(quality).slice(-count);
  parameters.encodings.forEach((encoding, index) => {
    const { rid: _, ...rest } = wanted[index] ?? {};
    Object.assign(encoding, rest);
  });
  await sender.setParameters(parameters);
}

/** H.264 first: HLS carries it as it is. Then what every browser can decode. */
const RANKS = ["video/h264", "video/vp8", "video/vp9", "video/av1"];

export function preferH264(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpSender.getCapabilities("video")?.codecs;
  if (!codecs || typeof transceiver.setCodecPreferences !== "function") return;
  const rank = ({ mimeType, sdpFmtpLine = "" }: RTCRtpCodec): number => {
    const place = RANKS.indexOf(mimeType.toLowerCase());
    if (place < 0) return RANKS.length * 2;
    // Constrained baseline in whole-frame packets is what all decoders share.
    const common = place > 0 || (/profile-level-id=42e0/i.test(sdpFmtpLine) && /packetization-mode=1/.test(sdpFmtpLine));
    return place * 2 + (common ? 0 : 1);
  };
  try {
    transceiver.setCodecPreferences([...codecs].sort((a, b) => rank(a) - rank(b)));
  } catch {
    // The browser's own order then; the server chooses H.264 where the offer has it.
  }
}
