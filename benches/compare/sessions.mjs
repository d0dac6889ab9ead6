// Usage: node sessions.mjs BASE N PLAYLISTS_FILE. Creates N sessions through the API; prints where to publish each to, one a line, and
// writes where to watch each into the file.
import { writeFileSync } from "node:fs";
import { call } from "../api.mjs";

const [base, count, playlists] = process.argv.slice(2);
const mutate = call(base);
/** A host may have ten unfinished sessions. */
const PER_HOST = 10;

const watch = [];
let token;
for (let i = 0; i < Number(count); i++) {
  if (i % PER_HOST === 0) {
    const name = `bench${i / PER_HOST}`;
    const input = { name, username: name, email: `${name}@example.org`, password: "correct horse battery" };
    ({ accessToken: token } = await mutate("auth.register", input));
  }
  const { session } = await mutate("streaming.createSession", { title: `Show ${i}`, type: "video" }, token);
  console.log(`${session.rtmpUrl}/${session.streamKey}`);
  watch.push(session.playbackUrl);
}
writeFileSync(playlists, watch.join("\n"));
