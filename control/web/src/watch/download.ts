// Taking a replay home. In: a video that plays. Out: a button for those who may, which has the file prepared, says how far that is,
// and hands it to the browser. Tests and style sheets read data-state on the button.
import type { VideoItem } from "../api/app-router.js";
import { api } from "../api/client.js";
import { wording } from "../api/errors.js";
import { signedInUser } from "../api/tokens.js";
import { h, must, setText } from "../dom.js";
import { percent, t } from "../i18n/index.js";

/** How often it is asked how far the file is. */
const ASK_EVERY_MS = 1000;
/** Questions in a row that nobody answers before it has failed. */
const SILENCE_MAX = 10;
const SHOW_FAILURE_MS = 6000;

type Progress = { state: "ready" } | { state: "preparing"; done: number } | { state: "failed" | "gone" };

const button = (): HTMLButtonElement => must("#download");
const label = (): HTMLElement => must("#download-label");

/** Shows the button, if this person may have the file. */
export function offerDownload(video: VideoItem): void {
  const may = video.allowDownload || signedInUser()?.id === video.userId;
  button().hidden = !may;
  button().onclick = may ? () => void download(video.id) : null;
}

async function download(videoId: string): Promise<void> {
  if (button().dataset["state"] === "preparing") return;
  say("preparing", t("downloadPreparing", { done: percent(0) }));
  try {
    const { downloadUrl } = await api.videos.downloadVideo.mutate({ videoId });
    // Whatever name it goes by elsewhere, this page came from the same server.
    const { pathname, search } = new URL(downloadUrl, location.href);
    if (!(await isPrepared(pathname.replace(/\.mp4$/, ".json") + search))) return fail(t("downloadFailed"));
    h("a", { href: pathname + search, download: "" }).click();
    say("ready", t("download"));
  } catch (error) {
    fail(wording(error));
  }
}

async function isPrepared(progressUrl: string): Promise<boolean> {
  let silent = 0;
  while (silent < SILENCE_MAX) {
    const progress = await ask(progressUrl);
    silent = progress ? 0 : silent + 1;
    if (progress?.state === "ready") return true;
    if (progress && progress.state !== "preparing") return false;
    if (progress) say("preparing", t("downloadPreparing", { done: percent(progress.done) }));
    await new Promise((resolve) => window.setTimeout(resolve, ASK_EVERY_MS));
  }
  return false;
}

async function ask(url: string): Promise<Progress | null> {
  const answer = await fetch(url, { cache: "no-store" }).catch(() => null);
  return answer?.ok ? ((await answer.json()) as Progress) : null;
}

function fail(reason: string): void {
  say("failed", reason);
  window.setTimeout(() => button().dataset["state"] === "failed" && say(null, t("download")), SHOW_FAILURE_MS);
}

function say(state: "preparing" | "ready" | "failed" | null, text: string): void {
  if (state) button().dataset["state"] = state;
  else delete button().dataset["state"];
  button().setAttribute("aria-busy", String(state === "preparing"));
  setText(label(), text);
}
