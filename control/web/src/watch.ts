// One show: the picture, its state and the conversation. In: the session id in the address. The room tells how the session stands,
// joining gives the playlist; what may yet succeed (a show to come, a full house, a server that restarts) is tried again.
import { codeOf, reasonOf, wording } from "./api/errors.js";
import { onAccountChange, signedInUser } from "./api/tokens.js";
import { must } from "./dom.js";
import { t } from "./i18n/index.js";
import { openAuthDialog } from "./ui/auth-dialog.js";
import { startHeader } from "./ui/header.js";
import { fillIcons } from "./ui/icons.js";
import { Booth } from "./guests/booth.js";
import { Roster } from "./guests/roster.js";
import { Tiles } from "./guests/tiles.js";
import { Chat } from "./watch/chat.js";
import { startControls } from "./watch/controls.js";
import { showHostTools, showWarning } from "./watch/host.js";
import { Info } from "./watch/info.js";
import { Entrance } from "./watch/join.js";
import { Player, type PlayerState } from "./watch/player.js";
import { QualityChoice } from "./watch/quality-choice.js";
import { offerReplay, Replay } from "./watch/replay.js";
import { Rewind } from "./watch/rewind.js";
import { Room, type RoomEvent, type SessionStatus } from "./watch/room.js";
import { StatusCard } from "./watch/status.js";

const FULL_RETRY_MS = 10_000;
const OFFLINE_RETRY_MS = 3000;
/** A network that lets no socket through must not keep anybody from the picture. */
const ROOM_PATIENCE_MS = 2500;
/** How often a show to come is asked for although the room would tell of it. */
const WAITING_RETRY_MS = 20_000;

const sessionId = decodeURIComponent(location.pathname.replace(/^\/watch\//, "").replace(/\/$/, ""));
const status = new StatusCard();
const info = new Info(sessionId, (seconds, startedAt) => rewind.allow(seconds, startedAt));
const chat = new Chat(sessionId, () => info.hostId, () => openAuthDialog());
const entrance = new Entrance(sessionId);
let retry = 0;

const roster = new Roster(sessionId, () => showGuests());
const tiles = new Tiles(entrance, undefined, must<HTMLVideoElement>("#video"));
const booth = new Booth(sessionId, roster, () => tiles.show(roster.coHosts, booth.self));
/** One for the live picture and the replay that may follow it. */
const quality = new QualityChoice();
const player = new Player(must("#video"), showPlayer, (qualities, chosen) => controls.setQualities(qualities, chosen), quality);
const rewind = new Rewind(player);
const controls = startControls(player, (level) => replay.chooseQuality(level));
const replay = new Replay(sessionId, must("#video"), chat, status, {
  onBegin: () => player.end(),
  onPrivate: showPrivate,
  onQualities: (qualities, chosen) => controls.setQualities(qualities, chosen),
}, quality);
const room = new Room(sessionId, () => entrance.ticket, hear);

function hear(event: RoomEvent): void {
  switch (event.kind) {
    case "joined":
      chat.connected();
      if (!event.recovered && event.status !== "ended") void chat.refresh();
      void roster.refresh();
      return void stand(event.status);
    case "refused":
      return refuse(event.code, event.reason);
    case "lost":
      return chat.lost();
    case "viewers":
      return info.setViewers(event.count);
    case "message":
      return chat.receive(event.message);
    case "status":
      return void (event.live && stand("live"));
    case "coHosts":
      return roster.hear(event.coHosts, entrance.now?.isHost === true);
    case "speaker":
      return tiles.speaks(event.userId);
    case "coHostNews":
      return void roster.refresh();
    case "warning":
      return showWarning(event.code);
    case "ended":
      return finish();
  }
}

/** Acts on how the session stands, as the room tells it. */
async function stand(now: SessionStatus): Promise<void> {
  if (now === "ended") return finish();
  window.clearTimeout(retry);
  let joined;
  try {
    joined = await entrance.join();
  } catch (error) {
    return refuse(codeOf(error), reasonOf(error), wording(error));
  }
  chat.permit(joined.mayChat);
  booth.permit(joined.mayCoHost);
  if (joined.isHost) showHostTools(sessionId);
  if (now === "waiting" && !player.isLoaded) {
    setState("waiting", () => status.show("waiting"));
    again(WAITING_RETRY_MS);
  } else if (player.isLoaded) player.wake();
  else await player.load({ url: joined.playbackUrl, whepUrl: `/whep/${encodeURIComponent(sessionId)}`, entrance, hasBegun: now === "live" });
}

function again(afterMs: number): void {
  window.clearTimeout(retry);
  retry = window.setTimeout(() => void stand("live"), afterMs);
}

/** Some refusals pass; those are asked again. */
function refuse(code: string | null, reason: string | null, said?: string): void {
  if (player.isLoaded) return;
  window.clearTimeout(retry);
  switch (code) {
    case "NOT_FOUND":
    case "BAD_REQUEST":
      if (reason === "session_over") return finish();
      chat.close();
      room.stop();
      return setState("notfound", () => status.show("notFound"));
    case "UNAUTHORIZED":
    case "FORBIDDEN":
      return showPrivate();
    case "PRECONDITION_FAILED":
      setState("full", () => status.show("full", said));
      return again(FULL_RETRY_MS);
    default:
      setState("offline", () => status.show("offline", code === null ? undefined : said));
      again(OFFLINE_RETRY_MS);
  }
}

function showGuests(): void {
  booth.show();
  tiles.show(roster.coHosts, booth.self);
}

function finish(): void {
  booth.close();
  tiles.close();
  window.clearTimeout(retry);
  player.expectEnd();
  chat.close();
  room.stop();
  // Who comes after the end came for the replay; who was there is asked first.
  if (!player.isLoaded) void replay.begin();
}

function showPrivate(): void {
  const signIn = signedInUser() ? undefined : { label: t("signIn"), run: () => openAuthDialog() };
  setState("private", () => status.show("private", signIn ? t("privateSignIn") : undefined, signIn));
}

function setState(name: string, show: () => void): void {
  document.documentElement.dataset["playerState"] = name;
  show();
}

function showPlayer(state: PlayerState): void {
  // A show is listed once it is live; before that there was nothing to tell about it.
  if (state === "playing" && info.hostId === null) void info.start();
  switch (state) {
    case "playing":
    case "paused":
    case "blocked":
    case "buffering":
      return status.hide();
    case "private":
      return showPrivate();
    case "ended":
      finish();
      return replay.hasBegun ? undefined : void offerReplay(sessionId, replay, status);
    default:
      return status.show(state);
  }
}

fillIcons();
startHeader();
setState("loading", () => status.show("loading"));
onAccountChange(() => {
  // Somebody else is looking now: permissions differ, and a private show may open.
  entrance.forget();
  chat.accountChanged();
  booth.close();
  room.rejoin();
  if (!player.isLoaded) again(ROOM_PATIENCE_MS);
});
room.connect();
void info.start();
again(ROOM_PATIENCE_MS);
