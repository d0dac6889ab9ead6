// What goes into OBS, ffmpeg and other encoders. In: where RTMP is pushed to and the stream key. Out: fields to copy from.
import { reachableRtmp } from "../address.js";
import { h } from "../dom.js";
import { t } from "../i18n/index.js";
import { copyable } from "./copyable.js";

/** Two seconds between keyframes is the segment length; no B-frames, so that WebRTC viewers see it too. */
const VIDEO = "-c:v libx264 -preset veryfast -bf 0 -g 60 -b:v 2500k";

export function rtmpLine(address: string): string {
  return `ffmpeg -re -i input.mp4 ${VIDEO} -c:a aac -b:a 128k -f flv "${address}"`;
}

/** WHIP is spoken by ffmpeg since version 8. Constrained baseline is the profile that WebRTC agrees on everywhere. */
function whipLine(address: string, key: string): string {
  return `ffmpeg -re -i input.mp4 ${VIDEO} -profile:v baseline -pix_fmt yuv420p -c:a libopus -ar 48000 -ac 2 -f whip -authorization "${key}" "${address}"`;
}

export function encoderLines(toldUrl: string, key: string): HTMLElement {
  const rtmpUrl = reachableRtmp(toldUrl);
  const whip = `${location.origin}/whip`;
  return h("div", { class: "encoder-lines" },
    h("div", { class: "encoder-group" }, h("h3", {}, t("obsRtmp")), h("p", { class: "field-hint" }, t("obsRtmpHint")),
      copyable("server", t("server"), rtmpUrl, false), copyable("key", t("streamKey"), key, true)),
    h("div", { class: "encoder-group" }, h("h3", {}, t("obsWhip")), h("p", { class: "field-hint" }, t("obsWhipHint")),
      copyable("whip", t("server"), whip, false), copyable("token", t("bearerToken"), key, true)),
    h("div", { class: "encoder-group" }, h("h3", {}, t("ffmpegLines")), h("p", { class: "field-hint" }, t("ffmpegHint")),
      copyable("ffmpeg-rtmp", "RTMP", rtmpLine(`${rtmpUrl}/${key}`), true), copyable("ffmpeg-whip", t("whipFfmpeg"), whipLine(whip, key), true)));
}
