// Usage: node recording.mjs BASE CLIP SECONDS DIR. Has a show published for a while and ended; writes its replay into a directory, in
// the tree that a server of files can serve under the same paths. Prints the path of the replay's playlist.
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { call } from "../api.mjs";

const [base, clip, seconds, dir] = process.argv.slice(2);
const mutate = call(base);
const ENDED_WITHIN_MS = 20_000;

/** Reads a file and keeps it under its own path. */
async function keep(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  const file = join(dir, new URL(url).pathname);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  return bytes.toString("latin1");
}

/** Every address that a playlist names. */
function names(text, url) {
  const lines = text.split("\n").filter((line) => line && !line.startsWith("#"));
  const quoted = [...text.matchAll(/URI="([^"]+)"/g)].map(([, name]) => name);
  return [...new Set([...lines, ...quoted])].map((name) => new URL(name, url).href);
}

const { accessToken } = await mutate("auth.register", {
  name: "bench",
  username: "bench",
  email: "bench@example.org",
  password: "correct horse battery",
});
const { session } = await mutate("streaming.createSession", { title: "Recorded", type: "video" }, accessToken);
const target = `${session.rtmpUrl}/${session.streamKey}`;
const arguments_ = ["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", clip, "-t", seconds, "-c", "copy", "-f", "flv", target];
const ffmpeg = spawn("ffmpeg", arguments_, { stdio: ["ignore", "inherit", "inherit"] });
const code = await new Promise((resolve) => ffmpeg.on("close", resolve));
if (code !== 0) throw new Error(`ffmpeg ended with ${code}`);
await mutate("streaming.endSession", { sessionId: session.id }, accessToken);

const playlist = `${base}/hls/${session.id}/replay/index.m3u8`;
const deadline = Date.now() + ENDED_WITHIN_MS;
while (!(await fetch(playlist)).ok) {
  if (Date.now() > deadline) throw new Error("there is no replay");
  await new Promise((resolve) => setTimeout(resolve, 100));
}
for (const rendition of names(await keep(playlist), playlist)) {
  for (const media of names(await keep(rendition), rendition)) await keep(media);
}
console.log(new URL(playlist).pathname);
