// Signing in and registering. In: a person's typing. Out: auth.login or auth.register, then tokens.signIn.
import { api } from "../api/client.js";
import { refusedFields, wording } from "../api/errors.js";
import { signIn } from "../api/tokens.js";
import { h } from "../dom.js";
import { t, type TextKey } from "../i18n/index.js";
import { openDialog, type Dialog } from "./dialog.js";
import { field, type Field } from "./field.js";

type FieldName = "name" | "username" | "email" | "password";
type Mode = "signIn" | "register";

const FAULTS: Record<FieldName, TextKey> = { name: "errorName", username: "errorUsername", email: "errorEmail", password: "errorPassword" };
/** The server's own bounds (auth.register), so that most mistakes show before anything is sent. */
const RULES: Record<FieldName, (value: string) => boolean> = {
  name: (value) => value.trim().length >= 1 && Array.from(value).length <= 50,
  username: (value) => /^@?[a-z0-9_.]{3,30}$/.test(value),
  email: (value) => /^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(value),
  password: (value) => Array.from(value).length >= 6 && Array.from(value).length <= 128,
};

export function openAuthDialog(mode: Mode = "signIn", then?: () => void): void {
  show(openDialog("auth"), mode, then);
}

function show(dialog: Dialog, mode: Mode, then?: () => void): void {
  const joining = mode === "register";
  dialog.setTitle(t(joining ? "registerTitle" : "signInTitle"), t(joining ? "registerLead" : "signInLead"));
  const fields = makeFields(joining);
  const failure = h("p", { class: "form-error", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "button wide" }, t(mode));
  const other = h("button", { type: "button", class: "link", onclick: () => show(dialog, joining ? "signIn" : "register", then) }, t(joining ? "signIn" : "register"));
  const form = h("form", { class: "form", novalidate: true }, ...Object.values(fields).map((item) => item.row), failure, submit,
    h("p", { class: "form-other" }, `${t(joining ? "haveAccount" : "noAccount")} `, other));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    failure.hidden = true;
    if (submit.disabled || !check(fields)) return;
    submit.disabled = true;
    submit.textContent = t("working");
    try {
      signIn(await send(fields, joining));
      dialog.close();
      then?.();
    } catch (error) {
      report(error, fields, failure);
    } finally {
      submit.disabled = false;
      submit.textContent = t(mode);
    }
  });
  dialog.setBody(form);
}

function makeFields(joining: boolean): Partial<Record<FieldName, Field>> {
  const credentials = {
    email: field("email", t("email"), { type: "email", autocomplete: joining ? "email" : "username", inputmode: "email", dir: "ltr", required: true }),
    password: field("password", t("password"), { type: "password", autocomplete: joining ? "new-password" : "current-password", dir: "ltr", required: true }, joining ? t("passwordHint") : ""),
  };
  if (!joining) return credentials;
  const username = field("username", t("username"), { type: "text", autocomplete: "username", autocapitalize: "none", spellcheck: "false", dir: "ltr", required: true }, t("usernameHint"));
  // The app lower-cases while typing; the same here, or a phone's capital first letter would be refused.
  username.input.addEventListener("input", () => (username.input.value = username.input.value.toLowerCase()));
  return { name: field("name", t("name"), { type: "text", autocomplete: "name", dir: "auto", required: true }), username, ...credentials };
}

function check(fields: Partial<Record<FieldName, Field>>): boolean {
  let first: Field | null = null;
  for (const [name, item] of Object.entries(fields) as [FieldName, Field][]) {
    const good = RULES[name](item.input.value);
    item.fail(good ? "" : t(FAULTS[name]));
    if (!good) first ??= item;
  }
  first?.input.focus();
  return first === null;
}

function send(fields: Partial<Record<FieldName, Field>>, joining: boolean) {
  const value = (name: FieldName): string => fields[name]?.input.value ?? "";
  const credentials = { email: value("email").trim(), password: value("password") };
  if (!joining) return api.auth.login.mutate(credentials);
  return api.auth.register.mutate({ name: value("name").trim(), username: value("username"), ...credentials });
}

function report(error: unknown, fields: Partial<Record<FieldName, Field>>, failure: HTMLElement): void {
  const refused = refusedFields(error).filter((name): name is FieldName => name in fields);
  for (const name of refused) fields[name]?.fail(t(FAULTS[name]));
  if (refused.length > 0) return fields[refused[0] as FieldName]?.input.focus();
  failure.textContent = wording(error);
  failure.hidden = false;
}
