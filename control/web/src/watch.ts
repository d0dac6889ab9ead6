// One show: the picture, its state and the conversation. In: the session id in the address. Joins it, and keeps trying what may yet
// succeed: a show that has not begun, a full house, a server that restarts.
import { onAccountChange, signedInUser } from "./api/tokens.js";
import { codeOf, reasonOf, wording } from "./api/errors.js";
import { must } from "./dom.js";
import { t } from "./i18n/index.js";
import { openAuthDialog } from "./ui/auth-dialog.js";
import { startHeader } from "./ui/header.js";
import { fillIcons } from "./ui/icons.js";
import { Chat } from "./watch/chat.js";
import { startControls } from "./watch/controls.js";
import { Info } from "./watch/info.js";
import { join, type Joined } from "./watch/join.js";
import { Player, type PlayerState } from "./watch/player.js";
import { Room } from "./watch/room.js";
import { StatusCard } from "./watch/status.js";

const FULL_RETRY_MS = 10_000;
const OFFLINE_RETRY_MS = 3000;

const sessionId = decodeURIComponent(location.pathname.replace(/^\/watch\//, "").replace(/\/$/, ""));
const status = new StatusCard();
const info = new Info(sessionId);
const chat = new Chat(sessionId, () => info.hostId, () => openAuthDialog());
let joined: Joined | null = null;
let retry = 0;

const player = new Player(must("#video"), showPlayer, (qualities) => controls.setQualities(qualities));
const controls = startControls(player);
const room = new Room(sessionId, () => joined?.ticket ?? null, (event) => {
  switch (event.kind) {
    case "open":
      chat.connected();
      if (event.again) void chat.refresh();
      break;
    case "lost":
      chat.lost();
      break;
    case "viewers":
      info.setViewers(event.count);
      break;
    case "message":
      chat.receive(event.message);
      break;
    case "status":
      if (event.live) player.wake();
      break;
    case "ended":
      player.expectEnd();
      chat.close();
      room.stop();
      break;
  }
});

async function enter(): Promise<void> {
  window.clearTimeout(retry);
  try {
    joined = await join(sessionId);
  } catch (error) {
    return refuse(error);
  }
  chat.permit(joined.mayChat);
  room.connect();
  void chat.refresh();
  void info.start();
  await player.load({ url: joined.playbackUrl, ticket: joined.ticket });
}

/** Joining was refused. Some refusals pass; those are asked again. */
function refuse(error: unknown): void {
  const again = (ms: number): void => void (retry = window.setTimeout(() => void enter(), ms));
  switch (codeOf(error)) {
    case "NOT_FOUND":
    case "BAD_REQUEST":
      chat.close();
      if (reasonOf(error) === "session_over") return setState("ended", () => status.show("ended"));
      return setState("notfound", () => status.show("notFound"));
    case "UNAUTHORIZED":
    case "FORBIDDEN":
      return showPrivate();
    case "PRECONDITION_FAILED":
      setState("full", () => status.show("full", wording(error)));
      return again(FULL_RETRY_MS);
    default:
      setState("offline", () => status.show("offline", codeOf(error) === null ? undefined : wording(error)));
      again(OFFLINE_RETRY_MS);
  }
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
      status.hide();
      break;
    case "private":
      showPrivate();
      break;
    case "ended":
      chat.close();
      status.show("ended");
      break;
    default:
      status.show(state);
  }
}

fillIcons();
startHeader();
setState("loading", () => status.show("loading"));
onAccountChange(() => {
  chat.accountChanged();
  room.rejoin();
  // Somebody else is looking now: permissions differ, and a private show may open.
  if (document.documentElement.dataset["playerState"] === "private") void enter();
  else void join(sessionId).then((fresh) => chat.permit((joined = fresh).mayChat), () => undefined);
});
void enter();
