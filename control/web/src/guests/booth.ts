// A viewer's way to a place beside the host: ask, be let in, go on air, leave. In: the roster, the viewer's hands. Out: calls of coHosts.*
// and one WHIP publication with the co-host's ticket. Nothing is recorded before the person says so here. Tests read <html data-booth>.
import type { CoHostCard } from "../api/app-router.js";
import { api } from "../api/client.js";
import { wording } from "../api/errors.js";
import { signedInUser } from "../api/tokens.js";
import { h, must, setText } from "../dom.js";
import { t, type TextKey } from "../i18n/index.js";
import { stayAwake } from "../studio/awake.js";
import { Broadcast, type BroadcastState, type Standing as Publishing } from "../studio/broadcast.js";
import { Capture } from "../studio/capture.js";
import { faultText, shortfall, type Fault } from "../studio/faults.js";
import { readSettings } from "../studio/settings.js";
import { swapIcon } from "../ui/icons.js";
import type { Roster } from "./roster.js";

/** After losing its publisher a co-host's broadcast takes a moment to say so. */
const SETTLED_MS = 1500;
/** Tiles are small, and eight publishers share every viewer's network. */
const LINES = 480;

type Place = "none" | "requested" | "invited" | "approved" | "onair";

export class Booth {
  readonly #panel = must<HTMLElement>("#booth");
  readonly #words = must<HTMLElement>("#booth-words");
  readonly #actions = must<HTMLElement>("#booth-actions");
  readonly #fault = must<HTMLElement>("#booth-fault");
  readonly #view = must<HTMLElement>("#booth-view");
  readonly #preview = must<HTMLVideoElement>("#booth-preview");
  readonly #microphone = must<HTMLButtonElement>("#booth-microphone");
  readonly #camera = must<HTMLButtonElement>("#booth-camera");
  readonly #settings = { ...readSettings(), lines: LINES } as const;
  readonly #capture: Capture;
  readonly #broadcast: Broadcast;
  #onAir = false;
  #allowed = false;
  /** A ticket that ran out is replaced once; a second refusal is meant. */
  #renewed = false;

  constructor(
    private readonly sessionId: string,
    private readonly roster: Roster,
    private readonly onChange: () => void,
  ) {
    this.#capture = new Capture({ ...this.#settings }, {
      tracks: () => this.#showTracks(),
      devices: () => undefined,
      fault: (device, fault) => this.#fail(shortfall(device, fault)),
    });
    const tracks = () => ({ picture: this.#capture.picture, sound: this.#capture.sound.track });
    this.#broadcast = new Broadcast(tracks, () => this.#settings, () => this.#standing(), (state) => this.#hear(state));
    this.#microphone.addEventListener("click", () => void this.#flipMicrophone());
    this.#camera.addEventListener("click", () => void this.#capture.switchCamera(!this.#capture.hasCamera));
    must("#booth-leave").addEventListener("click", () => void this.#leave());
  }

  /** Somebody who is shown here and not among the tiles. */
  get self(): string | null {
    return this.#onAir ? (signedInUser()?.id ?? null) : null;
  }

  permit(allowed: boolean): void {
    this.#allowed = allowed;
    this.show();
  }

  show(): void {
    const place = this.#place();
    if (place !== "approved" && place !== "onair" && this.#onAir) this.#stop();
    document.documentElement.dataset["booth"] = place;
    this.#panel.hidden = place === "none" && !this.#allowed;
    this.#panel.dataset["place"] = place;
    this.#view.hidden = place !== "onair";
    setText(this.#words, t(WORDS[place]));
    this.#actions.replaceChildren(...this.#buttons(place));
    const own = this.#card();
    const silent = this.#isSilent();
    swapIcon(this.#microphone, silent ? "microphoneOff" : "microphone");
    this.#microphone.dataset["on"] = String(!silent);
    this.#microphone.disabled = own?.mute === "host";
    this.#microphone.setAttribute("aria-label", t(own?.mute === "host" ? "mutedByHost" : silent ? "unmuteMicrophone" : "muteMicrophone"));
    this.#microphone.title = this.#microphone.getAttribute("aria-label") ?? "";
  }

  /** The show is over. */
  close(): void {
    this.#stop();
    this.#allowed = false;
    this.roster.own = "none";
    this.show();
  }

  #place(): Place {
    switch (this.roster.own) {
      case "approved":
        return this.#onAir ? "onair" : "approved";
      case "requested":
      case "invited":
        return this.roster.own;
      default:
        return "none";
    }
  }

  #buttons(place: Place): HTMLButtonElement[] {
    const { sessionId } = this;
    const button = (label: TextKey, run: () => Promise<void>, quiet = false): HTMLButtonElement =>
      h("button", { type: "button", class: quiet ? "button quiet small" : "button small", onclick: () => void this.#do(run) }, t(label));
    const decline = async (): Promise<void> => void (await api.coHosts.decline.mutate({ sessionId }));
    switch (place) {
      case "none":
        return this.roster.own === "removed" ? [] : [button("askToJoin", async () => void (await api.coHosts.request.mutate({ sessionId })))];
      case "requested":
        return [button("takeBackRequest", decline, true)];
      case "invited":
        return [button("acceptInvitation", () => this.#accept()), button("declineInvitation", decline, true)];
      case "approved":
        return [button("goOnAir", () => this.#goOnAir()), button("giveUpPlace", () => this.#leave(), true)];
      case "onair":
        return [];
    }
  }

  async #do(run: () => Promise<void>): Promise<void> {
    this.#fail("");
    try {
      await run();
    } catch (error) {
      this.#fail(wording(error));
    }
    await this.roster.refresh();
  }

  async #accept(): Promise<void> {
    await api.coHosts.accept.mutate({ sessionId: this.sessionId });
    await this.#goOnAir();
  }

  async #goOnAir(): Promise<void> {
    const fault: Fault | null = Capture.impossible() ?? (await this.#capture.open());
    if (fault) return this.#fail(faultText(fault));
    this.#onAir = true;
    this.#renewed = false;
    try {
      await this.#publish();
    } catch (error) {
      this.#stop();
      throw error;
    }
    this.show();
    this.onChange();
  }

  async #publish(): Promise<void> {
    const { viewerSession } = await api.streaming.joinSession.mutate({ sessionId: this.sessionId, role: "co-host" });
    this.#broadcast.start(viewerSession.token);
  }

  async #leave(): Promise<void> {
    this.#stop();
    await this.#do(async () => void (await api.coHosts.leave.mutate({ sessionId: this.sessionId })));
  }

  #stop(): void {
    if (!this.#onAir) return;
    this.#onAir = false;
    this.#broadcast.end();
    this.#capture.close();
    stayAwake(false);
    this.onChange();
  }

  /** The server let go of us: because somebody sent us away, because it stops, or because another device of ours is on air now; those
   * two would throw each other out for ever. */
  async #standing(): Promise<Publishing> {
    await new Promise((resolve) => window.setTimeout(resolve, SETTLED_MS));
    // A server that has just stopped answers nothing, and what was known of it says nothing.
    if (!(await this.roster.refresh())) return "open";
    if (this.roster.own !== "approved") return "ended";
    return this.#card()?.isLive ? "taken" : "open";
  }

  #card(): CoHostCard | undefined {
    return this.roster.coHosts.find(({ userId }) => userId === signedInUser()?.id);
  }

  #hear(state: BroadcastState): void {
    document.documentElement.dataset["broadcastState"] = state;
    stayAwake(this.#broadcast.isWanted);
    switch (state) {
      case "refused":
        if (this.#renewed) return void this.#giveUp();
        this.#renewed = true;
        return void this.#publish().catch(() => this.#giveUp());
      case "taken":
      case "unfit":
      case "ended":
        return void this.#giveUp();
      case "live":
        this.#renewed = false;
    }
  }

  async #giveUp(): Promise<void> {
    this.#stop();
    await this.roster.refresh();
    this.show();
  }

  /** Here it is silence at once; over the server it is what everybody sees. */
  async #flipMicrophone(): Promise<void> {
    const { sound } = this.#capture;
    if (!sound.microphone) return this.#capture.microphoneChosen();
    const userId = signedInUser()?.id;
    const muted = !this.#isSilent();
    sound.mute(muted);
    this.show();
    if (userId) await this.#do(async () => void (await api.coHosts.mute.mutate({ sessionId: this.sessionId, userId, muted })));
  }

  /** Here, or as everybody else hears it: before a reload they may have muted themselves. */
  #isSilent(): boolean {
    return this.#card()?.isMuted === true || this.#capture.sound.isMuted;
  }

  #showTracks(): void {
    const { picture, hasCamera } = this.#capture;
    this.#preview.srcObject = picture ? new MediaStream([picture]) : null;
    if (picture) void this.#preview.play().catch(() => undefined);
    this.#preview.dataset["mirrored"] = String(this.#capture.isMirrored);
    swapIcon(this.#camera, hasCamera ? "camera" : "cameraOff");
    this.#camera.dataset["on"] = String(hasCamera);
    this.#camera.setAttribute("aria-label", t(hasCamera ? "turnCameraOff" : "turnCameraOn"));
    void this.#broadcast?.tracksChanged();
  }

  #fail(text: string): void {
    this.#fault.hidden = text === "";
    setText(this.#fault, text);
  }
}

const WORDS: Record<Place, TextKey> = {
  none: "boothAsk",
  requested: "boothRequested",
  invited: "boothInvited",
  approved: "boothApproved",
  onair: "boothOnAir",
};
