// The conversation beside the picture. In: chat.getMessages for what was said, room events for what is being said, the composer.
// Out: chat.sendMessage. Messages come from others: they are set as text, each with the direction of its own letters.
import { api } from "../api/client.js";
import { codeOf, refusedFields, wording } from "../api/errors.js";
import { signedInUser } from "../api/tokens.js";
import { h, must, setText } from "../dom.js";
import { counted, number, t, timeOfDay } from "../i18n/index.js";
import { hue, initial } from "../ui/avatar.js";
import { icon, type IconName } from "../ui/icons.js";
import type { RoomMessage } from "./room.js";

const PAGE = 50;
/** More lines than this make a phone's scrolling stutter; the oldest are dropped while the reader is at the bottom. */
const LINES_MAX = 300;
export const MESSAGE_MAX = 500;
/** The counter appears only when the end comes near. */
const COUNTER_FROM = MESSAGE_MAX - 100;
/** Closer to the bottom than this many pixels counts as reading along. */
const BOTTOM_SLACK = 60;

export interface ChatTool {
  label: string;
  drawing: IconName;
  run: (userId: string) => void;
}

export class Chat {
  readonly #list = must<HTMLOListElement>("#chat-list");
  readonly #scroller = must<HTMLElement>("#chat-scroll");
  readonly #note = must<HTMLElement>("#chat-note");
  readonly #unreadButton = must<HTMLButtonElement>("#chat-unread");
  readonly #form = must<HTMLFormElement>("#chat-form");
  readonly #field = must<HTMLTextAreaElement>("#chat-field");
  readonly #counter = must<HTMLElement>("#chat-counter");
  readonly #error = must<HTMLElement>("#chat-error");
  readonly #send = must<HTMLButtonElement>("#chat-send");
  readonly #seen = new Set<string>();
  #hasOlder = false;
  #loadingOlder = false;
  #unread = 0;
  /** The reader is at the bottom and wants to stay there, whatever grows or shrinks. */
  #reading = true;
  #closed = false;
  #replaying = false;
  #allowed = true;
  /** What was sent last without an answer, and the name under which the server knows it. */
  #draft: { message: string; id: string } | null = null;

  constructor(
    private readonly sessionId: string,
    private readonly hostId: () => string | null,
    onSignIn: () => void,
    /** What a host can do about the writer of a line. */
    private readonly tool: ChatTool | null = null,
  ) {
    must("#chat-sign-in").addEventListener("click", onSignIn);
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    const observer = new ResizeObserver(() => this.#reading && this.#toBottom());
    for (const element of [this.#list, this.#scroller]) observer.observe(element);
    this.#unreadButton.addEventListener("click", () => this.#toBottom());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.#field.addEventListener("input", () => this.#measure());
    this.#field.addEventListener("keydown", (event) => {
      // While an input method is composing, Enter picks a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.accountChanged();
  }

  /** Shows these lines and no others: a show that is over is at another moment now. Later ones come by `receive`. */
  replay(lines: RoomMessage[], hasOlder: boolean): void {
    this.#replaying = true;
    this.#list.replaceChildren();
    this.#seen.clear();
    this.#hasOlder = hasOlder;
    for (const line of lines) this.#append(line);
    this.#say(lines.length === 0 ? t("chatReplayEmpty") : "");
    this.accountChanged();
    this.#toBottom();
  }

  /** Fetches the latest page; after a lost connection this also fills the hole it left. */
  async refresh(): Promise<void> {
    if (this.#replaying) return;
    try {
      const page = await api.chat.getMessages.query({ sessionId: this.sessionId, limit: PAGE });
      const joinsUp = page.messages.some((message) => this.#seen.has(message.id));
      if (!joinsUp) {
        this.#list.replaceChildren();
        this.#seen.clear();
        this.#hasOlder = page.hasMore;
      }
      for (const message of page.messages) this.#append(message);
      this.#say(this.#list.childElementCount === 0 ? t("chatEmpty") : "");
      if (!joinsUp) this.#toBottom();
    } catch (error) {
      if (this.#list.childElementCount === 0) this.#say(codeOf(error) === null ? t("chatFailed") : wording(error));
    }
  }

  receive(message: RoomMessage): void {
    if (!this.#append(message)) return;
    this.#say("");
    if (this.#reading || message.userId === signedInUser()?.id) this.#toBottom();
    else this.#showUnread(this.#unread + 1);
  }

  connected(): void {
    this.#form.closest("section")?.removeAttribute("data-lost");
  }

  lost(): void {
    if (!this.#closed) this.#form.closest("section")?.setAttribute("data-lost", "");
  }

  close(): void {
    this.#closed = true;
    this.connected();
    this.accountChanged();
  }

  permit(allowed: boolean): void {
    this.#allowed = allowed;
    this.accountChanged();
  }

  /** Who may write: somebody signed in, in a show that is not over, whom the host has not silenced. */
  accountChanged(): void {
    const user = signedInUser();
    const mayWrite = user !== null && !this.#closed && this.#allowed;
    this.#form.hidden = !mayWrite;
    must<HTMLElement>("#chat-sign-in").hidden = user !== null || this.#closed;
    const why = this.#replaying ? t("chatReplay") : this.#closed ? t("chatEnded") : user && !this.#allowed ? t("chatNotAllowed") : "";
    const closed = must<HTMLElement>("#chat-closed");
    closed.hidden = why === "";
    setText(closed, why);
  }

  async #submit(): Promise<void> {
    const message = this.#field.value.trim();
    if (!message || this.#send.disabled || lengthOf(message) > MESSAGE_MAX) return;
    this.#send.disabled = true;
    this.#fail("");
    try {
      // Sent again after an answer that never came, it is the same message.
      if (this.#draft?.message !== message) this.#draft = { message, id: crypto.randomUUID?.() ?? String(Math.random()) };
      const answer = await api.chat.sendMessage.mutate({ sessionId: this.sessionId, message, clientMessageId: this.#draft.id });
      this.#draft = null;
      this.#field.value = "";
      this.receive(answer.message);
    } catch (error) {
      this.#fail(refusedFields(error).includes("message") ? t("errorTooLong") : wording(error));
    } finally {
      this.#measure();
      this.#field.focus();
    }
  }

  #measure(): void {
    const used = lengthOf(this.#field.value);
    const left = MESSAGE_MAX - used;
    this.#counter.hidden = used < COUNTER_FROM;
    this.#counter.dataset["over"] = String(left < 0);
    setText(this.#counter, left < 0 ? number(left) : counted("charactersLeft", left));
    this.#send.disabled = this.#field.value.trim() === "" || left < 0;
    this.#field.style.blockSize = "auto";
    this.#field.style.blockSize = `${this.#field.scrollHeight}px`;
  }

  #fail(text: string): void {
    this.#error.hidden = text === "";
    setText(this.#error, text);
    this.#field.setAttribute("aria-invalid", String(text !== ""));
  }

  #append(message: RoomMessage): boolean {
    if (this.#seen.has(message.id)) return false;
    this.#seen.add(message.id);
    this.#list.append(this.#line(message));
    if (this.#list.childElementCount > LINES_MAX && this.#reading) {
      const oldest = this.#list.firstElementChild;
      this.#seen.delete((oldest as HTMLElement | null)?.dataset["id"] ?? "");
      oldest?.remove();
      this.#hasOlder = true;
    }
    return true;
  }

  #line(message: RoomMessage): HTMLLIElement {
    const name = h("bdi", { class: "chat-name" }, message.userName);
    const badge = message.userId === this.hostId() ? h("span", { class: "chat-badge" }, t("host")) : null;
    const time = h("time", { class: "chat-time", datetime: message.timestamp.toISOString() }, timeOfDay(message.timestamp));
    const isOwn = message.userId === signedInUser()?.id;
    const tool = this.tool && !isOwn
      ? h("button", { type: "button", class: "chat-tool", "aria-label": this.tool.label, title: this.tool.label, onclick: () => this.tool?.run(message.userId) }, icon(this.tool.drawing))
      : null;
    const face = h("span", { class: "avatar small", "aria-hidden": "true" }, initial(message.userName));
    const line = h("li", { class: "chat-line", "data-id": message.id, "data-highlighted": message.isHighlighted, "data-own": isOwn },
      face, h("div", { class: "chat-bubble" }, h("p", { class: "chat-who" }, name, badge, time, tool), h("p", { class: "chat-text", dir: "auto" }, message.message)));
    line.style.setProperty("--hue", String(hue(message.userId)));
    return line;
  }

  #onScroll(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#reading = scrollHeight - scrollTop - clientHeight < BOTTOM_SLACK;
    if (this.#reading) this.#showUnread(0);
    if (this.#scroller.scrollTop < 80) void this.#older();
  }

  async #older(): Promise<void> {
    const first = this.#list.firstElementChild as HTMLElement | null;
    const before = first?.dataset["id"];
    if (!this.#hasOlder || this.#loadingOlder || !before) return;
    this.#loadingOlder = true;
    must<HTMLElement>("#chat-older").hidden = false;
    try {
      const page = await api.chat.getMessages.query({ sessionId: this.sessionId, limit: PAGE, before });
      const fresh = page.messages.filter((message) => !this.#seen.has(message.id));
      const fromBottom = this.#scroller.scrollHeight - this.#scroller.scrollTop;
      for (const message of fresh) this.#seen.add(message.id);
      this.#list.prepend(...fresh.map((message) => this.#line(message)));
      this.#scroller.scrollTop = this.#scroller.scrollHeight - fromBottom;
      this.#hasOlder = page.hasMore && fresh.length > 0;
    } catch {
      // The next scroll to the top asks again.
    } finally {
      this.#loadingOlder = false;
      must<HTMLElement>("#chat-older").hidden = true;
    }
  }

  #toBottom(): void {
    this.#reading = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#showUnread(0);
  }

  #showUnread(count: number): void {
    this.#unread = count;
    this.#unreadButton.hidden = count === 0;
    if (count > 0) setText(this.#unreadButton, counted("newMessages", count));
  }

  #say(text: string): void {
    this.#note.hidden = text === "";
    setText(this.#note, text);
  }
}

/** The server counts code points, so that an emoji costs one. */
function lengthOf(text: string): number {
  return Array.from(text).length;
}
