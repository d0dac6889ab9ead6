// Usage: node report.mjs FOLDER [ROUND]. Prints one round, or the medians of all: server against floor.
import { readFileSync, readdirSync } from "node:fs";

const [folder, one] = process.argv.slice(2);
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`));
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
const two = (number) => number.toFixed(2);

function look(round) {
  const [server, floor] = [read(`server${round}`), read(`floor${round}`)];
  const { cpuMicrosPerPacket, cpuPercent, threads } = server.server;
  const media = threads.media?.cpuMicrosPerPacket ?? NaN;
  return {
    floor: floor.cpuMicrosPerPacket,
    server: cpuMicrosPerPacket,
    media,
    ratio: cpuMicrosPerPacket / floor.cpuMicrosPerPacket,
    mediaRatio: media / floor.cpuMicrosPerPacket,
    packets: server.packetsPerSecond,
    cpuPercent,
    lost: server.lost,
    floorLost: floor.lost,
    memory: server.server.residentBytesPerPeer / 1024,
    p50: server.firstPacketMs.p50,
    p99: server.firstPacketMs.p99,
  };
}

if (one) {
  const it = look(one);
  console.log(
    `${one}: floor ${two(it.floor)} us per packet (${it.floorLost} lost), chobi ${two(it.server)} us (${it.lost} lost; media thread alone ${two(it.media)}), ` +
      `ratio ${two(it.ratio)}; ${Math.round(it.packets)} packets/s in ${two(it.cpuPercent)} % of a core; first packet p50 ${two(it.p50)} ms, p99 ${two(it.p99)} ms`,
  );
} else {
  const rounds = readdirSync(folder).filter((name) => /^floor\d+\.json$/.test(name)).map((name) => look(name.match(/\d+/)[0]));
  const of = (key) => median(rounds.map((round) => round[key]));
  // Later rounds find the memory of the first one still with the process.
  console.log(
    `median of ${rounds.length}: floor ${two(of("floor"))} us, chobi ${two(of("server"))} us; ratio ${two(of("ratio"))} (media thread alone ${two(of("mediaRatio"))})\n` +
      `lost ${rounds.reduce((sum, round) => sum + round.lost, 0)} packets; first packet after the POST: p50 ${two(of("p50"))} ms, p99 ${two(of("p99"))} ms; ` +
      `memory ${two(look(1).memory)} KiB per viewer`,
  );
}
