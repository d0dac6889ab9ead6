// One headless Firefox as the distribution has it, steered from Rust over WebDriver BiDi. In: calls that name a page by number, fewer
// than chromium.mjs knows. Out: what the page shows and complained about.
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";
import { serve } from "./lines.mjs";

const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: fileURLToPath(new URL("firefox", import.meta.url)),
  headless: true,
  extraPrefsFirefox: {
    "intl.accept_languages": "en",
    // A camera that changes colour and a microphone that hums, for whoever asks.
    "media.navigator.streams.fake": true,
    "media.navigator.permission.disabled": true,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    // What it would fetch from its makers.
    "media.gmp-manager.updateEnabled": false,
    "app.normandy.enabled": false,
    "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false,
  },
});

const pages = new Map();
let lastPage = 0;

async function open({ url, width = 1280, height = 720, account }) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const log = { errors: [], refused: [], foreign: [], media: [], dialogs: [], blockingReloads: 0 };
  page.on("pageerror", (error) => log.errors.push(`exception: ${error.message}`));
  await page.setViewport({ width, height });
  // The empty page that comes first has no storage.
  const remember = (text) => {
    try {
      localStorage.setItem("chobi.account", text);
    } catch {}
  };
  if (account) await page.evaluateOnNewDocument(remember, JSON.stringify(account));
  await page.goto(url, { waitUntil: "domcontentloaded", timeout: 30_000 });
  pages.set(++lastPage, { page, log, context });
  return lastPage;
}

const at = (number) => {
  const found = pages.get(number);
  if (!found) throw new Error(`page ${number} is not open`);
  return found;
};

/** A page behind another draws nothing, so nothing on it ever comes to rest. */
async function inFront(number) {
  const { page } = at(number);
  await page.bringToFront();
  return page;
}

serve(
  {
    open,
    close: async ({ page }) => {
      await at(page).context.close();
      pages.delete(page);
    },
    /** `data-*` of the document element: what the page says of itself. */
    dataset: ({ page }) => at(page).page.evaluate(() => ({ ...document.documentElement.dataset })),
    evaluate: ({ page, expression }) => at(page).page.evaluate(expression),
    log: ({ page }) => at(page).log,
    say: async ({ page, selector, text }) => {
      await (await inFront(page)).locator(selector).fill(text);
      await at(page).page.keyboard.press("Enter");
    },
    click: async ({ page, selector }) => (await inFront(page)).locator(selector).setTimeout(10_000).click(),
    screenshot: async ({ page, path }) => {
      await at(page).page.screenshot({ path });
    },
  },
  () => browser.close(),
);
