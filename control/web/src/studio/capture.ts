// The picture and the sound of this browser. In: what the host chose and switched. Out: one picture track and one sound track to send,
// `CaptureListener` hears when either is another one. Driven by desk.ts; W3C Media Capture and Screen Capture.
import { faultOf, type Device, type Fault } from "./faults.js";
import type { Settings } from "./settings.js";
import { slate } from "./slate.js";
import { Sound } from "./sound.js";

export type Source = "camera" | "screen" | "off";
type PictureConstraints = MediaTrackConstraints & { width: ConstrainULong };

export interface CaptureListener {
  /** Other tracks to show and to send. */
  tracks: () => void;
  /** Devices were plugged in or out, or their names became known. */
  devices: (list: MediaDeviceInfo[]) => void;
  /** A device in use failed or was refused. */
  fault: (device: Device, fault: Fault) => void;
}

export class Capture {
  readonly sound = new Sound();
  #camera: MediaStreamTrack | null = null;
  #screen: MediaStreamTrack | null = null;
  #slate: MediaStreamTrack | null = null;
  #cameraWanted = true;
  #opened = false;
  /** One request for devices at a time: two prompts at once confuse people and browsers. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly settings: Settings,
    private readonly on: CaptureListener,
  ) {
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.#onPlug());
  }

  /** Why this page can have no devices at all, whatever the person says. */
  static impossible(): Fault | null {
    if (!window.isSecureContext) return "insecure";
    return typeof navigator.mediaDevices?.getUserMedia === "function" ? null : "unsupported";
  }

  /** Whether asking would go unnoticed, because the answer is known to be yes. */
  static async allowed(): Promise<boolean> {
    return (await permission("camera")) === "granted" && (await permission("microphone")) === "granted";
  }

  get isOpen(): boolean {
    return this.#opened;
  }

  get picture(): MediaStreamTrack | null {
    return this.#screen ?? this.#camera ?? this.#slate;
  }

  get source(): Source {
    return this.#screen ? "screen" : this.#camera ? "camera" : "off";
  }

  get hasCamera(): boolean {
    return this.#camera !== null;
  }

  get cameraId(): string | null {
    return this.#camera?.getSettings().deviceId ?? null;
  }

  /** People look into a front camera as into a mirror. */
  get isMirrored(): boolean {
    return this.source === "camera" && this.#camera?.getSettings().facingMode !== "environment";
  }

  /** Asks for both devices. Null when at least one came; else why none did. What only one of them lacks goes to `fault`. */
  open(): Promise<Fault | null> {
    return this.#turn(async () => {
      if (this.#opened) return null;
      const faults = await this.#openBoth();
      if (faults.camera && faults.microphone) return faults.camera === "missing" ? faults.microphone : faults.camera;
      this.#opened = true;
      if (!this.#camera) this.#fill();
      for (const device of ["camera", "microphone"] as const) {
        const fault = faults[device];
        if (fault) this.on.fault(device, fault);
      }
      this.on.tracks();
      await this.#list();
      return null;
    });
  }

  switchCamera(on: boolean): Promise<void> {
    return this.#turn(async () => {
      this.#cameraWanted = on;
      this.#dropCamera();
      if (on) await this.#openCamera();
      this.#fill();
      this.on.tracks();
    });
  }

  /** The settings name another camera or another size. A phone's two cameras cannot be open at once: the old one goes first. */
  cameraChosen(): Promise<void> {
    return this.#cameraWanted ? this.switchCamera(true) : Promise.resolve();
  }

  microphoneChosen(): Promise<void> {
    return this.#turn(async () => {
      this.sound.drop();
      await this.#openMicrophone();
      this.on.tracks();
      await this.#list();
    });
  }

  /** `false` when the person changed their mind in the browser's own window. */
  async share(): Promise<boolean> {
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: true });
    } catch {
      return false;
    }
    this.unshare();
    const [screen] = stream.getVideoTracks();
    if (!screen) return false;
    // Shows share films and games as often as slides: frames matter more than the last pixel.
    screen.contentHint = "motion";
    screen.addEventListener("ended", () => this.#screen === screen && this.unshare());
    this.#screen = screen;
    this.sound.add(stream.getAudioTracks()[0] ?? null);
    this.on.tracks();
    return true;
  }

  unshare(): void {
    if (!this.#screen) return;
    this.#screen.stop();
    this.#screen = null;
    this.sound.add(null);
    this.#fill();
    this.on.tracks();
  }

  /** Lamps off. */
  close(): void {
    this.#opened = false;
    this.#screen?.stop();
    this.#slate?.stop();
    this.#screen = this.#slate = null;
    this.#dropCamera();
    this.sound.close();
    this.on.tracks();
  }

  #turn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#queue.then(work, work);
    this.#queue = next.catch(() => undefined);
    return next;
  }

  /** Together, so that there is one question. When one of them is the trouble, each gets its own. */
  async #openBoth(): Promise<Record<Device, Fault | null>> {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: this.#pictureWanted(), audio: this.#soundWanted() });
      this.#takeCamera(stream.getVideoTracks()[0] ?? null);
      this.#takeMicrophone(stream.getAudioTracks()[0] ?? null);
      return { camera: null, microphone: null };
    } catch (error) {
      const fault = faultOf(error);
      const refused = fault === "denied" || fault === "system";
      // Whoever said no is not asked again; but a no to one of the two stands for that one alone.
      const mayAsk = async (device: Device): Promise<boolean> => !refused || (await permission(device)) === "granted";
      return {
        camera: (await mayAsk("camera")) ? await this.#openCamera(false) : fault,
        microphone: (await mayAsk("microphone")) ? await this.#openMicrophone(false) : fault,
      };
    }
  }

  async #openCamera(tell = true): Promise<Fault | null> {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: this.#pictureWanted() });
      this.#takeCamera(stream.getVideoTracks()[0] ?? null);
      return null;
    } catch (error) {
      if (tell) this.on.fault("camera", faultOf(error));
      return faultOf(error);
    }
  }

  async #openMicrophone(tell = true): Promise<Fault | null> {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: this.#soundWanted() });
      this.#takeMicrophone(stream.getAudioTracks()[0] ?? null);
      return null;
    } catch (error) {
      if (tell) this.on.fault("microphone", faultOf(error));
      return faultOf(error);
    }
  }

  #takeCamera(camera: MediaStreamTrack | null): void {
    this.#camera = camera;
    if (!camera) return;
    this.#slate?.stop();
    this.#slate = null;
    camera.addEventListener("ended", () => this.#camera === camera && void this.#cameraLost());
  }

  #takeMicrophone(microphone: MediaStreamTrack | null): void {
    this.sound.take(microphone);
    microphone?.addEventListener("ended", () => this.sound.microphone === microphone && void this.microphoneChosen());
  }

  /** Unplugged: any other camera, and the slate where there is none. */
  #cameraLost(): Promise<void> {
    this.settings.cameraId = null;
    return this.switchCamera(true);
  }

  #dropCamera(): void {
    this.#camera?.stop();
    this.#camera = null;
  }

  #fill(): void {
    if (!this.picture && this.#opened) this.#slate = slate();
  }

  #pictureWanted(): PictureConstraints {
    const { cameraId, lines } = this.settings;
    const size = { width: { ideal: Math.round((lines * 16) / 9) }, height: { ideal: lines }, frameRate: { ideal: 30 } };
    // "ideal": a camera that is not there any more is no reason to have none.
    return { ...size, ...(cameraId ? { deviceId: { ideal: cameraId } } : { facingMode: { ideal: "user" } }) };
  }

  #soundWanted(): MediaTrackConstraints {
    const { microphoneId } = this.settings;
    return { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(microphoneId ? { deviceId: { ideal: microphoneId } } : {}) };
  }

  async #list(): Promise<MediaDeviceInfo[]> {
    const list = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    this.on.devices(list);
    return list;
  }

  /** What is plugged in while nothing is there is wanted. */
  async #onPlug(): Promise<void> {
    const list = await this.#list();
    if (!this.#opened) return;
    if (this.#cameraWanted && !this.#camera && list.some((device) => device.kind === "videoinput")) await this.switchCamera(true);
    if (!this.sound.microphone && list.some((device) => device.kind === "audioinput")) await this.microphoneChosen();
  }
}

/** "prompt" where the browser does not tell. */
async function permission(device: Device): Promise<PermissionState> {
  try {
    return (await navigator.permissions.query({ name: device as PermissionName })).state;
  } catch {
    return "prompt";
  }
}
