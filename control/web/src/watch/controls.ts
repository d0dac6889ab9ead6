// The player's buttons, keys and the delay. In: touches, keys, media events. Out: calls on Player and the media element.
import { must, setText, h } from "../dom.js";
import { delay, number, t } from "../i18n/index.js";
import { swapIcon } from "../ui/icons.js";
import type { Quality } from "./engine.js";
import type { Player } from "./player.js";

/** Buttons fade after this much rest, while a picture plays. */
const REST_MS = 2800;
const CLOCK_MS = 500;
/** Above this the delay is told as being behind, with a way back. */
const BEHIND_MS = 5000;
/** Outside of this the two clocks disagree, and a number would be a lie. */
const BELIEVABLE_MS = 3_600_000;
const SOUND_KEY = "chobi.sound";

/** iPhones know only their own full screen, on the video itself. */
interface PhoneVideo extends HTMLVideoElement {
  webkitEnterFullscreen?: () => void;
}

export interface Controls {
  /** `chosen`: a level, or null where it is chosen for the viewer. */
  setQualities(qualities: Quality[], chosen?: number | null): void;
}

export function startControls(player: Player, onReplayQuality?: (level: number | null) => void): Controls {
  const { video } = player;
  const stage = must<HTMLElement>("#stage");
  const sound = must<HTMLButtonElement>("#mute");
  const volume = must<HTMLInputElement>("#volume");
  const toggle = must<HTMLButtonElement>("#toggle");
  const quality = must<HTMLSelectElement>("#quality");

  video.muted = !wantsSound();
  const flip = (): void => void (video.paused ? player.play() : video.pause());
  const flipSound = (): void => {
    video.muted = !video.muted;
    if (!video.muted && video.volume === 0) video.volume = 0.7;
    rememberSound(!video.muted);
  };
  toggle.addEventListener("click", flip);
  sound.addEventListener("click", flipSound);
  must("#tap-for-sound").addEventListener("click", flipSound);
  must("#tap-to-play").addEventListener("click", () => {
    video.muted = false;
    rememberSound(true);
    void player.play();
  });
  must("#to-live").addEventListener("click", () => player.toLive());
  volume.addEventListener("input", () => {
    video.volume = Number(volume.value) / 100;
    video.muted = video.volume === 0;
    rememberSound(!video.muted);
  });
  quality.addEventListener("change", () => {
    const level = quality.value === "auto" ? null : Number(quality.value);
    player.chooseQuality(level);
    onReplayQuality?.(level);
  });

  const showSound = (): void => {
    swapIcon(sound, video.muted ? "muted" : "sound");
    sound.setAttribute("aria-label", t(video.muted ? "unmute" : "mute"));
    volume.value = String(video.muted ? 0 : Math.round(video.volume * 100));
    stage.dataset["muted"] = String(video.muted);
  };
  const showPlaying = (): void => {
    swapIcon(toggle, video.paused ? "play" : "pause");
    toggle.setAttribute("aria-label", t(video.paused ? "play" : "pause"));
  };
  video.addEventListener("volumechange", showSound);
  for (const name of ["play", "pause", "emptied"]) video.addEventListener(name, showPlaying);
  video.addEventListener("resize", () => (stage.dataset["shape"] = video.videoHeight > video.videoWidth ? "tall" : "wide"));
  showSound();
  showPlaying();
  offerFullscreen(stage, video);
  offerPictureInPicture(video);
  listenToKeys({ flip, flipSound });
  fadeAtRest(stage, video, flip);
  window.setInterval(() => showDelay(player), CLOCK_MS);
  return { setQualities: (qualities, chosen = null) => showQualities(quality, qualities, chosen) };
}

function showDelay(player: Player): void {
  const ms = player.delayMs();
  const button = must<HTMLButtonElement>("#to-live");
  const believable = ms !== null && ms > -500 && ms < BELIEVABLE_MS;
  const behind = believable && ms > BEHIND_MS;
  button.dataset["behind"] = String(behind);
  button.disabled = !behind && !player.video.paused;
  setText(must("#delay"), believable ? delay(ms) : "");
  setText(must("#transport"), player.transport === "whep" ? "WebRTC" : "HLS");
  button.title = behind ? t("toLive") : believable ? t("delay", { time: delay(ms) }) : "";
}

function showQualities(select: HTMLSelectElement, qualities: Quality[], chosen: number | null): void {
  select.hidden = qualities.length < 2;
  const sorted = [...qualities].sort((a, b) => b.lines - a.lines || b.bitrate - a.bitrate);
  select.replaceChildren(h("option", { value: "auto" }, t("qualityAuto")),
    ...sorted.map(({ level, lines, bitrate }) => h("option", { value: level }, lines > 0 ? `${number(lines)}p` : `${number(Math.round(bitrate / 1000))} kbit/s`)));
  select.value = chosen === null ? "auto" : String(chosen);
}

function offerFullscreen(stage: HTMLElement, video: PhoneVideo): void {
  const button = must<HTMLButtonElement>("#fullscreen");
  button.hidden = !document.fullscreenEnabled && !video.webkitEnterFullscreen;
  button.addEventListener("click", () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (document.fullscreenEnabled) void stage.requestFullscreen();
    else video.webkitEnterFullscreen?.();
  });
  document.addEventListener("fullscreenchange", () => {
    const full = document.fullscreenElement !== null;
    swapIcon(button, full ? "leaveFullscreen" : "fullscreen");
    button.setAttribute("aria-label", t(full ? "leaveFullscreen" : "fullscreen"));
  });
}

function offerPictureInPicture(video: HTMLVideoElement): void {
  const button = must<HTMLButtonElement>("#picture");
  button.hidden = !document.pictureInPictureEnabled;
  button.addEventListener("click", () => {
    if (document.pictureInPictureElement) void document.exitPictureInPicture();
    else void video.requestPictureInPicture().catch(() => undefined);
  });
}

function listenToKeys(actions: { flip: () => void; flipSound: () => void }): void {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const target = event.target as HTMLElement;
    if (target.closest("input, textarea, select, [contenteditable]")) return;
    const key = event.key.toLowerCase();
    // A focused button keeps its own space bar.
    if (key === "k" || (key === " " && !target.closest("button, a"))) actions.flip();
    else if (key === "m") actions.flipSound();
    else if (key === "f") must<HTMLButtonElement>("#fullscreen").click();
    else return;
    event.preventDefault();
  });
}

function fadeAtRest(stage: HTMLElement, video: HTMLVideoElement, flip: () => void): void {
  let timer = 0;
  const wake = (): void => {
    window.clearTimeout(timer);
    delete stage.dataset["rest"];
    timer = window.setTimeout(() => !video.paused && (stage.dataset["rest"] = ""), REST_MS);
  };
  for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) stage.addEventListener(name, wake);
  stage.addEventListener("pointerleave", () => !video.paused && (stage.dataset["rest"] = ""));
  video.addEventListener("play", wake);
  video.addEventListener("pause", wake);
  // With a mouse a click on the picture pauses; a finger's touch only brings the buttons.
  video.addEventListener("click", (event) => (event as PointerEvent).pointerType === "mouse" && flip());
}

function wantsSound(): boolean {
  try {
    return localStorage.getItem(SOUND_KEY) === "on";
  } catch {
    return false;
  }
}

function rememberSound(on: boolean): void {
  try {
    localStorage.setItem(SOUND_KEY, on ? "on" : "off");
  } catch {
    // Only a convenience.
  }
}
