// From a failed call to words a person can act on. The server writes its messages in the language we asked for; what it does not
// word (validation, lost connections, our own faults) is worded here.
import { TRPCClientError } from "@trpc/client";
import { t, type TextKey } from "../i18n/index.js";

const TEXTS: Record<string, TextKey> = {
  BAD_REQUEST: "errorBadInput",
  UNAUTHORIZED: "errorUnauthorized",
  FORBIDDEN: "errorForbidden",
  NOT_FOUND: "errorNotFound",
  CONFLICT: "errorConflict",
  PAYLOAD_TOO_LARGE: "errorTooLong",
  TOO_MANY_REQUESTS: "errorTooMany",
};
/** For these the server's message is more exact than ours ("this e-mail is taken"). */
const WORDED_BY_SERVER = new Set(["UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "CONFLICT", "PRECONDITION_FAILED", "TOO_MANY_REQUESTS", "SERVICE_UNAVAILABLE"]);

interface Issue {
  path: (string | number)[];
}

/** The tRPC code, or null when no answer came at all. */
export function codeOf(error: unknown): string | null {
  if (!(error instanceof TRPCClientError)) return null;
  const data = error.data as { code?: string } | null | undefined;
  return data?.code ?? null;
}

/** The server's stable word for which of its rules said no, where one did. */
export function reasonOf(error: unknown): string | null {
  if (!(error instanceof TRPCClientError)) return null;
  return (error.data as { reason?: string } | null | undefined)?.reason ?? null;
}

/** Names of the input fields that validation refused. */
export function refusedFields(error: unknown): string[] {
  if (codeOf(error) !== "BAD_REQUEST") return [];
  try {
    return (JSON.parse((error as Error).message) as Issue[]).map((issue) => String(issue.path[0] ?? ""));
  } catch {
    return [];
  }
}

export function wording(error: unknown): string {
  const code = codeOf(error);
  if (code === null) return t("errorOffline");
  const message = (error as Error).message;
  if (WORDED_BY_SERVER.has(code) && message && message !== code) return message;
  return t(TEXTS[code] ?? "errorServer");
}
