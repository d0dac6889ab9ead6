// Usage: node playing.mjs PLAYLISTS_FILE. Prints how many of these shows have a segment that ended within the last six seconds.
import { readFileSync } from "node:fs";

const RECENT_MS = 6000;

async function isPlaying(url) {
  const variants = await (await fetch(url)).text();
  const first = variants.split("\n").find((line) => line && !line.startsWith("#"));
  if (!first) return false;
  const lines = (await (await fetch(new URL(first, url))).text()).split("\n");
  const value = (tag) => lines.findLast((line) => line.startsWith(tag))?.slice(tag.length);
  const date = value("#EXT-X-PROGRAM-DATE-TIME:");
  return date !== undefined && Date.now() - Date.parse(date) < RECENT_MS && value("#EXTINF:") !== undefined;
}

const urls = readFileSync(process.argv[2], "utf8").split("\n").filter(Boolean);
const playing = await Promise.all(urls.map((url) => isPlaying(url).catch(() => false)));
console.log(playing.filter(Boolean).length);
