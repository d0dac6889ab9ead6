// The bar on top: who is signed in. The way to the studio is a plain link in the page.
import { api } from "../api/client.js";
import { onAccountChange, refreshToken, signedInUser, signOut, type SignedInUser } from "../api/tokens.js";
import { h, must } from "../dom.js";
import { t } from "../i18n/index.js";
import { hue, initial } from "./avatar.js";
import { openAuthDialog } from "./auth-dialog.js";

export function startHeader(): void {
  show(signedInUser());
  onAccountChange(show);
}

function show(user: SignedInUser | null): void {
  const place = must("#account");
  if (!user) {
    place.replaceChildren(h("button", { type: "button", class: "button quiet small", onclick: () => openAuthDialog() }, t("signIn")));
    return;
  }
  const face = h("span", { class: "avatar small", "aria-hidden": "true" }, initial(user.name));
  face.style.setProperty("--hue", String(hue(user.id)));
  const name = h("bdi", { class: "account-name" }, user.name);
  place.replaceChildren(face, name, h("button", { type: "button", class: "button quiet small", onclick: leave }, t("signOut")));
}

function leave(): void {
  const token = refreshToken();
  signOut();
  // The server forgets the token if it can be told; this browser has forgotten it either way.
  if (token) void api.auth.logout.mutate({ refreshToken: token }).catch(() => undefined);
}
