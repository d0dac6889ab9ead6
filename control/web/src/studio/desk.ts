// The buttons under the picture and the settings behind them. In: a host's hands. Out: calls on Capture, `qualityChanged` for the rest.
import { h, must, setText } from "../dom.js";
import { bitrate, number, t } from "../i18n/index.js";
import { swapIcon } from "../ui/icons.js";
import { Capture } from "./capture.js";
import { shortfall, type Device, type Fault } from "./faults.js";
import { BITRATES, LINES, rememberSettings, type Settings } from "./settings.js";

/** The meter falls slower than it rises, as eyes expect of one. */
const METER_FALL = 0.85;

export class Desk {
  readonly #preview = must<HTMLVideoElement>("#preview");
  readonly #microphone = must<HTMLButtonElement>("#microphone");
  readonly #camera = must<HTMLButtonElement>("#camera");
  readonly #screen = must<HTMLButtonElement>("#screen");
  readonly #cameras = must<HTMLSelectElement>("#cameras");
  readonly #microphones = must<HTMLSelectElement>("#microphones");
  readonly capture: Capture;
  #level = 0;

  constructor(
    private readonly settings: Settings,
    onTracks: () => void,
    private readonly onQuality: () => void,
  ) {
    this.capture = new Capture(settings, {
      tracks: () => {
        this.#show();
        onTracks();
      },
      devices: (list) => this.#list(list),
      fault: (device, fault) => this.fault(device, fault),
    });
    this.#microphone.addEventListener("click", () => this.#flipMicrophone());
    this.#camera.addEventListener("click", () => void this.#flipCamera());
    this.#screen.hidden = typeof navigator.mediaDevices?.getDisplayMedia !== "function";
    this.#screen.addEventListener("click", () => void this.#flipScreen());
    this.#cameras.addEventListener("change", () => {
      settings.cameraId = this.#cameras.value || null;
      this.#changed();
      void this.capture.cameraChosen();
    });
    this.#microphones.addEventListener("change", () => {
      settings.microphoneId = this.#microphones.value || null;
      this.#changed();
      void this.capture.microphoneChosen();
    });
    this.#offerQualities();
    this.#preview.addEventListener("resize", () => {
      must<HTMLElement>("#stage").dataset["shape"] = this.#preview.videoHeight > this.#preview.videoWidth ? "tall" : "wide";
    });
    for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, () => this.capture.sound.wake());
  }

  /** Asks for the devices, and shows what came. */
  async open(): Promise<Fault | null> {
    this.fault("camera", null);
    const fault = await this.capture.open();
    if (fault) return fault;
    must<HTMLElement>("#desk").hidden = false;
    this.#measure();
    return null;
  }

  close(): void {
    this.capture.close();
    must<HTMLElement>("#desk").hidden = true;
    this.#preview.srcObject = null;
  }

  fault(device: Device, fault: Fault | null): void {
    const place = must<HTMLElement>("#device-fault");
    place.hidden = fault === null;
    if (fault) setText(place, shortfall(device, fault));
  }

  #flipMicrophone(): void {
    const { sound } = this.capture;
    if (!sound.microphone) return void this.#again(() => this.capture.microphoneChosen());
    sound.mute(!sound.isMuted);
    this.#show();
  }

  async #flipCamera(): Promise<void> {
    if (this.capture.hasCamera) return this.capture.switchCamera(false);
    return this.#again(() => this.capture.switchCamera(true));
  }

  /** A device that failed is tried anew; its fault is told again if it still holds. */
  async #again(work: () => Promise<void>): Promise<void> {
    must<HTMLElement>("#device-fault").hidden = true;
    await work();
  }

  async #flipScreen(): Promise<void> {
    if (this.capture.source === "screen") return this.capture.unshare();
    this.#screen.disabled = true;
    await this.capture.share();
    this.#screen.disabled = false;
  }

  #show(): void {
    const { picture, sound, source, hasCamera } = this.capture;
    const shown = this.#preview.srcObject instanceof MediaStream ? this.#preview.srcObject.getVideoTracks()[0] : undefined;
    if (shown !== (picture ?? undefined)) {
      this.#preview.srcObject = picture ? new MediaStream([picture]) : null;
      if (picture) void this.#preview.play().catch(() => undefined);
    }
    this.#preview.dataset["mirrored"] = String(this.capture.isMirrored);
    document.documentElement.dataset["studioSource"] = picture ? source : "none";
    const silent = sound.isMuted || !sound.microphone;
    toggle(this.#microphone, !silent, silent ? "microphoneOff" : "microphone", t(silent ? "unmuteMicrophone" : "muteMicrophone"));
    toggle(this.#camera, hasCamera, hasCamera ? "camera" : "cameraOff", t(hasCamera ? "turnCameraOff" : "turnCameraOn"));
    toggle(this.#screen, source !== "screen", "screen", t(source === "screen" ? "stopSharing" : "shareScreen"));
    this.#screen.dataset["sharing"] = String(source === "screen");
  }

  /** Names are known only after the person agreed; before that there is one nameless line. */
  #list(list: MediaDeviceInfo[]): void {
    const fill = (select: HTMLSelectElement, kind: MediaDeviceKind, used: string | null, name: (n: string) => string): void => {
      const devices = list.filter((device) => device.kind === kind && device.deviceId !== "");
      const options = devices.map((device, index) => h("option", { value: device.deviceId }, device.label || name(number(index + 1))));
      select.replaceChildren(...(options.length > 0 ? options : [h("option", { value: "" }, t("noDevice"))]));
      select.disabled = options.length === 0;
      if (used && devices.some((device) => device.deviceId === used)) select.value = used;
    };
    fill(this.#cameras, "videoinput", this.capture.cameraId, (n) => t("cameraNumber", { n }));
    const microphoneId = this.capture.sound.microphone?.getSettings().deviceId ?? null;
    fill(this.#microphones, "audioinput", microphoneId, (n) => t("microphoneNumber", { n }));
  }

  #offerQualities(): void {
    const lines = must<HTMLSelectElement>("#lines");
    lines.replaceChildren(...LINES.map((count) => h("option", { value: count }, `${number(count)}p`)));
    lines.value = String(this.settings.lines);
    lines.addEventListener("change", () => {
      this.settings.lines = LINES.find((count) => String(count) === lines.value) ?? this.settings.lines;
      this.#changed();
      void this.capture.cameraChosen().then(this.onQuality);
    });
    const rate = must<HTMLSelectElement>("#bitrate");
    rate.replaceChildren(h("option", { value: "" }, t("automatic")), ...BITRATES.map((bits) => h("option", { value: bits }, bitrate(bits))));
    rate.value = String(this.settings.bitrate ?? "");
    rate.addEventListener("change", () => {
      this.settings.bitrate = rate.value ? Number(rate.value) : null;
      this.#changed();
      this.onQuality();
    });
  }

  #changed(): void {
    rememberSettings(this.settings);
  }

  #measure(): void {
    const { sound } = this.capture;
    if (!this.capture.isOpen) return;
    this.#level = Math.max(sound.level(), this.#level * METER_FALL);
    this.#microphone.style.setProperty("--level", this.#level.toFixed(3));
    document.documentElement.dataset["heard"] = String(this.#level > 0.1);
    window.requestAnimationFrame(() => this.#measure());
  }
}

function toggle(button: HTMLButtonElement, on: boolean, drawing: Parameters<typeof swapIcon>[1], label: string): void {
  swapIcon(button, drawing);
  button.dataset["on"] = String(on);
  button.setAttribute("aria-label", label);
  button.title = label;
}
