// Usage: node benches/upload/kills.mjs          (or: make bench-kills)
// Ends the server with SIGKILL, ROUNDS times (100), each at a random moment of one show that goes on to a bucket; starts it again over the
// same data each time. Meanwhile it reads the show's playlists as players do, the low-latency ones of the server and the ordinary ones of
// the bucket, and remembers every segment they name. Then the show ends, and each segment that a bucket's playlist ever named must be in
// the recording there, no gap, and its bytes too. Told beside it: how many that only the server had named, from memory, are gaps.
// The bucket is moto's S3. Loopback only; ends what it started and nothing else.
import { spawn } from "node:child_process";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { call } from "../api.mjs";

const { env } = process;
const ROUNDS = Number(env.ROUNDS ?? 100);
const CHOBI = env.CHOBI ?? `${env.CARGO_TARGET_DIR ?? "target"}/release/chobi`;
const PYTHON = env.PYTHON ?? "target/tools/venv/bin/python";
const [RTMP, HTTP, OPS, S3] = [21937, 23002, 29092, 23902];
const RENDITIONS = ["v0", "a0"];
const scratch = mkdtempSync(join(tmpdir(), "chobi-kills-"));
const running = new Set();

function start(name, command, args, extra = {}) {
  const child = spawn(command, args, { env: { PATH: env.PATH, ...extra }, stdio: ["ignore", "pipe", "pipe"] });
  const log = createWriteStream(join(scratch, `${name}.log`), { flags: "a" });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  running.add(child);
  child.over = new Promise((resolve) => child.once("exit", () => (running.delete(child), resolve())));
  return child;
}
async function kill(child, signal) {
  child.kill(signal);
  await child.over;
}
const listens = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => (socket.destroy(), resolve(true))).once("error", () => resolve(false));
  });
async function until(what, seconds, condition) {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(20)) {
    if (await condition()) return;
  }
  throw new Error(`waited in vain for ${what}; logs lie in ${scratch}`);
}
/** moto wants to see that somebody asks, and does not ask who. */
const get = (url) => fetch(url, { headers: { authorization: "AWS AKIDEXAMPLE:of-no-use" }, signal: AbortSignal.timeout(5000) });
async function text(url) {
  const answer = await get(url).catch(() => null);
  return answer?.ok ? await answer.text() : (await answer?.body?.cancel(), null);
}
/** The segments that a media playlist names, gaps aside. */
function named(playlist) {
  const lines = playlist.split("\n");
  return lines.filter((line, at) => /^\d+\/\d+\.m4s$/.test(line) && !lines.slice(Math.max(0, at - 4), at).includes("#EXT-X-GAP"));
}

async function server() {
  const settings = {
    CHOBI_HTTP__LISTEN: `127.0.0.1:${HTTP}`, CHOBI_RTMP__LISTEN: `127.0.0.1:${RTMP}`, CHOBI_OPS__LISTEN: `127.0.0.1:${OPS}`,
    CHOBI_WEBRTC__LISTEN: "127.0.0.1:0", CHOBI_DATA_DIR: join(scratch, "data"), CHOBI_HLS__SEGMENT_DURATION: "1s",
    S3_BUCKET: "kills", AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${S3}`, AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "of-no-use",
  };
  const child = start("chobi", CHOBI, ["serve"], settings);
  await until("the server", 30, async () => (await listens(HTTP)) && listens(RTMP));
  return child;
}
const publish = (url) =>
  start("publisher", "ffmpeg", ["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30",
    "-f", "lavfi", "-i", "sine=frequency=300:sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
    "-g", "30", "-c:a", "aac", "-f", "flv", url]);

async function run() {
  const moto = start("moto", PYTHON, ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(S3)]);
  await until("moto", 60, () => listens(S3));
  const bucket = `http://127.0.0.1:${S3}/kills`;
  await (await fetch(bucket, { method: "PUT" })).text();
  let chobi = await server();
  const mutate = call(`http://127.0.0.1:${HTTP}`);
  const host = { name: "host", username: "host", email: "host@example.org", password: "correct horse battery" };
  const { accessToken: token } = await mutate("auth.register", host);
  const { session } = await mutate("streaming.createSession", { title: "A hundred lives", type: "video" }, token);
  const [ours, theirs] = [`http://127.0.0.1:${HTTP}/hls/${session.id}`, `${bucket}/${session.id}`];

  const seen = { bucket: new Set(), server: new Set() };
  const look = async (root, into) => {
    for (const rendition of RENDITIONS) {
      const playlist = await text(`${root}/${rendition}/index.m3u8`);
      for (const segment of playlist ? named(playlist) : []) into.add(`${rendition}/${segment}`);
    }
  };
  let watching = true;
  const watch = async (root, into) => {
    for (; watching; await sleep(30)) await look(root, into);
  };
  const watchers = [watch(ours, seen.server), watch(theirs, seen.bucket)];

  for (let round = 1; round <= ROUNDS; round++) {
    const publisher = publish(`${session.rtmpUrl}/${session.streamKey}`);
    const before = seen.bucket.size;
    await until("new segments in the bucket's playlist", 60, () => seen.bucket.size > before);
    await sleep(Math.random() * 1500);
    await kill(chobi, "SIGKILL");
    await kill(publisher, "SIGKILL");
    chobi = await server();
    process.stdout.write(`\r${round} of ${ROUNDS} rounds; the bucket has named ${seen.bucket.size} segments`);
  }
  const last = publish(`${session.rtmpUrl}/${session.streamKey}`);
  const before = seen.bucket.size;
  await until("new segments in the bucket's playlist", 60, () => seen.bucket.size > before);
  await kill(last, "SIGKILL");
  await mutate("streaming.endSession", { sessionId: session.id }, token);
  await until("the recording in the bucket", 120, async () => (await text(`${theirs}/v0/index.m3u8`))?.includes("PLAYLIST-TYPE:VOD"));
  watching = false;
  await Promise.all(watchers);

  const recorded = new Set();
  await look(theirs, recorded);
  const missing = [...seen.bucket].filter((segment) => !recorded.has(segment));
  const gone = [];
  for (const segment of recorded) {
    const answer = await get(`${theirs}/${segment}`);
    const bytes = (await answer.arrayBuffer()).byteLength;
    if (!answer.ok || bytes === 0) gone.push(segment);
  }
  const fromMemory = [...seen.server].filter((segment) => !recorded.has(segment));
  console.log(`\n${ROUNDS} times killed: ${recorded.size} segments are in the recording; of ${seen.bucket.size} that the bucket's playlists`
    + ` had named ${missing.length} are missing, ${gone.length} have no bytes; of ${seen.server.size} that the server's own had named`
    + ` ${fromMemory.length} are gaps: they were in memory only`);
  if (missing.length + gone.length > 0) throw new Error([...missing, ...gone].slice(0, 10).join(" "));
  await kill(chobi, "SIGTERM");
  await kill(moto, "SIGTERM");
}

try {
  await run();
  rmSync(scratch, { recursive: true });
} finally {
  for (const child of running) child.kill("SIGKILL");
}
process.exit(0);
