// The left column: who one acts as, the channels with their open threads, and what is unread.

import { avatar, bdi, el, icon } from "./dom.js";
import { openMenu } from "./menu.js";

export class Channels {
  constructor(root, store, actions) {
    Object.assign(this, { root, store, actions });
    this.guild = el("h1");
    this.bot = el("p", { class: "bot-line", role: "status" });
    this.actor = el("button", { type: "button", class: "actor", "aria-haspopup": "menu", "aria-expanded": "false", on: { click: () => this.#choose() } });
    this.list = el("ul", { class: "channel-list" });
    root.append(el("header", {}, this.guild, this.bot), this.list, this.actor);
    this.list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      const all = [...this.list.querySelectorAll("button")];
      const next = all[all.indexOf(document.activeElement) + step];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    });
  }

  sync() {
    const { store } = this;
    this.guild.replaceChildren(bdi(store.guild.name || "Local Discord"));
    const name = store.bot.display_name || store.bot.username || "The bot";
    this.bot.textContent = store.bot.connected ? `✓ ${name} is connected` : `✗ ${name} is not connected`;
    this.bot.classList.toggle("off", !store.bot.connected);
    const me = store.members.get(store.me);
    const roles = (me?.roles ?? []).map((id) => store.roles.get(id)?.name).filter((role) => role && role !== "@everyone");
    this.actor.replaceChildren(avatar(store.me, me?.display_name ?? "?"),
      el("span", { class: "actor-words" }, el("small", {}, "Acting as"), el("strong", {}, bdi(me?.display_name ?? "nobody")), el("small", {}, roles.join(", "))),
      el("span", { class: "caret", "aria-hidden": "true" }, "▴"));

    const held = this.list.contains(document.activeElement) ? document.activeElement.dataset.id : undefined;
    const { channels, dms } = store.tree();
    const items = channels.flatMap(({ channel, threads }) => [this.#item(channel), ...threads.map((thread) => this.#item(thread))]);
    if (dms.length > 0) items.push(el("li", { class: "list-heading" }, "Direct messages"), ...dms.map((channel) => this.#item(channel)));
    this.list.replaceChildren(...items);
    if (held) [...this.list.querySelectorAll("button")].find((button) => button.dataset.id === held)?.focus();
    const mentions = [...store.channels.keys()].reduce((sum, id) => sum + store.unread(id).mentions, 0);
    document.title = `${mentions > 0 ? `(${mentions}) ` : ""}${store.channelName(store.channel)} · ${store.guild.name || "Local Discord"}`;
  }

  #item(channel) {
    const { store } = this;
    const { any, mentions } = store.unread(channel.id);
    const open = channel.id === store.thread || (channel.id === store.channel && !store.thread);
    const isThread = channel.kind === "thread";
    const name = store.channelName(channel.id);
    return el("li", { class: isThread ? "is-thread" : "" }, el("button", {
      type: "button", class: [any && !open && "unread", channel.id === store.channel && "within"].filter(Boolean).join(" "),
      "aria-current": open ? "page" : undefined, data: { id: channel.id }, on: { click: () => this.actions.openChannel(channel.id, true) },
    }, icon(isThread ? (channel.locked ? "lock" : "thread") : channel.kind === "dm" ? "bell" : "hash"), el("span", { class: "name" }, bdi(name)),
    channel.archived && el("small", {}, "archived"),
    mentions > 0 ? el("span", { class: "badge" }, String(mentions), el("span", { class: "hidden-words" }, " pings of yours"))
      : any && !open && el("span", { class: "dot" }, el("span", { class: "hidden-words" }, "unread"))));
  }

  #choose() {
    const { store } = this;
    openMenu(this.actor, store.people().map((member) => ({
      picture: avatar(member.id, member.display_name),
      label: bdi(member.display_name), checked: member.id === store.me,
      hint: [`@${member.username}`, ...member.roles.map((id) => store.roles.get(id)?.name).filter((role) => role && role !== "@everyone"), member.asleep && "☾ asleep"].filter(Boolean).join(" · "),
      run: () => this.actions.actAs(member.id),
    })), { label: "Act as" });
  }
}
