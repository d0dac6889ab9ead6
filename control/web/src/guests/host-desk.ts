// What a host does about co-hosts: let in, send away, silence, invite from the chat. In: the roster. Out: calls of coHosts.*.
import type { Candidate, CoHostCard } from "../api/app-router.js";
import { api } from "../api/client.js";
import { wording } from "../api/errors.js";
import { h, must, setText } from "../dom.js";
import { counted, t } from "../i18n/index.js";
import { hue, initial } from "../ui/avatar.js";
import { icon } from "../ui/icons.js";
import type { Roster } from "./roster.js";

export class HostDesk {
  readonly #panel = must<HTMLElement>("#callers");
  readonly #title = must<HTMLElement>("#callers-title");
  readonly #list = must<HTMLUListElement>("#callers-list");
  readonly #fault = must<HTMLElement>("#callers-fault");

  constructor(
    private readonly sessionId: string,
    private readonly roster: Roster,
  ) {}

  show(): void {
    const { requests, invitations } = this.roster;
    this.#panel.hidden = requests.length + invitations.length === 0 && this.#fault.hidden;
    setText(this.#title, requests.length > 0 ? counted("callers", requests.length) : t("invited"));
    this.#list.replaceChildren(
      ...requests.map((candidate) => this.#line(candidate, [this.#button("letIn", candidate, "approve"), this.#button("turnDown", candidate, "decline", true)])),
      ...invitations.map((candidate) => this.#line(candidate, [h("span", { class: "caller-waits" }, t("waitsForAnswer")), this.#button("takeBackInvitation", candidate, "decline", true)])),
    );
    document.documentElement.dataset["callers"] = String(requests.length);
  }

  /** The buttons on a co-host's tile. They look at how things stand when they are pressed. */
  tools({ userId }: CoHostCard): Node[] {
    const { sessionId } = this;
    const isMuted = (): boolean => this.roster.coHosts.find((card) => card.userId === userId)?.isMuted ?? false;
    const mute = h("button", { type: "button", class: "icon-button", "data-tool": "mute", "aria-label": t("muteGuest"), title: t("muteGuest"),
      onclick: () => void this.#do(async () => void (await api.coHosts.mute.mutate({ sessionId, userId, muted: !isMuted() }))) }, icon("microphoneOff"));
    const remove = h("button", { type: "button", class: "icon-button", "data-tool": "remove", "aria-label": t("removeGuest"), title: t("removeGuest"),
      onclick: () => void this.#do(async () => void (await api.coHosts.remove.mutate({ sessionId, userId }))) }, icon("close"));
    return [mute, remove];
  }

  invite(userId: string): void {
    void this.#do(async () => void (await api.coHosts.invite.mutate({ sessionId: this.sessionId, userId })));
  }

  close(): void {
    this.#panel.hidden = true;
  }

  #line({ userId, name }: Candidate, actions: Node[]): HTMLLIElement {
    const face = h("span", { class: "avatar small", "aria-hidden": "true" }, initial(name));
    const line = h("li", { class: "caller", "data-user": userId }, face, h("bdi", { class: "caller-name" }, name), ...actions);
    line.style.setProperty("--hue", String(hue(userId)));
    return line;
  }

  #button(label: "letIn" | "turnDown" | "takeBackInvitation", { userId }: Candidate, step: "approve" | "decline", quiet = false): HTMLButtonElement {
    const run = async (): Promise<void> => void (await api.coHosts[step].mutate({ sessionId: this.sessionId, userId }));
    return h("button", { type: "button", class: quiet ? "button quiet small" : "button small", "data-step": step, onclick: () => void this.#do(run) }, t(label));
  }

  async #do(run: () => Promise<void>): Promise<void> {
    let fault = "";
    await run().catch((error: unknown) => (fault = wording(error)));
    this.#fault.hidden = fault === "";
    setText(this.#fault, fault);
    await this.roster.refresh();
  }
}
