// The typed door to the server. In: procedure calls. Out: their answers, or a CallError from `errors.ts`.
// The access token is renewed before it is too old, and once more when a call is answered 401, which is then repeated. Calls that
// renew at the same time share one renewal.
import { createTRPCClient, httpLink } from "@trpc/client";
import superjson from "superjson";
import { lang } from "../i18n/index.js";
import type { AppRouter } from "./app-router.js";
import { codeOf } from "./errors.js";
import { accessToken, isRenewalDue, refreshToken, renew, reread, signOut } from "./tokens.js";

const URL_BASE = "/api/trpc";
/** Long enough for a phone on a slow network, short enough that a dead one is noticed. */
const CALL_TIMEOUT_MS = 15_000;

export const api = createTRPCClient<AppRouter>({
  links: [
    httpLink({
      url: URL_BASE,
      transformer: superjson,
      headers: async () => ({ "accept-language": lang, ...bearer(await freshAccessToken()) }),
      fetch: (input, options) => call(String(input), options as RequestInit),
    }),
  ],
});

/** The token to present now, or null for a guest. */
export async function freshAccessToken(): Promise<string | null> {
  const token = accessToken();
  if (token && isRenewalDue()) await renewed(token);
  return accessToken();
}

/** Renewal goes around the retry below, else a refused renewal would try to renew itself. */
const renewal = createTRPCClient<AppRouter>({
  links: [httpLink({ url: URL_BASE, transformer: superjson, fetch: (input, options) => timed(String(input), options as RequestInit) })],
});

const bearer = (token: string | null): Record<string, string> => (token ? { authorization: `Bearer ${token}` } : {});

async function call(url: string, options: RequestInit): Promise<Response> {
  const used = accessToken();
  const response = await timed(url, options);
  if (response.status !== 401 || !used) return response;
  await renewed(used);
  if (accessToken() === used) return response;
  // Renewed, or signed out because renewal was refused: what is public is then still answered.
  const { authorization: _, ...headers } = options.headers as Record<string, string>;
  return timed(url, { ...options, headers: { ...headers, ...bearer(accessToken()) } });
}

async function timed(url: string, options: RequestInit): Promise<Response> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), CALL_TIMEOUT_MS);
  const outer = options.signal;
  outer?.addEventListener("abort", () => abort.abort(), { once: true });
  try {
    return await fetch(url, { ...options, signal: abort.signal });
  } finally {
    clearTimeout(timer);
  }
}

let renewing: Promise<void> | null = null;

function renewed(refused: string): Promise<void> {
  renewing ??= inOneTab(() => renewOnce(refused)).finally(() => (renewing = null));
  return renewing;
}

/** Two tabs must not spend the same refresh token; browsers without locks rely on the server's forgiveness for a repeat. */
async function inOneTab(work: () => Promise<void>): Promise<void> {
  await (navigator.locks ? navigator.locks.request("chobi.renew", work) : work());
}

async function renewOnce(refused: string): Promise<void> {
  reread();
  const token = refreshToken();
  if (accessToken() !== refused || !token) return;
  try {
    renew(await renewal.auth.refresh.mutate({ refreshToken: token }));
  } catch (error) {
    // Only a refusal ends the sign-in. A lost connection does not: the next call may get through.
    if (codeOf(error) === "UNAUTHORIZED") signOut();
  }
}
