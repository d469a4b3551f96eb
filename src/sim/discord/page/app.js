// The page of the local Discord: puts its parts together and says what a press, a choice or a line typed does.

import { el, icon, toast } from "./dom.js";
import { tick } from "./clock.js";
import { render } from "./markup.js";
import { Store } from "./store.js";
import { Server } from "./server.js";
import { Channels } from "./channels.js";
import { Log } from "./log.js";
import { Composer } from "./composer.js";
import { Phone } from "./phone.js";
import { Demo } from "./demo.js";
import { openForm } from "./form.js";
import { openMenu } from "./menu.js";

const byId = (id) => document.getElementById(id);
const ANSWER_KEPT_MS = 20 * 60_000; // a token lives 15 minutes; after that no answer can come

const isFixture = new URLSearchParams(location.search).has("fixture");
const server = isFixture ? new (await import("./fixture.js")).Fixture() : new Server();
const store = new Store(server);
store.me = sessionStorage.getItem("me") ?? "";

/** Runs something the server may refuse, and says why it did. */
async function attempt(act) {
  try {
    return await act();
  } catch (refused) {
    toast(refused.message, "bad");
    return undefined;
  }
}

function showPane(pane) {
  document.body.dataset.pane = pane;
  for (const button of byId("panes").children) button.setAttribute("aria-pressed", String(button.dataset.pane === pane));
}

const actions = {
  async openChannel(id) {
    await attempt(() => store.open(id));
    showPane(store.thread === id ? "thread" : "chat");
  },

  /** The clock was read, and may have jumped: what says a time says it at once, or the page would show two. */
  retime() {
    tick();
    phone.tick();
  },

  /** Opens a thread beside the chat, and leaves the pane that is looked at. */
  follow: (id) => attempt(() => store.open(id)),

  async show(message_id) {
    const message = store.message(message_id);
    await attempt(() => store.open(message?.channel_id ?? store.channel, { focus: message_id }));
  },

  actAs: (id) => attempt(() => store.actAs(id)),

  async openNote(member, note) {
    // Whoever opens a notification is awake.
    if (store.members.get(member)?.asleep) await attempt(() => server.post(`/sim/member/${member}`, { asleep: false }));
    await attempt(() => store.actAs(member));
    await attempt(() => store.open(note.channel_id, { focus: note.message_id }));
    showPane(store.thread === note.channel_id ? "thread" : "chat");
    if (await attempt(() => store.reach(note.channel_id, note.message_id))) return store.touch("log");
    // A reminder is deleted once the next one stands: the lock screen still shows both.
    const newer = store.newerPing(note.channel_id, note.message_id, member);
    store.focus = newer?.id;
    store.touch("log");
    toast(newer ? "That message was replaced by this newer one." : "That message was deleted. What stands now is here.");
  },

  /** A tap on a button of a notification, without opening the chat. */
  pressNote: (member, message, button) => attempt(() => store.interact("/sim/press", { message: message.id, button: button.custom_id, on_phone: true },
    { me: member, message_id: message.id, channel_id: message.channel_id, custom_id: button.custom_id, onPhone: true })),

  choosePhone(id) {
    store.owner = id;
    store.touch("phone");
  },

  clearPhone: (id) => attempt(() => server.post(`/sim/phones/${id}/clear`)),
  setMember: (id, change) => attempt(() => server.post(`/sim/member/${id}`, change)),
  older: (id) => attempt(() => store.readOlder(id)),

  dismiss(id) {
    store.dismissed.add(id);
    store.touch("log");
  },

  talk: (channel, text, reply_to) => store.interact("/sim/type", { channel, text, ...(reply_to ? { reply_to } : {}) }, { channel_id: channel, name: text.split(" ")[0] }),
  run: (channel, command, options) => store.interact("/sim/run", { channel, command, options }, { channel_id: channel, name: `/${command}` }),

  press: (message, button) => attempt(() => store.interact("/sim/press", { message: message.id, button: button.custom_id },
    { message_id: message.id, channel_id: message.channel_id, custom_id: button.custom_id })),

  select: (message, select, values) => attempt(() => store.interact("/sim/select", { message: message.id, menu: select.custom_id, values },
    { message_id: message.id, channel_id: message.channel_id, custom_id: select.custom_id })),

  react: (message, emoji) => attempt(() => server.post("/sim/react", { as: store.me, message: message.id, emoji })),

  /** What can be done with a message: the bot's own commands first. */
  menu(anchor, message) {
    const commands = (kind) => store.commands.filter((command) => command.kind === kind);
    const begin = (command, body) => () => attempt(() => store.interact("/sim/menu", { channel: message.channel_id, command: command.name, ...body },
      { channel_id: message.channel_id, name: command.name }));
    const thread = store.channels.get(message.thread_id);
    const composer = message.channel_id === store.thread ? threadComposer : channelComposer;
    const bots = [
      ...commands("message").map((command) => ({ label: command.name, run: begin(command, { message: message.id }) })),
      ...commands("user").map((command) => ({ label: `${command.name}: ${message.author.name}`, run: begin(command, { user: message.author.id }) })),
    ];
    openMenu(anchor, [
      ...(bots.length > 0 ? [{ heading: store.bot.display_name || "Apps" }, ...bots, { heading: "Message" }] : []),
      { label: "Reply", run: () => composer.replyTo(message) },
      ...(thread ? [{ label: "Open its thread", run: () => actions.openChannel(thread.id) }] : []),
      { label: "React with 👍", run: () => actions.react(message, "👍") },
      { label: "Copy text", run: () => attempt(() => navigator.clipboard.writeText(message.text ?? message.content)) },
      { label: "Delete by hand", hint: "as a moderator would", danger: true, run: () => attempt(() => server.post("/sim/delete", { message: message.id })) },
    ], { label: "What to do with this message" });
  },
};

const channels = new Channels(byId("channels"), store, actions);
const logs = [new Log(byId("channel-log"), "channel", store, actions), new Log(byId("thread-log"), "thread", store, actions)];
const channelComposer = new Composer(byId("channel-composer"), "channel", store, actions);
const threadComposer = new Composer(byId("thread-composer"), "thread", store, actions);
const phone = new Phone(byId("phone"), store, actions);
const demo = new Demo(byId("demo"), store, actions);

// --- drawing

function drawHeads() {
  const channel = store.channels.get(store.channel);
  const sign = channel?.kind === "dm" ? "bell" : "hash";
  byId("channel-head").replaceChildren(icon(sign), el("h2", {}, el("bdi", {}, store.channelName(store.channel))),
    el("p", { class: "topic" }, render(channel?.topic ?? "", store.names)), phoneButton);
  byId("channel-log").setAttribute("aria-label", `Messages in ${store.channelName(store.channel)}`);
  const thread = store.channels.get(store.thread);
  document.body.classList.toggle("has-thread", Boolean(thread));
  byId("thread").hidden = !thread;
  byId("panes").querySelector("[data-pane=thread]").disabled = !thread;
  if (!thread) {
    if (document.body.dataset.pane === "thread") showPane("chat");
    return;
  }
  byId("thread-head").replaceChildren(icon(thread.locked ? "lock" : "thread"), el("h2", {}, el("bdi", {}, thread.name)),
    ...(thread.archived || thread.locked ? [el("span", { class: "tag" }, thread.locked ? "LOCKED" : "ARCHIVED")] : []),
    el("button", { type: "button", class: "small", "aria-label": "Close the thread", title: "Close (Esc)", on: { click: () => store.closeThread() } }, icon("close")));
  byId("thread-log").setAttribute("aria-label", `Messages in the thread ${thread.name}`);
}

const phoneButton = el("button", { type: "button", class: "small phone-toggle", "aria-pressed": "true", on: { click: () => togglePhone() } }, icon("phone"), "Phone");
function togglePhone() {
  const away = document.body.classList.toggle("no-phone");
  phoneButton.setAttribute("aria-pressed", String(!away));
}

function drawTyping() {
  for (const [field, id] of [["channel-typing", store.channel], ["thread-typing", store.thread]]) {
    const who = [...(store.typing.get(id) ?? [])].filter(([, until]) => until > Date.now()).map(([user]) => store.names.member(user) ?? "Somebody").filter((name) => name !== store.names.member(store.me));
    byId(field).textContent = who.length > 0 ? `${who.join(" and ")} ${who.length > 1 ? "are" : "is"} typing…` : "";
  }
}

// Forms open only for what this page began: another page, or a script, has its own.
function answerMine() {
  for (const [id, about] of store.mine) {
    const interaction = store.interactions.get(id);
    if (Date.now() - about.began > ANSWER_KEPT_MS) store.mine.delete(id);
    // A lock screen has no room for a form: it opens in the chat.
    if (about.onPhone && !about.opened && interaction?.status === "modal") store.actAs(about.me);
    if (!interaction || about.opened || interaction.status !== "modal" || !interaction.modal || about.me !== store.me) continue;
    about.opened = true;
    openForm(interaction, {
      submit: (fields) => store.interact("/sim/submit", { interaction: id, fields }, { channel_id: about.channel_id, name: interaction.modal.title }),
      cancel: () => attempt(() => server.post("/sim/cancel", { as: store.me, interaction: id })),
    });
  }
}

store.listen((parts) => {
  const any = (...names) => parts.has("all") || names.some((name) => parts.has(name));
  if (any("channels")) channels.sync();
  if (any("head")) drawHeads();
  if (any("log")) for (const log of logs) log.sync();
  if (any("composer", "head")) for (const composer of [channelComposer, threadComposer]) composer.refresh();
  if (any("phone")) phone.sync();
  if (any("typing")) drawTyping();
  if (any("faults")) demo.syncFaults();
  if (any("interactions")) answerMine();
});

store.onRing = (member) => {
  phone.ring(member);
  demo.poll(); // what is counted moves with what is heard
};

setInterval(() => {
  tick();
  phone.tick();
  demo.tick();
  drawTyping();
}, 1000);

// --- the window

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  showPane("chat");
  channelComposer.focus();
});
for (const button of byId("panes").children) button.addEventListener("click", () => showPane(button.dataset.pane));
showPane("chat");
document.addEventListener("visibilitychange", () => store.markSeen());
document.addEventListener("keydown", (event) => {
  // Typing anywhere writes into the open box, as people expect of a chat.
  const busy = event.target.closest("input, textarea, select, dialog, .menu, button, a");
  if (!busy && event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== " ") {
    (store.thread && document.activeElement?.closest("#thread") ? threadComposer : channelComposer).focus();
  }
  if (event.key === "Escape" && store.thread && event.target.closest("#thread-log, #thread-head")) {
    store.closeThread();
    channelComposer.focus();
  }
});

function showLink(state) {
  const note = byId("link");
  note.hidden = state === "open";
  note.textContent = state === "lost" ? "⚠ The local Discord does not answer. Trying again…" : "Connecting…";
}

showLink("connecting");
server.follow({
  onOpen: async () => {
    try {
      await store.load();
      showLink("open");
    } catch (refused) {
      toast(refused.message, "bad");
      showLink("lost");
    }
  },
  onChange: (change) => store.apply(change),
  onLost: () => showLink("lost"),
});
demo.start();
