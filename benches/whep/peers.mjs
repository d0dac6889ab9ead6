// Usage: node peers.mjs FOLDER NAME ROUND, or FOLDER NAME…, or --why FILE. Prints one turn; or the medians of all, with the first server as
// the measure; or why viewers failed.
import { existsSync, readFileSync, readdirSync } from "node:fs";

const [folder, ...names] = process.argv.slice(2);
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
const columns = [
  ["server", 8, (it) => it.name],
  ["viewers", 9, (it) => it.joined],
  ["packets/s", 11, (it) => it.packets.toFixed(0)],
  ["each", 7, (it) => (it.packets / it.joined).toFixed(0)],
  ["CPU", 10, (it) => `${it.cpuPercent.toFixed(1)} %`],
  ["per packet", 13, (it) => `${it.micros.toFixed(2)} us`],
  ["lost", 12, (it) => `${it.lossPercent.toFixed(4)} %`],
  ["first packet p50", 18, (it) => `${it.p50.toFixed(0)} ms`],
  ["p99", 10, (it) => `${it.p99.toFixed(0)} ms`],
  ["per viewer", 12, (it) => (it.kib === undefined ? "-" : `${it.kib.toFixed(0)} KiB`)],
];
const line = (cells) => cells.map((cell, at) => (at === 0 ? String(cell).padEnd(columns[at][1]) : String(cell).padStart(columns[at][1]))).join("");
const head = () => line(columns.map(([title]) => title));
const row = (it) => line(columns.map(([, , cell]) => cell(it)));

function read(file) {
  const found = JSON.parse(readFileSync(file));
  return {
    joined: found.joined,
    packets: found.packetsPerSecond,
    cpuPercent: found.server.cpuPercent,
    micros: found.server.cpuMicrosPerPacket,
    lossPercent: found.lossPercent,
    p50: found.firstPacketMs.p50,
    p99: found.firstPacketMs.p99,
    kib: found.server.residentBytesPerPeer / 1024,
  };
}

/** Memory is what the first turn found: later ones find it still with the process, and so does one after a turn that failed. */
const memory = (name) => (existsSync(`${folder}/${name}.failed`) ? undefined : read(`${folder}/${name}1.json`).kib);

/** The median of each figure. */
function medians(name) {
  const files = readdirSync(folder).filter((file) => new RegExp(`^${name}\\d+\\.json$`).test(file));
  if (files.length === 0) return undefined;
  const turns = files.map((file) => read(`${folder}/${file}`));
  const figures = Object.keys(turns[0]).map((key) => [key, median(turns.map((turn) => turn[key]))]);
  return { ...Object.fromEntries(figures), name, rounds: turns.length, kib: memory(name) };
}

if (folder === "--why") {
  const { joined, failures } = JSON.parse(readFileSync(names[0]));
  const reasons = Object.entries(failures).map(([reason, count]) => `${count} x ${reason}`);
  console.log(`${joined} joined; ${reasons.slice(0, 3).join("; ")}`);
} else if (/^\d+$/.test(names[1] ?? "")) {
  const [name, round] = names;
  if (name === "chobi" && round === "1") console.log(head());
  console.log(row({ name, ...read(`${folder}/${name}${round}.json`), kib: round === "1" ? memory(name) : undefined }));
} else {
  const all = names.map(medians).filter(Boolean);
  const [ours, ...others] = all;
  console.log(`medians of ${ours.rounds}:\n${head()}\n${all.map(row).join("\n")}`);
  for (const other of others) console.log(`CPU per packet: ${other.name} / ${ours.name} = ${(other.micros / ours.micros).toFixed(2)}`);
}
