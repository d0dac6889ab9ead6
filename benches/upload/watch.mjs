// Usage: node watch.mjs PID OPS_URL SECONDS TICKS_PER_SECOND [SINK_URL]. Watches a server for a while; prints one JSON object: its CPU, its
// memory and the metrics of its store, and what the sink counted meanwhile. Samples once a second, with a bucket and without alike.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const [pid, ops, seconds, ticksPerSecond, sink] = process.argv.slice(2);

function cpuSeconds() {
  // The name, in brackets, may hold blanks: user and system time are fields 14 and 15.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / Number(ticksPerSecond);
}
function memory(name) {
  return Number(readFileSync(`/proc/${pid}/status`, "utf8").match(new RegExp(`^${name}:\\s+(\\d+) kB`, "m"))[1]) * 1024;
}
/** All metrics of a name, added up. */
async function metrics() {
  const text = await (await fetch(`${ops}/metrics`)).text();
  const sums = {};
  for (const line of text.split("\n")) {
    const match = line.match(/^(chobi_[a-z_]+)(?:\{[^}]*\})? (\S+)$/);
    if (match) sums[match[1]] = (sums[match[1]] ?? 0) + Number(match[2]);
  }
  return (name) => sums[`chobi_${name}`] ?? 0;
}
async function look() {
  const counted = sink ? await (await fetch(sink)).json() : undefined;
  return { at: performance.now() / 1000, metric: await metrics(), counted, cpu: cpuSeconds() };
}

const from = await look();
const samples = [];
for (let second = 1; second <= Number(seconds); second++) {
  await sleep(Math.max(0, (from.at + second) * 1000 - performance.now()));
  const metric = await metrics();
  samples.push({
    resident: memory("VmRSS"),
    backlogSegments: metric("store_backlog_segments"),
    backlogSeconds: metric("store_backlog_seconds"),
  });
}
const to = await look();

const spent = (name) => to.metric(name) - from.metric(name);
const mean = (key) => samples.reduce((sum, sample) => sum + sample[key], 0) / samples.length;
const max = (key) => Math.max(...samples.map((sample) => sample[key]));
const figures = {
  seconds: to.at - from.at,
  cpuSeconds: to.cpu - from.cpu,
  resident: mean("resident"),
  peak: memory("VmHWM"),
  segments: spent("hls_segments_total"),
  notKept: to.metric("store_failures_total"),
};
if (sink) {
  const since = (key) => to.counted[key] - from.counted[key];
  const heldMs = to.counted.now - from.counted.now;
  Object.assign(figures, {
    uploads: spent("store_uploads_total"),
    uploadSeconds: spent("store_upload_seconds_sum"),
    // Since the server started: none may fail while it warms up either.
    failures: to.metric("store_upload_failures_total"),
    retries: to.metric("store_upload_retries_total"),
    spoolBytes: to.metric("store_spool_bytes"),
    backlog: {
      segments: mean("backlogSegments"),
      segmentsMax: max("backlogSegments"),
      segmentsLast: samples.at(-1).backlogSegments,
      secondsMax: max("backlogSeconds"),
    },
    sink: {
      objects: since("objects"),
      playlists: since("playlists"),
      bytes: since("objectBytes") + since("playlistBytes"),
      sampled: since("sampled"),
      wrongs: to.counted.wrongs,
      wrong: to.counted.wrong,
      inFlight: since("requestMs") / heldMs,
      inFlightMax: to.counted.inFlightMax,
      bytesInFlight: since("byteMs") / heldMs,
      bytesInFlightMax: to.counted.bytesInFlightMax,
    },
  });
}
console.log(JSON.stringify(figures));
