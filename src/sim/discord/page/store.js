// What this page knows of the local Discord, and what the person at it is looking at.
// Owns no DOM: a change names the parts of the page that it touches, and whoever draws them listens.

import { compareIds } from "./ids.js";

const PAGE_MESSAGES = 60;
const INTERACTIONS_KEPT = 100;
const UNTOLD_MS = 5_000; // from asking for something until the server tells of it

export class Store {
  guild = { name: "" };
  bot = { id: "", username: "", display_name: "", connected: false };
  channels = new Map();
  roles = new Map();
  members = new Map();
  commands = [];
  faults = [];
  phones = new Map();
  interactions = new Map();
  /** channel id → {list: [Message], whole: whether nothing older exists} */
  histories = new Map();
  /** channel id → Map(user id → when the typing is over, wall clock) */
  typing = new Map();
  link = "connecting";
  /** Whether a demo is around this Discord, with a clock and a night to play. */
  inDemo = false;

  /** The member that the person acts as, and the channel and thread that are open. */
  me = "";
  channel = "";
  thread = "";
  /** Whose phone lies beside the chat. */
  owner = "";
  /** What a lock screen shows, wherever it stands: message id → Message, or null when it is gone. */
  noted = new Map();
  /** Ephemeral answers and failures that were dismissed. */
  dismissed = new Set();
  /** Interactions that this page began: {where, what, message_id}. */
  mine = new Map();
  /** `${member}/${channel}` → id of the newest message that this member has seen. */
  seen = new Map(JSON.parse(sessionStorage.getItem("seen") ?? "[]"));

  #listeners = new Set();
  #pending = new Set();
  #seq = 0; // of the last change that is in what this page knows
  #late = null; // changes that came while the state was being read
  #reading = new Map(); // channel id → {done, late}: the same for a channel's messages

  constructor(server) {
    this.server = server;
  }

  /** Calls `listener(parts)` after changes; `parts` is a set of names such as "log" and "phone". */
  listen(listener) {
    this.#listeners.add(listener);
  }

  touch(...parts) {
    if (this.#pending.size === 0) {
      setTimeout(() => {
        const parts = new Set(this.#pending);
        this.#pending.clear();
        for (const listener of this.#listeners) listener(parts);
      });
    }
    for (const part of parts) this.#pending.add(part);
  }

  // --- names

  names = {
    member: (id) => this.members.get(id)?.display_name ?? (id === this.bot.id ? this.bot.display_name : undefined),
    role: (id) => this.roles.get(id)?.name,
    channel: (id) => this.channels.has(id) ? this.channelName(id) : undefined,
  };

  people() {
    return [...this.members.values()].filter((member) => !member.bot);
  }

  channelName(id) {
    const channel = this.channels.get(id);
    if (!channel) return "unknown";
    if (channel.kind !== "dm") return channel.name;
    const other = (channel.member_ids ?? []).find((member) => member !== this.me && member !== this.bot.id);
    return this.names.member(this.#inDm(channel) ? this.bot.id : other ?? "") ?? "Direct message";
  }

  #inDm(channel) {
    return (channel.member_ids ?? []).includes(this.me);
  }

  /** The channels that the acting member sees, threads under their channel. */
  tree() {
    const all = [...this.channels.values()];
    const order = (a, b) => (a.position ?? 0) - (b.position ?? 0) || compareIds(a.id, b.id);
    const tops = all.filter((channel) => !["thread", "category", "dm", "voice"].includes(channel.kind)).sort(order);
    const threads = (id) => all
      .filter((channel) => channel.kind === "thread" && channel.parent_id === id && (!channel.archived || channel.id === this.thread))
      .sort((a, b) => compareIds(b.id, a.id));
    return {
      channels: tops.map((channel) => ({ channel, threads: threads(channel.id) })),
      dms: all.filter((channel) => channel.kind === "dm" && this.#inDm(channel)),
    };
  }

  // --- reading

  async load() {
    this.#late = [];
    try {
      await this.#readState();
    } finally {
      const late = this.#late ?? [];
      this.#late = null;
      for (const change of late) this.apply(change);
    }
    this.touch("all");
  }

  async #readState() {
    const begun = [...this.mine.keys()];
    const [state, phones, recent] = await Promise.all([
      this.server.get("/sim/state"),
      this.server.get("/sim/phones"),
      this.server.get("/sim/interactions"),
    ]);
    const byId = (list) => new Map((list ?? []).map((thing) => [thing.id, thing]));
    this.guild = state.guild;
    this.bot = state.bot;
    this.channels = byId(state.channels);
    this.roles = byId(state.roles);
    this.members = byId(state.members);
    this.commands = state.commands ?? [];
    this.faults = state.faults ?? [];
    this.phones = new Map((phones.phones ?? []).map((phone) => [phone.member_id, phone]));
    this.interactions = byId(recent.interactions);
    // A server that began anew knows nothing of what was asked before: no answer can come any more.
    for (const id of begun) if (!this.interactions.has(id)) this.mine.delete(id);
    this.histories.clear();
    this.noted.clear();
    this.typing.clear();
    const people = this.people();
    // Whoever is on call has what they declare themselves, and no phone rings: so a person without a role comes first.
    const awake = people.filter((member) => !member.asleep);
    if (!this.members.has(this.me)) this.me = (awake.find((member) => member.roles.length === 0) ?? awake[0] ?? people[0])?.id ?? "";
    if (!this.members.has(this.owner)) this.owner = (people.find((member) => member.asleep) ?? people[0])?.id ?? "";
    if (!this.channels.has(this.channel)) this.channel = this.#firstChannel();
    if (!this.channels.has(this.thread)) this.thread = "";
    // What stood here before this page was opened counts as seen.
    for (const member of people) {
      for (const channel of this.channels.values()) {
        const key = `${member.id}/${channel.id}`;
        if (!this.seen.has(key) && channel.last_message_id) this.seen.set(key, channel.last_message_id);
      }
    }
    this.#seq = state.seq ?? 0;
    await Promise.all([this.channel, this.thread].filter(Boolean).map((id) => this.read(id)));
  }

  #firstChannel() {
    const tops = this.tree().channels.map(({ channel }) => channel);
    return (tops.find((channel) => channel.name === "incidents") ?? tops[0])?.id ?? "";
  }

  /** Reads a channel's newest messages, unless they are here already. */
  async read(id) {
    if (this.histories.has(id)) return;
    const reader = this.me;
    const going = this.#reading.get(id);
    if (going?.reader === reader) return going.done;
    const reading = { reader, late: [] };
    this.#reading.set(id, reading);
    reading.done = this.#readNewest(id, reading);
    return reading.done;
  }

  async #readNewest(id, reading) {
    try {
      const answer = await this.server.get(`/sim/channels/${id}?as=${reading.reader}&limit=${PAGE_MESSAGES}`);
      if (this.#reading.get(id) !== reading) return; // somebody else acts now, and reads for themselves
      const list = answer.messages ?? [];
      this.histories.set(id, { list, whole: list.length < PAGE_MESSAGES });
      if (answer.channel) this.channels.set(id, answer.channel);
    } finally {
      if (this.#reading.get(id) === reading) this.#reading.delete(id);
    }
    for (const change of reading.late) this.#take(change);
    this.touch("log", "channels");
  }

  /** Reads the page of messages before the oldest one here. */
  async readOlder(id) {
    const history = this.histories.get(id);
    const oldest = history?.list.find((message) => !message.ephemeral_for);
    if (!oldest || history.whole) return;
    const answer = await this.server.get(`/sim/channels/${id}?as=${this.me}&limit=${PAGE_MESSAGES}&before=${oldest.id}`);
    const known = new Set(history.list.map((message) => message.id));
    const older = (answer.messages ?? []).filter((message) => !known.has(message.id));
    history.whole = older.length === 0 || (answer.messages ?? []).length < PAGE_MESSAGES;
    history.list = [...older, ...history.list].sort((a, b) => compareIds(a.id, b.id));
    this.touch("log");
  }

  message(id) {
    for (const { list } of this.histories.values()) {
      const found = list.find((message) => message.id === id);
      if (found) return found;
    }
    return undefined;
  }

  /** A message that a lock screen shows; undefined until it was read. */
  notedMessage(id) {
    if (!this.noted.has(id)) {
      this.noted.set(id, undefined);
      this.server.get(`/sim/messages/${id}`).catch(() => null).then((message) => {
        // A change that came meanwhile is newer.
        if (!this.noted.has(id) || this.noted.get(id) !== undefined) return;
        this.noted.set(id, message);
        this.touch("phone");
      });
    }
    return this.noted.get(id);
  }

  /** The newest thing that was pressed on a member's lock screen, its answer, and any further one. */
  pressedOnPhone(member) {
    const pressed = [...this.interactions.values()].filter((one) => one.on_phone && one.user_id === member);
    return pressed.sort((a, b) => compareIds(a.id, b.id)).at(-1);
  }

  /** Reads back in a channel until a message is here; false when it is not there, or too far back. */
  async reach(channel_id, message_id) {
    const PAGES_MAX = 10;
    const here = () => this.histories.get(channel_id)?.list.some((message) => message.id === message_id);
    for (let page = 0; !here() && page < PAGES_MAX; page += 1) {
      const history = this.histories.get(channel_id);
      if (!history || history.whole || compareIds(history.list[0]?.id ?? "0", message_id) < 0) break;
      await this.readOlder(channel_id);
    }
    return Boolean(here());
  }

  /** The newest message after this one that rang a member's phone. */
  newerPing(channel_id, message_id, member) {
    const list = this.histories.get(channel_id)?.list ?? [];
    return list.findLast((message) => compareIds(message.id, message_id) > 0 && message.pinged?.members?.includes(member));
  }

  /** What the acting member sees in a channel, oldest first. */
  visible(id) {
    const list = this.histories.get(id)?.list ?? [];
    return list.filter((message) => !message.ephemeral_for || (message.ephemeral_for === this.me && !this.dismissed.has(message.id)));
  }

  // --- looking

  async open(id, { focus } = {}) {
    const channel = this.channels.get(id);
    if (!channel) return;
    if (channel.kind === "thread") {
      this.thread = id;
      if (channel.parent_id && this.channels.has(channel.parent_id)) this.channel = channel.parent_id;
    } else {
      this.channel = id;
      if (this.channels.get(this.thread)?.parent_id !== id) this.thread = "";
    }
    this.focus = focus;
    this.touch("channels", "log", "head", "composer");
    await Promise.all([this.channel, this.thread].filter(Boolean).map((each) => this.read(each)));
    this.markSeen();
  }

  closeThread() {
    this.thread = "";
    this.touch("channels", "log", "head");
  }

  async actAs(id) {
    if (!this.members.has(id) || id === this.me) return;
    this.me = id;
    sessionStorage.setItem("me", id);
    // Another member has other ephemeral answers and other direct messages.
    this.histories.clear();
    const open = this.channels.get(this.channel);
    if (open?.kind === "dm" && !this.#inDm(open)) this.channel = this.#firstChannel();
    this.touch("all");
    await Promise.all([this.channel, this.thread].filter(Boolean).map((each) => this.read(each)));
    this.markSeen();
  }

  /** The person looks at what is open: it is no longer unread. */
  markSeen() {
    if (document.hidden) return;
    for (const id of [this.channel, this.thread].filter(Boolean)) {
      const newest = this.channels.get(id)?.last_message_id;
      if (newest) this.seen.set(`${this.me}/${id}`, newest);
    }
    sessionStorage.setItem("seen", JSON.stringify([...this.seen]));
    this.touch("channels");
  }

  unread(id) {
    const newest = this.channels.get(id)?.last_message_id;
    if (!newest) return { any: false, mentions: 0 };
    const seen = this.seen.get(`${this.me}/${id}`) ?? "0";
    const any = compareIds(newest, seen) > 0;
    const phone = this.phones.get(this.me);
    const mentions = any
      ? (phone?.notifications ?? []).filter((note) => note.channel_id === id && note.message_id && compareIds(note.message_id, seen) > 0).length
      : 0;
    return { any, mentions };
  }

  // --- changes

  /** Takes a change of the stream; one that is known already does nothing. */
  apply(change) {
    if (this.#late) return void this.#late.push(change);
    if (change.kind !== "reset" && change.seq !== undefined) {
      if (change.seq <= this.#seq) return undefined;
      this.#seq = change.seq;
    }
    const channel_id = change.message?.channel_id ?? change.channel_id;
    if (change.kind.startsWith("message")) this.#reading.get(channel_id)?.late.push(change);
    return this.#take(change);
  }

  #take(change) {
    switch (change.kind) {
      case "message": return this.#put(change.message, true);
      case "message_edit": return this.#put(change.message, false);
      case "message_delete": {
        const history = this.histories.get(change.channel_id);
        if (history) history.list = history.list.filter((message) => message.id !== change.message_id);
        if (this.noted.has(change.message_id)) this.noted.set(change.message_id, null);
        return this.touch("log", "phone");
      }
      case "channel":
        this.channels.set(change.channel.id, change.channel);
        return this.touch("channels", "head", "log", "composer");
      case "channel_delete": {
        this.channels.delete(change.channel_id);
        this.histories.delete(change.channel_id);
        if (this.thread === change.channel_id) this.thread = "";
        if (this.channel === change.channel_id) this.open(this.#firstChannel());
        return this.touch("channels", "head", "log");
      }
      case "typing": {
        const TYPING_MS = 10_000;
        if (!this.typing.has(change.channel_id)) this.typing.set(change.channel_id, new Map());
        this.typing.get(change.channel_id).set(change.user_id, Date.now() + TYPING_MS);
        return this.touch("typing");
      }
      case "interaction": {
        const { interaction } = change;
        this.interactions.set(interaction.id, interaction);
        while (this.interactions.size > INTERACTIONS_KEPT) this.interactions.delete(this.interactions.keys().next().value);
        return this.touch("interactions", "log", ...(interaction.on_phone ? ["phone"] : []));
      }
      case "notification": {
        const phone = this.phones.get(change.member_id) ?? { member_id: change.member_id, notifications: [] };
        const others = (phone.notifications ?? []).filter((note) => note.id !== change.notification.id);
        this.phones.set(change.member_id, { ...phone, pings: change.pings, notifications: [change.notification, ...others] });
        this.onRing?.(change.member_id, change.notification);
        return this.touch("phone", "channels");
      }
      case "phone":
        this.phones.set(change.phone.member_id, change.phone);
        return this.touch("phone");
      case "member":
        this.members.set(change.member.id, change.member);
        return this.touch("all");
      case "commands":
        this.commands = change.commands;
        return this.touch("composer");
      case "gateway":
        this.bot = { ...this.bot, connected: change.connected };
        return this.touch("head", "channels");
      case "faults":
        this.faults = change.faults;
        return this.touch("faults");
      case "reset":
        return this.load();
      default: // a kind from a later version
    }
  }

  #put(message, isNew) {
    const channel = this.channels.get(message.channel_id);
    if (isNew && channel && !message.ephemeral_for) {
      this.channels.set(channel.id, { ...channel, last_message_id: message.id, message_count: (channel.message_count ?? 0) + 1 });
    }
    this.typing.get(message.channel_id)?.delete(message.author?.id);
    const history = this.histories.get(message.channel_id);
    if (history) {
      const at = history.list.findIndex((known) => known.id === message.id);
      if (at >= 0) history.list[at] = message;
      else if (isNew || message.ephemeral_for) {
        history.list.push(message);
        history.list.sort((a, b) => compareIds(a.id, b.id));
      }
    }
    if (this.noted.has(message.id)) {
      this.noted.set(message.id, message);
      this.touch("phone");
    }
    if (message.channel_id === this.channel || message.channel_id === this.thread) this.markSeen();
    this.touch("log", "channels", "typing");
  }

  // --- acting

  /** How something that this page asked stands. What the server does not tell of is waited for at first only; later it is over. */
  statusOf(id) {
    const began = this.mine.get(id)?.began ?? 0;
    return this.interactions.get(id)?.status ?? (Date.now() - began < UNTOLD_MS ? "waiting" : "over");
  }

  /** Does something that the bot answers, and remembers that this page asked. */
  async interact(path, body, about) {
    const me = about.me ?? this.me;
    // Whoever does something is awake.
    if (this.members.get(me)?.asleep) await this.server.post(`/sim/member/${me}`, { asleep: false });
    const answer = await this.server.post(path, { as: me, ...body });
    if (answer.interaction_id) {
      // A new press makes the failure of the last one history.
      for (const [id, other] of this.mine) if (about.message_id && other.message_id === about.message_id) this.dismissed.add(id);
      this.mine.set(answer.interaction_id, { me, began: Date.now(), ...about });
      this.touch("interactions", "log");
    }
    return answer;
  }
}
