// Broadcasting from the browser: choose a show, look at yourself, go live, see how it fares. In: the host's choices, the session's room.
// Out: one WHIP publication that is kept up, and the end of the show. The parts stand in studio/; here they are put together.
import { api } from "./api/client.js";
import { wording } from "./api/errors.js";
import { onAccountChange, signedInUser } from "./api/tokens.js";
import type { SessionStats } from "./api/app-router.js";
import { must } from "./dom.js";
import { counted, lasting, t } from "./i18n/index.js";
import { Broadcast, type BroadcastState, type Standing } from "./studio/broadcast.js";
import { Capture } from "./studio/capture.js";
import { Card } from "./studio/card.js";
import { Desk } from "./studio/desk.js";
import { faultText, faultTitle, type Fault } from "./studio/faults.js";
import { forget, keep, keptShow, withNewKey, type KeptShow } from "./studio/kept-show.js";
import { OnAir } from "./studio/on-air.js";
import { readSettings } from "./studio/settings.js";
import { startSetup, stopSetup } from "./studio/setup.js";
import { Vitals } from "./studio/vitals.js";
import { stayAwake } from "./studio/awake.js";
import { openAuthDialog } from "./ui/auth-dialog.js";
import { startHeader } from "./ui/header.js";
import { fillIcons } from "./ui/icons.js";
import { HostDesk } from "./guests/host-desk.js";
import { Roster } from "./guests/roster.js";
import { Tiles } from "./guests/tiles.js";
import { Chat } from "./watch/chat.js";
import { showWarning } from "./watch/host.js";
import { Entrance } from "./watch/join.js";
import { Room, type RoomEvent } from "./watch/room.js";

/** Told with `--self-signed`, the server prints an https address that this page may have the camera at. */
const SECURE_COMMAND = "chobi serve --self-signed";

/** After losing its publisher a session takes a moment to say so. */
const SETTLED_MS = 1500;

const settings = readSettings();
const card = new Card();
const impossible = Capture.impossible();
const desk = new Desk(settings, () => void broadcast.tracksChanged(), () => void broadcast.qualityChanged());
const broadcast = new Broadcast(
  () => ({ picture: desk.capture.picture, sound: desk.capture.sound.track }),
  () => settings,
  standing,
  onBroadcast,
);
const vitals = new Vitals(broadcast, () => settings, () => desk.capture.source !== "camera");

let show: KeptShow | null = null;
let onAir: OnAir | null = null;
let room: Room | null = null;
let chat: Chat | null = null;
let roster: Roster | null = null;
let tiles: Tiles | null = null;
let hostDesk: HostDesk | null = null;
let inRoom = false;
let over = false;

function be(state: "gate" | "setup" | "show" | "ended"): void {
  document.documentElement.dataset["studioState"] = state;
}

async function begin(): Promise<void> {
  const user = signedInUser();
  if (!user) {
    be("gate");
    return card.show({ title: t("studioGateTitle"), text: t("studioGateText"), actions: [{ label: t("signIn"), run: () => openAuthDialog("signIn") }] });
  }
  const kept = keptShow();
  if (kept && kept.hostId !== user.id) forget();
  else if (kept) return choose(kept);
  be("setup");
  startSetup({ hostId: user.id, browserCan: impossible === null, devicesReady, chosen: (chosen) => void choose(chosen) });
  if (impossible) return explain(impossible);
  // Whoever agreed before sees themselves at once; others are asked when they say so.
  if (await Capture.allowed()) await devicesReady();
  else invite();
}

function invite(): void {
  card.show({ title: t("devicesTitle"), text: t("devicesText"), actions: [{ label: t("devicesOpen"), run: () => void devicesReady() }] });
}

/** The devices are open, or the card says why not. */
async function devicesReady(): Promise<boolean> {
  if (impossible) return explain(impossible), false;
  if (desk.capture.isOpen) return true;
  card.show({ title: t("askingTitle"), text: t("askingText"), alive: true });
  const fault = await desk.open();
  if (fault) return explain(fault), false;
  card.hide();
  return true;
}

function explain(fault: Fault): void {
  const mend = fault === "insecure" || fault === "unsupported" ? [] : [{ label: t("tryAgain"), run: () => void devicesReady().then((ready) => ready && show && publish()) }];
  card.show({ title: faultTitle(fault), text: faultText(fault), code: fault === "insecure" ? SECURE_COMMAND : "", actions: mend });
  document.documentElement.dataset["studioFault"] = fault;
}

/** A show begins, or goes on after a reload. */
async function choose(chosen: KeptShow): Promise<void> {
  show = chosen;
  keep(chosen);
  stopSetup();
  be("show");
  // A phone was scrolled down to the form; what matters now is the picture.
  window.scrollTo({ top: 0 });
  onAir = new OnAir(chosen, remember, (stats) => finish(stats));
  roster = new Roster(chosen.sessionId, showGuests);
  hostDesk = new HostDesk(chosen.sessionId, roster);
  tiles = new Tiles(admitted(chosen.sessionId), (card) => hostDesk?.tools(card) ?? []);
  const invite = { label: t("inviteGuest"), drawing: "broadcast", run: (userId: string) => hostDesk?.invite(userId) } as const;
  chat = new Chat(chosen.sessionId, () => chosen.hostId, () => openAuthDialog(), invite);
  room = new Room(chosen.sessionId, () => null, hear);
  room.connect();
  if (chosen.by === "encoder") showEncoder("waiting");
  await refresh();
  if (!over && chosen.by === "browser" && (await devicesReady())) publish();
}

/** A private show opens its co-hosts to its host by a ticket as to everybody else. Tiles ask again for one that could not be had. */
function admitted(sessionId: string): Entrance {
  const entrance = new Entrance(sessionId);
  void entrance.join().catch(() => null);
  return entrance;
}

/** A key that was made later is the one to go on with, wherever it is shown. */
function remember(renewed: KeptShow): void {
  show = renewed;
  keep(renewed);
  onAir?.update(renewed);
}

function publish(): void {
  if (!show || over) return;
  remember({ ...show, by: "browser" });
  if (show.streamKey) broadcast.start(show.streamKey);
  else void takeBack();
}

/** Only a new key gives the show back to whom it was taken from: the old one would let the other one in as well. */
async function takeBack(): Promise<void> {
  if (!show) return;
  try {
    remember(await withNewKey(show));
    if (await devicesReady()) publish();
  } catch (error) {
    card.show({ title: t("brokenTitle"), text: wording(error), actions: [{ label: t("tryAgain"), run: () => void takeBack() }] });
  }
}

/** How the session stands, for a broadcast whose connection the server has closed. A server that stops closes the room as well; one
 * that lives on had a reason. */
async function standing(): Promise<Standing> {
  await new Promise((resolve) => window.setTimeout(resolve, SETTLED_MS));
  if (!show || !inRoom) return "open";
  const { status, isInterrupted } = await api.streaming.getSession.query({ sessionId: show.sessionId });
  return status === "ended" ? "ended" : status === "live" && !isInterrupted ? "taken" : "open";
}

function onBroadcast(state: BroadcastState): void {
  document.documentElement.dataset["broadcastState"] = state;
  stayAwake(broadcast.isWanted);
  vitals.show();
  switch (state) {
    case "live":
      void refresh();
      return card.hide();
    case "connecting":
      return card.show({ title: t("connectingTitle"), alive: true });
    case "reconnecting":
      return card.show({ title: t("healthReconnecting"), text: t("adviceReconnecting"), alive: true });
    case "taken":
    case "refused":
      return card.show({ title: t("takenTitle"), text: t(state === "taken" ? "takenText" : "refusedText"), actions: [{ label: t("takeBack"), run: () => void takeBack() }] });
    case "unfit":
      return card.show({ title: t("unfitTitle"), text: t("unfitText"), actions: [{ label: t("tryAgain"), run: publish }] });
    case "ended":
      return void refusedAsEnded();
  }
}

/** Only the session itself says that it is over. */
async function refusedAsEnded(): Promise<void> {
  if (!over) await refresh();
  if (!over) card.show({ title: t("brokenTitle"), actions: [{ label: t("tryAgain"), run: publish }] });
}

function hear(event: RoomEvent): void {
  switch (event.kind) {
    case "joined":
      inRoom = true;
      chat?.connected();
      if (!event.recovered) void chat?.refresh();
      void roster?.refresh();
      return event.status === "ended" ? finish(null) : void refresh();
    case "lost":
      inRoom = false;
      return chat?.lost();
    case "viewers":
      return onAir?.setViewers(event.count);
    case "message":
      return chat?.receive(event.message);
    case "status":
      return void refresh();
    case "coHosts":
      return roster?.hear(event.coHosts, true);
    case "speaker":
      return tiles?.speaks(event.userId);
    case "coHostNews":
      return void roster?.refresh();
    case "warning":
      return showWarning(event.code);
    case "ended":
      return finish(null);
  }
}

function showGuests(): void {
  if (over || !roster) return;
  hostDesk?.show();
  tiles?.show(roster.coHosts, null);
}

async function refresh(): Promise<void> {
  const status = await onAir?.refresh().catch(() => null);
  if (over) return;
  if (status === "ended") return finish(null);
  document.documentElement.dataset["showStatus"] = status ?? "";
  if (status && show?.by === "encoder" && !broadcast.isWanted) showEncoder(status);
}

function showEncoder(status: "waiting" | "live"): void {
  const here = { label: t("continueHere"), run: () => void devicesReady().then((ready) => ready && publish()), quiet: true };
  card.show({
    title: t(status === "live" ? "encoderLiveTitle" : "encoderWaitingTitle"), text: t(status === "live" ? "encoderLiveText" : "encoderWaitingText"),
    alive: true, actions: impossible ? [] : [here],
  });
}

/** Over for good. `stats` are at hand for whoever ended it; they are the same for everybody who asks later. */
function finish(stats: SessionStats | null): void {
  if (over || !show) return;
  over = true;
  const { sessionId } = show;
  forget();
  broadcast.end();
  desk.close();
  chat?.close();
  room?.stop();
  tiles?.close();
  hostDesk?.close();
  be("ended");
  must<HTMLElement>("#on-air").hidden = true;
  const again = { label: t("newShow"), run: () => location.assign("/studio") };
  const tell = (figures: SessionStats | null): void => card.show({ title: t("endedTitle"), text: figures ? summary(figures) : "", actions: [again] });
  tell(stats);
  if (!stats) void api.streaming.endSession.mutate({ sessionId }).then((answer) => tell(answer.stats)).catch(() => undefined);
}

function summary({ duration, totalViewers, peakViewers }: SessionStats): string {
  const seen = totalViewers > 0 ? [counted("viewers", totalViewers), t("peakViewers", { n: counted("viewers", peakViewers) })] : [];
  const parts = [lasting(duration * 1000), ...seen];
  return parts.filter((part) => part !== null).join(" · ");
}

fillIcons();
startHeader();
// Somebody else is here now, or nobody: their show is not this one's.
onAccountChange((user) => {
  if (show && user?.id === show.hostId) return;
  if (!user) forget();
  if (show || document.documentElement.dataset["studioState"] === "setup") location.reload();
  else void begin();
});
window.addEventListener("beforeunload", (event) => {
  if (!broadcast.isWanted) return;
  event.preventDefault();
  // Safari and older Chromium ask only when this is set.
  event.returnValue = true;
});
void begin();
