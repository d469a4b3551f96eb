// A channel's messages: drawn once each, redrawn only when they change, and held at the end while the reader is at the end.

import { bdi, el, icon } from "./dom.js";
import { dayName, toPromise } from "./clock.js";
import { messageNode } from "./message.js";

const GROUP_MS = 5 * 60_000;
const NEAR_END_PX = 80;

/** One list of messages. `which` names the store's field that says what is open: "channel" or "thread". */
export class Log {
  #nodes = new Map(); // key → {node, version}
  #shown = "";

  constructor(root, which, store, actions) {
    this.root = root;
    this.which = which;
    this.store = store;
    this.actions = actions;
    this.jump = el("button", { type: "button", class: "jump", hidden: true, on: { click: () => this.toEnd() } }, "Newer messages ↓");
    root.after(this.jump);
    this.atEnd = true;
    root.addEventListener("scroll", () => {
      if (root.clientHeight === 0) return; // hidden: the pane is not looked at
      this.atEnd = this.#nearEnd();
      if (this.atEnd) this.jump.hidden = true;
    });
    // A pane that is shown again, a window that changes, a picture that arrives: the end stays the end.
    const hold = () => this.atEnd && this.toEnd();
    new ResizeObserver(hold).observe(root);
    root.addEventListener("load", hold, true);
    root.addEventListener("keydown", (event) => this.#key(event));
    root.addEventListener("contextmenu", (event) => {
      const article = event.target.closest("article[data-id]");
      const message = article && !event.target.closest("a, img") && String(getSelection()) === "" && this.store.message(article.dataset.id);
      const more = article?.querySelector(".more");
      if (!message || !more) return;
      event.preventDefault();
      this.actions.menu(more, message);
    });
  }

  get id() {
    return this.store[this.which];
  }

  #nearEnd() {
    return this.root.scrollHeight - this.root.scrollTop - this.root.clientHeight < NEAR_END_PX;
  }

  toEnd() {
    this.atEnd = true;
    this.root.scrollTop = this.root.scrollHeight;
    this.jump.hidden = true;
  }

  /** Draws what changed. */
  sync() {
    const { store } = this;
    if (!this.id) return;
    const switched = this.#shown !== `${store.me}/${this.id}`;
    if (switched) {
      this.#nodes.clear();
      this.root.replaceChildren();
      this.root.setAttribute("aria-busy", "true"); // what stood here before is not read out as news
      this.#shown = `${store.me}/${this.id}`;
    }
    const atEnd = switched || this.atEnd;
    const items = this.#items();
    const newest = items.at(-1)?.key;
    const held = document.activeElement;
    const heldIn = held && this.root.contains(held) ? { key: held.closest("[data-key]")?.dataset.key, focus: held.dataset.focus } : null;

    const fresh = new Map();
    let before = null;
    for (const item of items) {
      const known = this.#nodes.get(item.key);
      let node = known?.node;
      if (!known || known.version !== item.version) {
        node = item.build();
        node.dataset.key = item.key;
        if (known) known.node.replaceWith(node);
        else if (this.#nodes.size > 0) node.classList.add("arrives");
      }
      fresh.set(item.key, { node, version: item.version });
      const place = before ? before.nextSibling : this.root.firstChild;
      if (place !== node) this.root.insertBefore(node, place);
      before = node;
    }
    for (const [key, { node }] of this.#nodes) if (!fresh.has(key)) node.remove();
    const grew = newest !== this.newest && !switched;
    this.#nodes = fresh;
    this.newest = newest;

    if (heldIn && !held.isConnected) {
      const node = fresh.get(heldIn.key)?.node;
      const same = heldIn.focus && [...(node?.querySelectorAll("[data-focus]") ?? [])].find((each) => each.dataset.focus === heldIn.focus && !each.disabled);
      (same ?? node ?? this.root).focus({ preventScroll: true });
    }
    this.#rove();
    if (switched) setTimeout(() => this.root.removeAttribute("aria-busy"));
    // The answer to one's own press is looked at, wherever the press was.
    if (atEnd || (grew && this.store.message(newest)?.ephemeral_for === store.me)) this.toEnd();
    else if (grew) this.jump.hidden = false;
    this.#showFocus();
  }

  #items() {
    const { store } = this;
    const messages = store.visible(this.id);
    const history = store.histories.get(this.id);
    const items = [];
    if (history && !history.whole) {
      items.push({ key: "older", version: "", build: () => el("button", { type: "button", class: "older", on: { click: () => this.#older() } }, "Show older messages") });
    } else if (history) {
      items.push({ key: `start-${this.id}`, version: `${store.channelName(this.id)} ${store.inDemo} ${messages.length > 0}`, build: () => this.#beginning() });
    }
    let day = "";
    let last = null;
    for (const message of messages) {
      const at = toPromise(Date.parse(message.at));
      const name = dayName(at);
      if (name !== day) {
        day = name;
        items.push({ key: `day-${name}`, version: name, build: () => el("div", { class: "day" }, el("span", {}, name)) });
        last = null;
      }
      const grouped = Boolean(last) && last.author.id === message.author.id && at - toPromise(Date.parse(last.at)) < GROUP_MS &&
        !message.reply_to && !message.command?.name && ![message.kind, last.kind].some((kind) => kind === "pin" || kind === "thread_created") &&
        Boolean(last.ephemeral_for) === Boolean(message.ephemeral_for);
      const state = this.#stateOf(message);
      const thread = store.channels.get(message.thread_id);
      const version = JSON.stringify([message, grouped, state, thread?.name, thread?.message_count, store.me, Math.round(at / 60_000)]);
      items.push({ key: message.id, version, build: () => messageNode(message, { store, actions: this.actions, grouped, state }) });
      last = message;
    }
    items.push(...this.#asked());
    return items;
  }

  #beginning() {
    const channel = this.store.channels.get(this.id);
    return el("div", { class: "beginning" }, icon(channel?.kind === "thread" ? "thread" : channel?.kind === "dm" ? "bell" : "hash"),
      el("h2", {}, bdi(this.store.channelName(this.id))),
      el("p", {}, channel?.topic || (channel?.kind === "thread" ? "The thread begins here." : "The channel begins here. Type / to see what the bot can do.")),
      this.which === "channel" && this.store.inDemo && this.store.visible(this.id).length === 0 && el("p", { class: "invite" }, "Nothing has happened yet. Type ",
        el("span", { class: "command-name" }, "/sev1 checkout is down"), " below, or press “Show me 3 a.m.” above."));
  }

  // Which button of this message waits for its answer, and what failed.
  #stateOf(message) {
    const state = {};
    for (const [id, about] of this.store.mine) {
      if (about.message_id !== message.id || about.me !== this.store.me) continue;
      const status = this.store.statusOf(id);
      if (status === "waiting") state.busy = about.custom_id;
      if (status === "expired" && !this.store.dismissed.has(id)) state.failed = this.store.interactions.get(id).error ?? "the bot did not answer in time.";
    }
    return state;
  }

  // Commands of mine that have no message yet, or never got one.
  #asked() {
    const items = [];
    for (const [id, about] of this.store.mine) {
      if (about.message_id || about.channel_id !== this.id || about.me !== this.store.me || this.store.dismissed.has(id)) continue;
      const status = this.store.statusOf(id);
      if (status === "waiting") {
        items.push({ key: `ask-${id}`, version: status, build: () => el("p", { class: "asked" }, "Sending ", el("span", { class: "command-name" }, about.name), "…") });
      } else if (status === "expired") {
        const why = this.store.interactions.get(id)?.error ?? "the bot did not answer in time";
        items.push({
          key: `ask-${id}`, version: status,
          build: () => el("p", { class: "asked failed", role: "alert" }, "⚠ ", el("span", { class: "command-name" }, about.name), ` This interaction failed: ${why}. `,
            el("button", { type: "button", class: "linkish", on: { click: () => this.actions.dismiss(id) } }, "Dismiss")),
        });
      }
    }
    return items;
  }

  async #older() {
    const height = this.root.scrollHeight;
    await this.actions.older(this.id);
    requestAnimationFrame(() => {
      this.root.scrollTop += this.root.scrollHeight - height;
    });
  }

  #showFocus() {
    const id = this.store.focus;
    const node = id && this.#nodes.get(id)?.node;
    if (!node) return;
    this.store.focus = undefined;
    node.scrollIntoView({ block: "center" });
    node.classList.add("found");
    node.focus({ preventScroll: true });
    setTimeout(() => node.classList.remove("found"), 2500);
  }

  // One message at a time is a Tab stop; the arrow keys move among them.
  #rove() {
    const all = [...this.root.querySelectorAll("article")];
    if (all.length > 0 && !all.some((article) => article.tabIndex === 0)) all.at(-1).tabIndex = 0;
  }

  #key(event) {
    const article = event.target.closest("article");
    if (!article || event.target !== article) return;
    const all = [...this.root.querySelectorAll("article")];
    const at = all.indexOf(article);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined && all[to]) {
      event.preventDefault();
      for (const each of all) each.tabIndex = -1;
      all[to].tabIndex = 0;
      all[to].focus();
    } else if (event.key === "Enter" || event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) {
      const more = article.querySelector(".more");
      const message = this.store.message(article.dataset.id);
      if (!more || !message) return;
      event.preventDefault();
      this.actions.menu(more, message);
    }
  }
}
