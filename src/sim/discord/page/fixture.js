// A local Discord made up in the page itself, for looking at the page without a server: open it with `?fixture`.
// Answers the calls of docs/sim.md just well enough that every state of the page can be seen and pressed through.

import { Refused } from "./server.js";

const STARTED_MS = Date.now();
const PLAY_STEP_MS = 4000;
let lastId = BigInt(STARTED_MS - 1_420_070_400_000) << 22n;
const nextId = () => String((lastId += 1n));
const iso = (ms) => new Date(ms).toISOString();
const unix = (ms) => Math.floor(ms / 1000);
const minutes = (count) => count * 60_000;

const BOT = { id: "900", name: "Watchbell", bot: true, color: "#e7b656" };
const roles = [
  { id: "501", name: "reliability", color: "#5fb6c9", mentionable: true, permissions: "0" },
  { id: "502", name: "engineer", color: "#8f7fe0", mentionable: true, permissions: "0" },
  { id: "503", name: "manager", color: "#d0783c", mentionable: true, permissions: "0" },
];
const person = (id, username, display_name, held, asleep, color) => ({ id, username, display_name, bot: false, roles: held, asleep, dms_closed: false, color });
const members = [
  person("801", "ana", "Ana", ["501"], true, "#5fb6c9"),
  person("802", "ben", "Ben Okafor", ["502"], false, "#8f7fe0"),
  person("803", "mira", "מירה כהן", ["503"], false, "#d0783c"),
  person("804", "guest", "Sam", [], false, "#000000"),
  { ...person("900", "watchbell", "Watchbell", [], false, BOT.color), bot: true },
];
const channel = (id, name, kind, position, more = {}) => ({ id, name, kind, position, message_count: 0, ...more });
const channels = [
  channel("101", "general", "text", 0, { topic: "Everything else" }),
  channel("102", "incidents", "text", 1, { topic: "Declared here, told here. `/sev1`, or press what the card offers." }),
  channel("103", "deploys", "text", 2, { topic: "What goes out, and what came of it" }),
  channel("104", "status-updates", "announcement", 3),
  channel("201", "INC-7 checkout is down", "thread", 0, { parent_id: "102", starter_message_id: "" }),
  channel("301", "", "dm", 0, { member_ids: ["801", "900"] }),
];
const option = (type, name, description, more = {}) => ({ type, name, description, ...more });
const severity = { choices: [1, 2, 3].map((value) => ({ name: `SEV-${value}`, value })) };
const commands = [
  ...[1, 2, 3].map((level) => ({
    id: `70${level}`, name: `sev${level}`, kind: "slash", scope: "guild", description: ["", "Something is down: wake people now", "Something is badly degraded", "Something is wrong and can wait"][level],
    options: [option(3, "title", "What is broken, in a few words", { required: true, max_length: 120 }), option(3, "service", "Which service", { autocomplete: true }), option(3, "details", "Anything else")],
  })),
  { id: "704", name: "ack", kind: "slash", scope: "guild", description: "I've got it", options: [option(4, "number", "Which incident", { min_value: 1 })] },
  { id: "705", name: "update", kind: "slash", scope: "guild", description: "Say how it stands", options: [] },
  {
    id: "706", name: "incident", kind: "slash", scope: "guild", description: "Incidents", options: [
      option(1, "show", "One incident with its times", { options: [option(4, "number", "Which incident", { required: true })] }),
      option(1, "severity", "Change the severity", { options: [option(4, "to", "The new severity", { required: true, ...severity }), option(3, "reason", "Why")] }),
      option(1, "handoff", "Give the lead to somebody", { options: [option(6, "to", "Who takes over", { required: true })] }),
    ],
  },
  { id: "707", name: "health", kind: "slash", scope: "guild", description: "How every service is", options: [option(3, "service", "Only this one", { autocomplete: true })] },
  { id: "708", name: "Add to timeline", kind: "message", scope: "guild", description: "", options: [] },
  { id: "709", name: "Use as update", kind: "message", scope: "guild", description: "", options: [] },
];

let messages = [];
function message(channel_id, author, at, content, more = {}) {
  const id = nextId();
  const made = {
    id, channel_id, author, kind: "default", content, text: content, at: iso(at), edits: 0, pinned: false, silent: false, loading: false,
    embeds: [], components: [], attachments: [], pinged: { everyone: false, users: [], roles: [], members: [] }, reactions: [], ...more,
  };
  messages.push(made);
  const home = channels.find((each) => each.id === channel_id);
  home.last_message_id = id;
  home.message_count += 1;
  return made;
}
const from = (id) => {
  const member = members.find((each) => each.id === id);
  return { id, name: member.display_name, bot: member.bot, color: member.color };
};
const button = (custom_id, label, style, more = {}) => ({ type: 2, custom_id, label, style, ...more });
const row = (...components) => ({ type: 1, components });
const rang = (...ids) => ({ everyone: false, users: [], roles: ["501"], members: ids });

function card(number, title, state, t) {
  return {
    title: `INC-${number} · SEV-1 · ${title}`, color: 0xc0392b,
    description: `**${state}**. Declared by <@802>, led by nobody yet.`,
    fields: [
      { name: "Promised next", value: `acknowledge <t:${unix(t + minutes(5))}:R>`, inline: true },
      { name: "Lead", value: "nobody", inline: true },
      { name: "Running", value: `since <t:${unix(t)}:t>`, inline: true },
      { name: "hotdash-agent-service", value: "✗ production: `GET /health` **connection refused**, 3 times in a row\n✓ staging: 200 in 41 ms\n? logs: not looked at", inline: false },
    ],
    footer: { text: "Promises kept: 0 of 0" },
  };
}
const working = [
  row(button("ack:7", "I've got it", 1), button("sev:7", "Severity", 2), button("cancel:7", "Not an incident", 4)),
  row({ type: 3, custom_id: "more:7", placeholder: "More…", options: [
    { value: "snooze", label: "Snooze the reminder", description: "Once, by at most 15 minutes" }, { value: "handoff", label: "Hand off" }, { value: "timeline", label: "Timeline" }] }),
];

const t0 = STARTED_MS - minutes(14);
// The promise clock of the fixture says a few minutes past three.
const NIGHT_MS = new Date(STARTED_MS).setHours(3, 4, 12, 0) - STARTED_MS;
const p0 = t0 + NIGHT_MS;
message("101", from("802"), t0 - minutes(60 * 15), "Morning! The **new retrieval build** is on staging since *yesterday*: `v41`.");
message("101", from("803"), t0 - minutes(60 * 14.9), "תודה, אבדוק היום");
message("101", from("804"), t0 - minutes(60 * 14.8), "<img src=x onerror=alert(1)> does that show as text? And https://example.com/a_b_(c), **bold _and italic_**, ~~gone~~, ||secret||\n> a quote\n- one\n- two");
message("102", BOT, t0 - minutes(60 * 18), "", { silent: true, embeds: [{ title: "Good morning: all is well", color: 0x2e9e63, description: "2 services, 4 stages: ✓ 3, asleep ✓ 1. Nothing promised is open.", footer: { text: "Daily digest · 09:00 America/Chicago" } }] });
message("102", from("802"), t0 - minutes(2), "is anybody else seeing 502s on checkout? @everyone please look");
const head = message("102", BOT, t0, `**SEV-1 INC-7** checkout is down. Ack by <t:${unix(p0 + minutes(5))}:t>\n<@&501> because level 1 is paged for a SEV-1`, {
  embeds: [card(7, "checkout is down", "Investigating", p0)], components: working, pinned: true, thread_id: "201", edited_at: iso(t0 + minutes(2)), edits: 1,
  command: { name: "/sev1", user_id: "802", interaction_id: "1" }, pinged: rang("801"),
});
channels[4].starter_message_id = head.id;
message("102", from("803"), t0 + minutes(1), "<@801> are you up? The health check says:\n```text\nGET https://agent.example/health\nconnect: connection refused (os error 111)\n```", { pinged: { everyone: false, users: ["801"], roles: [], members: ["801"] } });
message("102", from("802"), t0 + minutes(3), "Looking at `agent-service` now", { reply_to: { message_id: head.id, author: { id: "900", name: "Watchbell" }, text: "SEV-1 INC-7 checkout is down. Ack by 03:07" }, reactions: [{ emoji: "👍", count: 2, members: ["803", "801"] }] });
message("201", BOT, t0, "Health at that moment", { silent: true, embeds: [{ color: 0xc0392b, fields: [{ name: "Machines", value: "✗ `e784` fra stopped, exit 137\n✓ `1d21` fra started", inline: true }, { name: "Last deploy", value: "v41, 3 h ago", inline: true }] }],
  attachments: [{ id: "1", filename: "last-errors.txt", content_type: "text/plain", size: 3412, url: "/attachments/201/1/last-errors.txt" }] });
message("201", from("802"), t0 + minutes(4), "Machine e784 ran out of memory, 512 MB is not enough since v41.");
message("201", BOT, t0 + minutes(5), `**INC-7** is not acknowledged. <@801> level 1, second call, because nobody answered in 5 minutes. Level 2 <t:${unix(p0 + minutes(16))}:R>.`, { pinged: { everyone: false, users: ["801"], roles: [], members: ["801"] }, components: [row(button("ack:7", "I've got it", 1), button("plan", "Runbook", 5, { url: "https://example.com" }), button("off", "Restart", 2, { disabled: true }))] });

const note = (of, title, line, why, at, more = {}) => ({ id: nextId(), message_id: of.id, channel_id: of.channel_id, title, line, at: iso(at), why, ...more });
const phones = members.filter((member) => !member.bot).map((member) => ({ member_id: member.id, username: member.username, asleep: member.asleep, pings: 0, notifications: [] }));
phones[0].pings = 2;
phones[0].notifications = [
  note(messages.at(-1), "Watchbell (INC-7 checkout is down)", "INC-7 is not acknowledged. @Ana level 1, second call, because nobody answered in 5 minutes.", "mention", t0 + minutes(5)),
  note(head, "Watchbell (#incidents)", "SEV-1 INC-7 checkout is down. Ack by 03:07", "role", t0, { via: "reliability" }),
  { id: nextId(), app: "ntfy", title: "watchbell-pages", line: "SEV-1 INC-7 checkout is down", at: iso(t0), why: "push" },
];

const STEPS = ["hotdash-agent-service dies", "Three checks fail: SEV-1 is declared", "Ana's phone rings", "“I've got it”", "An update goes out", "The bot is killed with kill -9", "It is back: “I was away 12 s”, one ping, not two", "Green again for ten minutes", "Resolved, and the numbers"];

export class Fixture {
  faults = [];
  speed = 1;
  offset_ms = NIGHT_MS;
  counters = { pings: 4, doubled: 0, late: 0, overdue: 0, restarts: 1 };
  bot = "up";
  services = [{ name: "hotdash-agent-service", stage: "production", state: "dead" }, { name: "hotdash-llamaindex-mcp", stage: "production", state: "up" }, { name: "hotdash-agent-service", stage: "staging", state: "asleep" }];
  played_at = 0;
  interactions = new Map();

  follow(listeners) {
    this.say = (change) => setTimeout(() => listeners.onChange(structuredClone(change)));
    setTimeout(listeners.onOpen);
  }

  get = async (path) => structuredClone(this.#get(new URL(path, location.href)));
  delete = async (path) => {
    const id = Number(path.split("/").at(-1));
    this.faults = this.faults.filter((fault) => fault.id !== id);
    this.say({ kind: "faults", faults: this.faults });
    return {};
  };
  post = async (path, body) => structuredClone(await this.#post(path, body ?? {}));

  #get(url) {
    const [, , what, id] = url.pathname.split("/");
    if (url.pathname === "/sim/demo/info") return this.#info();
    if (what === "state") return { guild: { id: "1", name: "HotDash (local)" }, bot: { id: "900", username: "watchbell", display_name: "Watchbell", connected: this.bot === "up" }, channels, roles, members, commands, faults: this.faults, settings: {}, counters: {}, seq: 0 };
    if (what === "phones") return { phones };
    if (what === "interactions") return { interactions: [] };
    if (what === "channels") {
      const as = url.searchParams.get("as");
      return { channel: channels.find((each) => each.id === id), messages: messages.filter((each) => each.channel_id === id && (!each.ephemeral_for || each.ephemeral_for === as)) };
    }
    throw new Refused(`The fixture does not know ${url.pathname}.`, 404);
  }

  #info() {
    const step = this.played_at ? Math.floor((Date.now() - this.played_at) / PLAY_STEP_MS) : -1;
    const running = step >= 0 && step < STEPS.length;
    return {
      speed: this.speed, promise_now: iso(Date.now() + this.offset_ms), virtual: true, bot: this.bot, bot_up_since: iso(STARTED_MS + this.offset_ms - minutes(16)),
      counters: this.counters, services: this.services,
      play: { running, step: STEPS[step] ?? "", steps: step < 0 ? [] : STEPS.map((text, index) => ({ text, done: index < step, at: iso(this.played_at + this.offset_ms + index * PLAY_STEP_MS) })) },
    };
  }

  async #post(path, body) {
    switch (path) {
      case "/sim/demo/clock":
        this.speed = body.speed ?? this.speed;
        this.offset_ms += (body.advance_s ?? 0) * 1000;
        return {};
      case "/sim/demo/play": this.played_at = Date.now(); return {};
      case "/sim/demo/kill":
        this.bot = "down";
        this.counters.restarts += 1;
        setTimeout(() => { this.bot = "up"; }, 3000);
        return {};
      case "/sim/demo/service":
        this.services.find((each) => each.name === body.name && each.stage === body.stage).state = body.behaviour === "healthy" ? "up" : body.behaviour;
        return {};
      case "/sim/demo/fresh": return {};
      case "/sim/gateway": return {};
      case "/sim/faults": {
        const fault = { id: this.faults.length + 1, ...body };
        this.faults.push(fault);
        this.say({ kind: "faults", faults: this.faults });
        return { id: fault.id };
      }
      case "/sim/autocomplete": return { choices: ["hotdash-agent-service", "hotdash-llamaindex-mcp"].filter((name) => name.includes(body.options[body.focused] ?? "")).map((name) => ({ name, value: name })) };
      case "/sim/type":
      case "/sim/post":
        if (body.text.startsWith("/")) throw new Refused(`There is no command ${body.text.split(" ")[0]}.`, 400);
        this.#new(message(body.channel, from(body.as), Date.now(), body.text));
        return { message_id: messages.at(-1).id };
      case "/sim/run": return this.#command(body);
      case "/sim/menu": return this.#answer(body, `“${body.command}” is done.`);
      case "/sim/press": return body.button.startsWith("ack") ? this.#form(body) : body.button.startsWith("cancel") ? this.#expire(body) : this.#answer(body, "Only for you: **SEV-1** stays as it is.");
      case "/sim/select": return this.#answer(body, `You chose ${body.values.join(", ")}.`);
      case "/sim/submit": return this.#answer(body, `Taken: ${Object.values(body.fields)[0]}`);
      case "/sim/cancel": return {};
      case "/sim/delete":
        messages = messages.filter((each) => each.id !== body.message);
        for (const each of channels) this.say({ kind: "message_delete", channel_id: each.id, message_id: body.message });
        return {};
      case "/sim/react": return {};
      default: return this.#member(path, body);
    }
  }

  #member(path, body) {
    const cleared = /^\/sim\/phones\/(\d+)\/clear$/u.exec(path);
    const changed = /^\/sim\/member\/(\d+)$/u.exec(path);
    if (cleared) {
      const phone = phones.find((each) => each.member_id === cleared[1]);
      phone.notifications = [];
      this.say({ kind: "phone", phone });
    } else if (changed) {
      const member = Object.assign(members.find((each) => each.id === changed[1]), body);
      this.say({ kind: "member", member });
    } else throw new Refused(`The fixture does not know ${path}.`, 404);
    return {};
  }

  #new(made) {
    this.say({ kind: "message", channel_id: made.channel_id, message: made });
  }

  #status(id, status, more = {}) {
    this.interactions.set(id, { ...this.interactions.get(id), id, status, ...more });
    this.say({ kind: "interaction", interaction: this.interactions.get(id) });
  }

  #answer(body, text) {
    const id = nextId();
    const channel_id = body.channel ?? messages.find((each) => each.id === body.message)?.channel_id ?? "102";
    this.#status(id, "deferred");
    const made = message(channel_id, BOT, Date.now(), text, { ephemeral_for: body.as, loading: true });
    this.#new(made);
    setTimeout(() => {
      made.loading = false;
      this.#status(id, "answered");
      this.say({ kind: "message_edit", channel_id, message: made });
    }, 1500);
    return { interaction_id: id };
  }

  #expire() {
    const id = nextId();
    this.#status(id, "waiting");
    setTimeout(() => this.#status(id, "expired", { error: "The application did not respond" }), 3000);
    return { interaction_id: id };
  }

  #form() {
    const id = nextId();
    this.#status(id, "modal", { modal: { custom_id: "update:7", title: "Update on INC-7", inputs: [
      { custom_id: "what", label: "What is known now", style: "paragraph", required: true, max_length: 1500, placeholder: "What changed, what is being tried, what people see" },
      { custom_id: "next", label: "Next update in", style: "short", required: false, value: "15 min", max_length: 20 },
    ] } });
    return { interaction_id: id };
  }

  #command(body) {
    if (!body.command.startsWith("sev")) return body.command === "update" ? this.#form() : this.#answer(body, `You ran \`/${body.command}\`.`);
    const id = nextId();
    this.#status(id, "waiting");
    setTimeout(() => {
      const now = Date.now() + this.offset_ms;
      const made = message(body.channel, BOT, Date.now(), `**${body.command.toUpperCase().replace("V", "V-")} INC-8** ${body.options.title}. Ack by <t:${unix(now + minutes(5))}:t>\n<@&501>`,
        { embeds: [card(8, body.options.title, "Investigating", now)], components: working, command: { name: `/${body.command}`, user_id: body.as, interaction_id: id }, pinged: rang("801") });
      this.#status(id, "answered");
      this.#new(made);
      const notification = note(made, "Watchbell (#incidents)", `SEV-1 INC-8 ${body.options.title}. Ack by 03:12`, "role", Date.now(), { via: "reliability" });
      phones[0].notifications.unshift(notification);
      phones[0].pings += 1;
      this.counters.pings += 1;
      this.say({ kind: "notification", member_id: "801", notification, pings: phones[0].pings });
    }, 800);
    return { interaction_id: id };
  }
}
