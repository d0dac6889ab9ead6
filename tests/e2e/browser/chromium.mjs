// One headless Chromium, steered from Rust. In: calls that name a page by number. Out: what the page shows, asked for and complained about.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { serve } from "./lines.mjs";
import { installClockReader } from "./clock.mjs";
import { play } from "./players.mjs";

/** Undefined lets playwright-core use the one it fetched for itself. `.ci/browser` looks in the same places. */
const executablePath = [process.env.CHOBI_TEST_CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"].find((p) => p && existsSync(p));

const browser = await chromium.launch({
  ...(executablePath ? { executablePath } : {}),
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A page that is not in front must play on: tests open more than one.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--autoplay-policy=no-user-gesture-required",
    // A camera with a moving picture and a microphone that beeps. Who may use them is another matter: see `devices` below.
    "--use-fake-device-for-media-stream",
    // A name that is not localhost: browsers then see what they see on a LAN, a page that is not secure.
    "--host-resolver-rules=MAP lan.test 127.0.0.1",
    // The default 64 MiB of /dev/shm in containers is too small for video.
    "--disable-dev-shm-usage",
  ],
});

const pages = new Map();
let lastPage = 0;

const LOADING = /^Failed to load resource/;

/** What a person with the developer tools open would see in red. */
function watch(page, log) {
  page.on("console", (message) => {
    // The network log names these better, with status and address.
    if (message.type() === "error" && !LOADING.test(message.text())) log.errors.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => log.errors.push(`exception: ${error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400) log.refused.push(`${response.status()} ${response.url()}`);
  });
  page.on("dialog", (dialog) => {
    log.dialogs.push(dialog.type());
    void dialog.accept();
  });
  page.on("request", (request) => {
    const url = request.url();
    log.requests += 1;
    if (url.includes("_HLS_msn=")) log.blockingReloads += 1;
    if (/\.m4s(\?|$)/.test(url)) log.media.push(new URL(url).pathname);
    if (!url.startsWith(log.origin) && !/^(blob|data):/.test(url)) log.foreign.push(url);
  });
}

/** `devices`: the person has allowed the camera and the microphone, or refuses them. */
async function open({ url, lang, width = 1280, height = 720, account, devices }) {
  const context = await browser.newContext({
    viewport: { width, height },
    ...(lang ? { locale: lang } : {}),
    ...(devices ? { permissions: ["camera", "microphone"] } : {}),
    ...(width < 600 ? { isMobile: true, hasTouch: true } : {}),
  });
  if (account) {
    await context.addInitScript((text) => localStorage.setItem("chobi.account", text), JSON.stringify(account));
  }
  const page = await context.newPage();
  const log = { origin: new URL(url).origin, errors: [], refused: [], foreign: [], media: [], dialogs: [], requests: 0, blockingReloads: 0 };
  watch(page, log);
  pages.set(++lastPage, { page, log });
  await page.goto(url, { waitUntil: "domcontentloaded", timeout: 30_000 });
  return lastPage;
}

const at = (number) => {
  const found = pages.get(number);
  if (!found) throw new Error(`page ${number} is not open`);
  return found;
};

serve(
  {
    open,
    close: async ({ page }) => {
      await at(page).page.context().close();
      pages.delete(page);
    },
    /** `data-*` of the document element: what the page says of itself. */
    dataset: ({ page }) => at(page).page.evaluate(() => ({ ...document.documentElement.dataset })),
    evaluate: ({ page, expression }) => at(page).page.evaluate(expression),
    log: ({ page }) => at(page).log,
    say: async ({ page, selector, text }) => {
      const field = at(page).page.locator(selector);
      await field.fill(text, { timeout: 10_000 });
      await field.press("Enter");
    },
    /** A real click: the page knows that a person was there. */
    click: ({ page, selector }) => at(page).page.locator(selector).click({ timeout: 10_000 }),
    /** Takes an entry of a menu by its value. */
    choose: ({ page, selector, value }) => at(page).page.locator(selector).selectOption(value, { timeout: 10_000 }),
    /** Clicks on what begins a download, keeps the file, and answers what it is called. */
    download: async ({ page, selector, path }) => {
      const { page: shown } = at(page);
      const begun = shown.waitForEvent("download", { timeout: 30_000 });
      await shown.locator(selector).click({ timeout: 10_000 });
      const download = await begun;
      await download.saveAs(path);
      return download.suggestedFilename();
    },
    /** The mouse comes to rest at a share of an element's width. */
    hover: async ({ page, selector, share }) => {
      const element = at(page).page.locator(selector);
      const { width, height } = await element.boundingBox();
      await element.hover({ position: { x: width * share, y: height / 2 }, timeout: 10_000 });
    },
    reload: async ({ page }) => {
      await at(page).page.reload({ waitUntil: "domcontentloaded", timeout: 30_000 });
    },
    screenshot: async ({ page, path }) => {
      const { page: shown } = at(page);
      await shown.evaluate(() => document.fonts.ready.then(() => undefined));
      await shown.screenshot({ path, animations: "disabled", timeout: 30_000 });
    },
    play: (args) => play(browser, args),
    startClockReader: ({ page }) => at(page).page.evaluate(installClockReader),
    /** Delays in ms of the frames shown since the last call. */
    clockReadings: ({ page }) => at(page).page.evaluate(() => globalThis.clockReadings.splice(0)),
  },
  () => browser.close(),
);
