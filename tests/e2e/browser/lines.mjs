// The wire to the Rust side. In: one JSON object per line on stdin, {id, call, …}. Out: {id, ok} or {id, error} per line on stdout,
// in the order in which the calls finish. The end of stdin ends the process: nothing outlives the test that started it.
import { createInterface } from "node:readline";

export function serve(calls, onEnd = async () => {}) {
  const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (text) => {
    const { id, call, ...args } = JSON.parse(text);
    try {
      if (!(call in calls)) throw new Error(`no call named ${call}`);
      answer({ id, ok: (await calls[call](args)) ?? null });
    } catch (error) {
      answer({ id, error: { message: error.message, ...error.forRust } });
    }
  });
  lines.on("close", async () => {
    await onEnd();
    process.exit(0);
  });
}
