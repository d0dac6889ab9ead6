// Usage: node report.mjs FOLDER SHOWS [ROUND]. Prints one round, or the medians of all: with a bucket against without. Exit code 1 when the
// bucket did not get all that it should have.
import { readFileSync, readdirSync } from "node:fs";

const [folder, count, one] = process.argv.slice(2);
const shows = Number(count);
const MB = 1e6;
const MIB = 1 << 20;
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`));
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];

function look(round) {
  const [disk, bucket] = [read(`disk${round}`), read(`bucket${round}`)];
  const percent = (turn) => (100 * turn.cpuSeconds) / turn.seconds;
  const mbPerSecond = bucket.sink.bytes / MB / bucket.seconds;
  return {
    disk,
    bucket,
    diskPercent: percent(disk),
    bucketPercent: percent(bucket),
    mbPerSecond,
    // Percent of a core are hundredths of a second a second.
    millisPerMb: ((percent(bucket) - percent(disk)) * 10) / mbPerSecond,
    putsPerSecond: (bucket.sink.objects + bucket.sink.playlists) / bucket.seconds,
    memoryPerShow: (bucket.resident - disk.resident) / shows,
    heldPerShow: bucket.sink.bytesInFlight / shows,
  };
}

/** What must not be, in words. */
function faults({ disk, bucket }) {
  const { sink, backlog } = bucket;
  // A segment may wait for its audio's or its own upload when the window begins and ends; more than this is falling behind.
  const behind = bucket.segments - bucket.uploads;
  return [
    bucket.failures > 0 && `${bucket.failures} uploads failed`,
    disk.notKept + bucket.notKept > 0 && `${disk.notKept + bucket.notKept} segments were not kept`,
    sink.wrongs > 0 && `${sink.wrongs} PUTs were wrong: ${sink.wrong.join("; ")}`,
    sink.sampled === 0 && "no body was checked against its SHA-256",
    behind > 2 * shows && `uploads fall behind: ${bucket.segments} segments were cut and ${bucket.uploads} uploaded`,
    backlog.segmentsLast > 4 * shows && `${backlog.segmentsLast} segments wait at the end`,
  ].filter(Boolean);
}

const columns = [
  ["", 8, (turn) => turn.name],
  ["CPU", 9, (turn) => `${turn.percent.toFixed(1)} %`],
  ["per show", 10, (turn) => `${(turn.percent / shows).toFixed(2)} %`],
  ["RSS/show", 11, (turn) => `${(turn.resident / shows / MIB).toFixed(2)} MiB`],
  ["peak", 10, (turn) => `${(turn.peak / MIB).toFixed(0)} MiB`],
  ["PUT/s", 8, ({ sink, seconds }) => ((sink.objects + sink.playlists) / seconds).toFixed(0)],
  ["MB/s", 8, ({ sink, seconds }) => (sink.bytes / MB / seconds).toFixed(1)],
  ["flying (max)", 14, ({ sink }) => `${sink.inFlight.toFixed(1)} (${sink.inFlightMax})`],
  ["backlog (max)", 15, ({ backlog }) => `${backlog.segments.toFixed(0)} (${backlog.segmentsMax})`],
  ["oldest", 9, ({ backlog }) => `${backlog.secondsMax.toFixed(1)} s`],
  ["failed", 8, (turn) => turn.failures],
];
/** What a turn without a bucket knows too. */
const OF_ALL = 5;
const line = (cells) => cells.map((cell, at) => (at === 0 ? String(cell).padEnd(columns[at][1]) : String(cell).padStart(columns[at][1]))).join("");
const row = (turn) => line(columns.slice(0, turn.sink ? columns.length : OF_ALL).map(([, , cell]) => cell(turn)));

if (one) {
  const it = look(one);
  if (one === "1") console.log(line(columns.map(([title]) => title)));
  console.log(row({ name: "disk", percent: it.diskPercent, ...it.disk }));
  console.log(row({ name: "bucket", percent: it.bucketPercent, ...it.bucket }));
  const wrong = faults(it);
  if (wrong.length > 0) {
    console.error(`upload: ${wrong.join("; ")}`);
    process.exit(1);
  }
} else {
  const rounds = readdirSync(folder).filter((name) => /^bucket\d+\.json$/.test(name)).map((name) => look(name.match(/\d+/)[0]));
  const of = (value) => median(rounds.map(value));
  const { bucket } = rounds[0];
  const checked = rounds.reduce((sum, round) => sum + round.bucket.sink.sampled, 0);
  console.log(
    `median of ${rounds.length}: ${of((round) => round.millisPerMb).toFixed(2)} ms of CPU per MB uploaded ` +
      `(${of((round) => round.diskPercent).toFixed(1)} % of a core without a bucket, ${of((round) => round.bucketPercent).toFixed(1)} % with one, ` +
      `ratio ${of((round) => round.bucketPercent / round.diskPercent).toFixed(2)}; ${of((round) => round.mbPerSecond).toFixed(1)} MB/s in ` +
      `${of((round) => round.putsPerSecond).toFixed(0)} PUTs/s)\n` +
      `memory for the bucket: ${(of((round) => round.memoryPerShow) / 1024).toFixed(0)} KiB per show (resident, with less without); of it bytes of ` +
      `objects on their way: ${(of((round) => round.heldPerShow) / 1024).toFixed(0)} KiB per show on average, ` +
      `${(of((round) => round.bucket.sink.bytesInFlightMax / shows) / 1024).toFixed(0)} KiB at most\n` +
      `backlog at most ${Math.max(...rounds.map((round) => round.bucket.backlog.segmentsMax))} segments, the oldest ` +
      `${Math.max(...rounds.map((round) => round.bucket.backlog.secondsMax)).toFixed(1)} s; on the disk ` +
      `${(bucket.spoolBytes / shows / MIB).toFixed(1)} MiB per show by then; no upload failed, ` +
      `${rounds.reduce((sum, round) => sum + round.bucket.retries, 0)} retries; ${checked} bodies checked against their SHA-256`,
  );
}
