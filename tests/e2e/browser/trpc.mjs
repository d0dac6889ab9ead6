// The app's own client, at the app's versions: @trpc/client with superjson. In: {base, token?, kind, path, input}.
// Out: what the app would get, each Date as {"$date": ISO text} so that the Rust side sees which fields really were Dates.
import { createTRPCClient, httpLink } from "@trpc/client";
import superjson from "superjson";
import { serve } from "./lines.mjs";

function client(base, token) {
  return createTRPCClient({
    links: [httpLink({ url: `${base}/api/trpc`, transformer: superjson, headers: token ? { authorization: `Bearer ${token}` } : {} })],
  });
}

function tagged(value) {
  if (value instanceof Date) return { $date: value.toISOString() };
  if (Array.isArray(value)) return value.map(tagged);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, tagged(inner)]));
}

const procedure = (from, path) => path.split(".").reduce((node, name) => node[name], from);

async function invoke(from, { kind, path, input }) {
  try {
    return tagged(await procedure(from, path)[kind](input ?? undefined));
  } catch (error) {
    error.forRust = { code: error.data?.code ?? null, httpStatus: error.data?.httpStatus ?? null };
    throw error;
  }
}

serve({
  call: ({ base, token, ...rest }) => invoke(client(base, token), rest),
});
