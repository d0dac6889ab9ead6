// Usage: node sink.mjs PORT DELAY_MS. What a server that uploads sees of S3 (API version 2006-03-01, path style), on 127.0.0.1: PUT is
// answered 200 with an ETag so many milliseconds after the last byte came. Keeps keys, not bytes. GET / answers what was counted.
//
// Checks what a service that keeps nothing would not notice: that each body is as long as it says, that one in SAMPLE has the SHA-256 it was
// signed with, and that a playlist names only what was acknowledged before it.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { posix } from "node:path";

const [port, delayMs] = process.argv.slice(2).map(Number);
const SAMPLE = 20;
const PLAYLIST_BYTES_MAX = 1 << 20;

const acknowledged = new Set();
const counted = { objects: 0, objectBytes: 0, playlists: 0, playlistBytes: 0, sampled: 0, wrong: [], inFlightMax: 0, bytesInFlightMax: 0, otherRequests: 0 };
/** Sums over time: requests, and bytes of their bodies, from their heads to their answers. */
const held = { now: performance.now(), requests: 0, bytes: 0, requestMs: 0, byteMs: 0 };

function hold(requests, bytes) {
  const now = performance.now();
  held.requestMs += held.requests * (now - held.now);
  held.byteMs += held.bytes * (now - held.now);
  held.now = now;
  held.requests += requests;
  held.bytes += bytes;
  counted.inFlightMax = Math.max(counted.inFlightMax, held.requests);
  counted.bytesInFlightMax = Math.max(counted.bytesInFlightMax, held.bytes);
}

/** What a playlist names and nobody has: addresses, but for those that it says are gaps. */
function unknown(key, text) {
  const quoted = [...text.matchAll(/URI="([^"]+)"/g)].map(([, name]) => name);
  const lines = text.split("\n");
  const named = lines.filter((line, at) => {
    if (!line || line.startsWith("#")) return false;
    const tags = lines.slice(lines.findLastIndex((other, before) => before < at && other && !other.startsWith("#")) + 1, at);
    return !tags.includes("#EXT-X-GAP");
  });
  return [...quoted, ...named].map((name) => posix.join(posix.dirname(key), name)).filter((name) => !acknowledged.has(name));
}

function answerJson(response, value) {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function put(request, response) {
  const key = new URL(request.url, "http://sink").pathname;
  const length = Number(request.headers["content-length"]);
  const isPlaylist = key.endsWith(".m3u8");
  const signed = request.headers["x-amz-content-sha256"] ?? "";
  const hash = (counted.objects + counted.playlists) % SAMPLE === 0 && /^[0-9a-f]{64}$/.test(signed) ? createHash("sha256") : undefined;
  const kept = [];
  let bytes = 0;
  let answered = false;
  hold(1, length || 0);
  response.once("close", () => {
    hold(-1, -(length || 0));
    if (!answered) counted.wrong.push(`${key}: given up by the server after ${bytes} bytes`);
  });
  request.on("data", (chunk) => {
    bytes += chunk.length;
    hash?.update(chunk);
    if (isPlaylist && bytes <= PLAYLIST_BYTES_MAX) kept.push(chunk);
  });
  request.on("end", () => {
    if (bytes !== length) counted.wrong.push(`${key}: ${bytes} bytes of ${length}`);
    if (hash) counted.sampled += 1;
    if (hash && hash.digest("hex") !== signed) counted.wrong.push(`${key}: another SHA-256 than was signed`);
    if (isPlaylist) {
      const lacking = unknown(key, Buffer.concat(kept).toString());
      if (lacking.length > 0) counted.wrong.push(`${key} names ${lacking[0]}, which nobody has`);
    }
    setTimeout(() => {
      answered = true;
      acknowledged.add(key);
      counted[isPlaylist ? "playlists" : "objects"] += 1;
      counted[isPlaylist ? "playlistBytes" : "objectBytes"] += bytes;
      response.writeHead(200, { etag: `"${counted.objects + counted.playlists}"` }).end();
    }, delayMs);
  });
}

const server = createServer((request, response) => {
  if (request.method === "PUT") return put(request, response);
  if (request.method === "GET" && request.url === "/") {
    hold(0, 0);
    return answerJson(response, { ...counted, wrong: counted.wrong.slice(0, 5), wrongs: counted.wrong.length, ...held });
  }
  counted.otherRequests += 1;
  request.resume();
  const missing = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><Message>Nothing is kept here</Message></Error>`;
  setTimeout(() => response.writeHead(request.method === "GET" ? 404 : 204, { "content-type": "application/xml" }).end(missing), delayMs);
});
// Longer than a show's pause between two objects; the server decides when a connection is of no more use.
server.keepAliveTimeout = 60_000;
server.listen(port, "127.0.0.1");
