// Who is signed in on this browser. In: answers of auth.*. Out: the access token and a change event for the page.
// The tokens lie in localStorage, shared by all tabs; the strict content policy is what keeps other scripts away from them.

export interface SignedInUser {
  id: string;
  name: string;
  username: string;
}

interface Stored {
  user: SignedInUser;
  accessToken: string;
  refreshToken: string;
  /** When, by this device's clock, the access token is too old to be used. */
  renewAt?: number;
}

const KEY = "chobi.account";
/** A call may take this long to reach the server, and clocks may drift this far while a page is open. */
const RENEW_EARLY_MS = 60_000;
const listeners = new Set<(user: SignedInUser | null) => void>();
/** Kept here too, for browsers that refuse storage: the sign-in then lasts as long as the page. */
let current: Stored | null = read();

function read(): Stored | null {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return isStored(stored) ? stored : null;
  } catch {
    return null;
  }
}

function isStored(value: unknown): value is Stored {
  const stored = value as Partial<Stored> | null;
  return typeof stored?.accessToken === "string" && typeof stored.refreshToken === "string" && typeof stored.user?.id === "string";
}

function write(next: Stored | null): void {
  current = next;
  try {
    if (next) localStorage.setItem(KEY, JSON.stringify(next));
    else localStorage.removeItem(KEY);
  } catch {
    // Storage may be off or full; `current` still serves this page.
  }
}

function tell(): void {
  for (const listener of listeners) listener(current?.user ?? null);
}

window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  const before = current?.user.id;
  current = read();
  if (current?.user.id !== before) tell();
});

export const signedInUser = (): SignedInUser | null => current?.user ?? null;
export const accessToken = (): string | null => current?.accessToken ?? null;
export const refreshToken = (): string | null => current?.refreshToken ?? null;

export function signIn(answer: { user: SignedInUser; accessToken: string; refreshToken: string }): void {
  const { id, name, username } = answer.user;
  write({ user: { id, name, username }, ...kept(answer) });
  tell();
}

export function renew(tokens: { accessToken: string; refreshToken: string }): void {
  if (current) write({ ...current, ...kept(tokens) });
}

/** Whether the access token is about to be refused. Public procedures would not refuse it but answer as to a guest. */
export const isRenewalDue = (): boolean => Date.now() > (current?.renewAt ?? Infinity);

function kept({ accessToken, refreshToken }: { accessToken: string; refreshToken: string }): Omit<Stored, "user"> {
  const lifetime = lifetimeMs(accessToken);
  return { accessToken, refreshToken, ...(lifetime ? { renewAt: Date.now() + Math.max(lifetime - RENEW_EARLY_MS, lifetime / 2) } : {}) };
}

/** Read off the token itself (RFC 7519): a span is right whatever this device's clock says, a moment is not. */
function lifetimeMs(token: string): number | null {
  try {
    const body = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const { iat, exp } = JSON.parse(atob(body)) as { iat?: number; exp?: number };
    return iat !== undefined && exp !== undefined && exp > iat ? (exp - iat) * 1000 : null;
  } catch {
    return null;
  }
}

export function signOut(): void {
  write(null);
  tell();
}

/** Hears of every sign-in and sign-out, those of other tabs included. */
export function onAccountChange(listener: (user: SignedInUser | null) => void): void {
  listeners.add(listener);
}

/** What storage says now, which another tab may have renewed a moment ago. */
export function reread(): void {
  current = read() ?? current;
}
