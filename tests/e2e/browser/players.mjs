// Players of other people, in an empty page: what they make of a playlist. In: an address, a player, places to seek to. Out: how long the
// player says it is, and for every place where the picture stood and went on.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const SCRIPTS = {
  "hls.js": () => require.resolve("hls.js/dist/hls.min.js"),
  shaka: () => require.resolve("shaka-player/dist/shaka-player.compiled.js"),
};

export async function play(browser, { url, player, seeks }) {
  const context = await browser.newContext({ viewport: { width: 640, height: 360 } });
  try {
    const page = await context.newPage();
    await page.setContent("<!doctype html><video muted playsinline width=640></video>");
    await page.addScriptTag({ path: SCRIPTS[player]() });
    return await page.evaluate(watch, { url, player, seeks });
  } finally {
    await context.close();
  }
}

/** Runs in the page. Seeks are shares of what can be played, 0 to 1. */
async function watch({ url, player, seeks }) {
  const WAIT_MS = 20_000;
  const video = document.querySelector("video");
  const errors = [];

  const until = async (what, holds) => {
    const deadline = performance.now() + WAIT_MS;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`${player} waited for ${what}; at ${video.currentTime} of ${video.duration}, ready ${video.readyState}; ${errors.join("; ")}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
  /** The picture moves and new frames are drawn. */
  const goesOn = async (what) => {
    const [from, drawn] = [video.currentTime, frames()];
    await until(what, () => video.currentTime > from + 0.4 && frames() > drawn + 5);
  };

  if (player === "shaka") {
    shaka.polyfill.installAll();
    const shown = new shaka.Player();
    await shown.attach(video);
    shown.addEventListener("error", ({ detail }) => errors.push(`shaka ${detail.code}: ${detail.data}`));
    await shown.load(url).catch((error) => {
      throw new Error(`shaka ${error.code}: ${error.data}`);
    });
  } else {
    const shown = new Hls({ enableWorker: false });
    shown.on(Hls.Events.ERROR, (_, { fatal, details }) => fatal && errors.push(`hls.js ${details}`));
    shown.loadSource(url);
    shown.attachMedia(video);
  }
  await until("something to play", () => video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA);
  await video.play();
  await goesOn("the first picture");
  const reached = [];
  for (const share of seeks) {
    const { seekable } = video;
    const [first, last] = [seekable.start(0), seekable.end(seekable.length - 1)];
    const asked = first + share * (last - first);
    video.currentTime = asked;
    await until(`the picture at ${asked}`, () => !video.seeking && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA);
    await video.play();
    const stood = video.currentTime;
    await goesOn(`the picture to go on from ${asked}`);
    reached.push({ asked, stood });
  }
  return { duration: Number.isFinite(video.duration) ? video.duration : null, seekable: video.seekable.end(video.seekable.length - 1) - video.seekable.start(0), reached, errors };
}
