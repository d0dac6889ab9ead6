// Usage: perf report … | node profile.mjs. Reads lines "12.34%  [k] symbol" of the media threads and says where their time goes.
import { readFileSync } from "node:fs";

const lines = readFileSync(0, "utf8").split("\n").map((line) => line.match(/^\s*([\d.]+)%\s+\[(\w|\.)\]\s+(.+?)\s*$/)).filter(Boolean);
const symbols = lines.map(([, share, where, symbol]) => ({ share: Number(share), kernel: where === "k", symbol }));
const kinds = [
  ["kernel: UDP, loopback, polling", (it) => it.kernel],
  ["cipher: AES-GCM", (it) => /aes|ghash|gcm|aead|clmul/i.test(it.symbol)],
  ["allocator", (it) => /malloc|calloc|realloc|\bfree\b|cfree|_int_free|alloc::alloc|__rust_(de|re)?alloc/i.test(it.symbol)],
  ["locks and task switches", (it) => /futex|parking_lot|Mutex|RwLock|pthread_(mutex|cond)/.test(it.symbol)],
  ["logs", (it) => /tracing/.test(it.symbol)],
  ["copies: memcpy, memset", (it) => /mem(cpy|move|set|cmp)/.test(it.symbol)],
  ["ours: chobi_media", (it) => /chobi_media/.test(it.symbol)],
  ["the rest", () => true],
];
const shares = new Map(kinds.map(([name]) => [name, 0]));
for (const it of symbols) {
  const [name] = kinds.find(([, is]) => is(it));
  shares.set(name, shares.get(name) + it.share);
}
const line = (share, text) => console.log(`${share.toFixed(2).padStart(7)} %  ${text}`);
console.log("Share of the media threads' time");
for (const [name, share] of shares) line(share, name);
console.log("\nOutside of the kernel, from 0.3 % on");
for (const it of symbols.filter((it) => !it.kernel && it.share >= 0.3)) line(it.share, it.symbol.replace(/::h[0-9a-f]{16}$/, ""));
