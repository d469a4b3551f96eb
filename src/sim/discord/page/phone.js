// A phone's lock screen: what somebody sees who is not at the chat, what they can tap there, and how it rings.

import { bdi, el, icon } from "./dom.js";
import { briefAge, clockTime, dayName, now, setText, toPromise } from "./clock.js";
import { render } from "./markup.js";
import { openMenu } from "./menu.js";

const RING_MS = 6000;
const SHOWN_MAX = 12;
const LINE_CHARS = 100;
// An answer is read before its button is tapped, so it is not cut where a notification is.
const ANSWER_CHARS = 400;
const ACTIONS_MAX = 2; // as many as stand side by side; the rest is in the chat
const BUTTON = 2, DANGER = 4, LINK = 5;

export class Phone {
  #ringing = 0; // until when, wall clock
  #audio = null;
  #drawn = new Set();
  #owner = "";
  #asleep = false;
  #cleared = ""; // the answer that was swiped away

  constructor(root, store, actions) {
    Object.assign(this, { root, store, actions });
    this.choose = el("button", { type: "button", class: "owner", "aria-haspopup": "menu", "aria-expanded": "false", on: { click: () => this.#chooseOwner() } });
    this.sleep = el("button", { type: "button", class: "small", on: { click: () => this.#toggleSleep() } });
    this.sound = el("button", { type: "button", class: "small", "aria-pressed": "false", on: { click: () => this.#toggleSound() } });
    this.clear = el("button", { type: "button", class: "small", on: { click: () => this.#clear() } }, "Clear");
    this.time = el("p", { class: "phone-time" });
    this.day = el("p", { class: "phone-day" });
    this.state = el("p", { class: "phone-state", role: "status" });
    this.notes = el("ol", { class: "notes", "aria-label": "Notifications, newest first" });
    this.device = el("div", { class: "device" },
      el("div", { class: "speaker", "aria-hidden": "true" }),
      el("div", { class: "screen" }, this.time, this.day, this.state, this.notes, el("p", { class: "swipe", "aria-hidden": "true" })));
    this.elsewhere = el("div", { class: "elsewhere", role: "status" });
    root.append(el("div", { class: "phone-head" }, this.choose, el("div", { class: "phone-tools" }, this.sleep, this.sound, this.clear), this.elsewhere), this.device);
    this.#drawSound();
  }

  sync() {
    const { store } = this;
    const owner = store.members.get(store.owner);
    const phone = store.phones.get(store.owner);
    if (this.#owner !== store.owner) {
      this.#owner = store.owner;
      this.#drawn.clear();
      this.notes.replaceChildren();
      this.#ringing = 0;
    }
    // Whoever gets up silences it.
    if (this.#asleep && !owner?.asleep) this.#ringing = 0;
    this.#asleep = Boolean(owner?.asleep);
    this.choose.replaceChildren(icon("phone"), el("span", {}, bdi(owner?.display_name ?? "Nobody"), "’s phone"), el("span", { class: "caret", "aria-hidden": "true" }, "▾"));
    this.sleep.textContent = owner?.asleep ? "Wake" : "To sleep";
    const notes = this.#notes(phone?.notifications ?? []);
    this.clear.disabled = notes.length === 0;
    this.#drawNotes(notes);
    this.tick();
  }

  #clear() {
    this.#cleared = this.store.pressedOnPhone(this.store.owner)?.id ?? "";
    this.actions.clearPhone(this.store.owner);
    this.sync();
  }

  /** Newest first: what rang, and what came of the last tap here. */
  #notes(rang) {
    const notes = rang.slice(0, SHOWN_MAX);
    const pressed = this.store.pressedOnPhone(this.store.owner);
    if (!pressed || pressed.id === this.#cleared) return notes;
    const waits = pressed.status === "waiting" || pressed.status === "deferred";
    const answer = pressed.followups?.at(-1) ?? (pressed.ephemeral ? pressed.message : undefined);
    if (!waits && !answer && pressed.status !== "expired") return notes;
    const note = {
      id: `answer-${pressed.id}`, at: pressed.at, why: "answer", title: this.store.bot.display_name || "The bot", channel_id: pressed.channel_id,
      message_id: waits ? undefined : answer?.id, line: waits ? "…" : pressed.error ?? "",
    };
    return [...notes, note].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  }

  #drawNotes(notes) {
    const keys = new Set(notes.map((note) => note.id));
    for (const node of [...this.notes.children]) if (!keys.has(node.dataset.id)) node.remove();
    const first = this.#drawn.size === 0;
    notes.forEach((note, index) => {
      let node = this.notes.querySelector(`[data-id="${CSS.escape(note.id)}"]`);
      if (!node) {
        node = this.#note(note);
        if (!first) node.classList.add("slides");
      }
      if (this.notes.children[index] !== node) this.notes.insertBefore(node, this.notes.children[index] ?? null);
      this.#drawActions(node, note);
    });
    // What rings is what one sees.
    if (!first && [...keys].some((key) => !this.#drawn.has(key))) this.notes.scrollTop = 0;
    this.#drawn = keys;
    if (notes.length === 0) this.#drawn.add("nothing");
  }

  #note(note) {
    // Another app's push carries its own name; what Discord sent says who wrote and where.
    const app = note.app ?? "Chat";
    const why = { mention: "mentions you", role: note.via ? `@${note.via}` : "your role", everyone: "@everyone", dm: "direct message", push: "push", answer: "only you see this" }[note.why];
    // The words as this phone writes them: times in the zone and on the clock of the page.
    const line = this.#line(note.content ?? "", LINE_CHARS) || (note.line ?? "");
    const inside = [
      el("span", { class: "note-head" }, el("span", { class: "app" }, icon("bell"), app), why && el("span", { class: "why" }, bdi(why)),
        el("span", { class: "age", data: { age: String(Date.parse(note.at)) } }, briefAge(toPromise(Date.parse(note.at))))),
      el("span", { class: "note-title", dir: "auto" }, note.title ?? ""),
      el("span", { class: "note-line", dir: "auto" }, line),
    ];
    return el("li", { class: note.why === "answer" ? "answer" : "", data: { id: note.id } }, note.channel_id
      ? el("button", { type: "button", class: "note", title: "Open it in the chat as this member", on: { click: () => this.#open(note.id) } }, ...inside)
      : el("div", { class: "note" }, ...inside),
    el("div", { class: "note-actions" }));
  }

  #line(source, chars) {
    const whole = [...render(source, this.store.names).textContent.replace(/\s+/gu, " ").trim()];
    return whole.length > chars ? `${whole.slice(0, chars - 1).join("").trimEnd()}…` : whole.join("");
  }

  #open(id) {
    const note = this.#notes(this.store.phones.get(this.store.owner)?.notifications ?? []).find((each) => each.id === id);
    if (note) this.actions.openNote(this.store.owner, note);
  }

  /** The buttons of the message as it is now; of an answer, its words too. */
  #drawActions(node, note) {
    const message = note.message_id ? this.store.notedMessage(note.message_id) : undefined;
    if (note.why === "answer") setText(node.querySelector(".note-line"), message ? this.#line(message.content ?? "", ANSWER_CHARS) : note.line);
    const buttons = (message?.components ?? []).flatMap((row) => row.components ?? [])
      .filter((part) => part.type === BUTTON && part.style !== LINK && !part.disabled).slice(0, ACTIONS_MAX);
    const pressed = this.store.pressedOnPhone(this.store.owner);
    const waits = pressed?.status === "waiting" && pressed.source === message?.id ? pressed.name : "";
    const key = JSON.stringify([message?.id, buttons, waits]);
    const place = node.querySelector(".note-actions");
    if (place.dataset.key === key) return;
    place.dataset.key = key;
    place.replaceChildren(...buttons.map((button) => el("button", {
      type: "button", class: `note-action ${button.style === DANGER ? "danger" : ""} ${button.custom_id === waits ? "busy" : ""}`,
      on: { click: () => waits || this.actions.pressNote(this.store.owner, message, button) },
    }, [button.emoji?.name, button.label].filter(Boolean).join(" "))));
  }

  /** A phone rings: visibly and, if somebody asked for sound, audibly. Another one than the one shown is named. */
  ring(member) {
    if (member !== this.store.owner) return this.#ringElsewhere(member);
    this.#ringing = Date.now() + RING_MS;
    this.device.classList.remove("ringing");
    void this.device.offsetWidth; // starts the movement anew
    this.#strike();
    this.tick();
  }

  #ringElsewhere(member) {
    if (this.elsewhere.querySelector(`[data-id="${CSS.escape(member)}"]`)) return;
    const line = el("button", { type: "button", class: "linkish", data: { id: member }, on: { click: () => { line.remove(); this.actions.choosePhone(member); } } },
      "◉ ", bdi(this.store.names.member(member) ?? "Somebody"), "’s phone rings");
    this.elsewhere.append(line);
    setTimeout(() => line.remove(), 2 * RING_MS);
  }

  tick() {
    const owner = this.store.members.get(this.store.owner);
    const phone = this.store.phones.get(this.store.owner);
    const ringing = Date.now() < this.#ringing;
    setText(this.time, clockTime(now()));
    setText(this.day, dayName(now()));
    this.device.classList.toggle("ringing", ringing);
    document.body.classList.toggle("phone-rings", ringing);
    const pings = phone?.pings ?? 0;
    setText(this.state, ringing ? "◉ Ringing" : `${owner?.asleep ? "☾ Asleep" : "Awake"} · rang ${pings === 1 ? "once" : `${pings} times`}`);
  }

  #chooseOwner() {
    openMenu(this.choose, this.store.people().map((member) => ({
      label: bdi(member.display_name), hint: member.asleep ? "asleep" : "awake", checked: member.id === this.store.owner,
      run: () => this.actions.choosePhone(member.id),
    })), { label: "Whose phone" });
  }

  #toggleSleep() {
    const owner = this.store.members.get(this.store.owner);
    if (owner) this.actions.setMember(owner.id, { asleep: !owner.asleep });
  }

  // --- sound: two strokes of a bell, only after somebody asked for it

  #toggleSound() {
    if (this.#audio) {
      this.#audio.close();
      this.#audio = null;
    } else {
      this.#audio = new AudioContext();
      this.#strike();
    }
    this.#drawSound();
  }

  #drawSound() {
    const on = Boolean(this.#audio);
    this.sound.setAttribute("aria-pressed", String(on));
    this.sound.replaceChildren(icon(on ? "sound" : "mute"), on ? "Sound on" : "Sound off");
  }

  #strike() {
    const audio = this.#audio;
    if (!audio) return;
    const PARTIALS = [[1, 0.5], [2.01, 0.3], [2.74, 0.2], [5.4, 0.08]]; // of a small bronze bell
    const NOTE_HZ = 880;
    for (const delay_s of [0, 0.42]) {
      for (const [ratio, loudness] of PARTIALS) {
        const start = audio.currentTime + delay_s;
        const tone = audio.createOscillator();
        const fade = audio.createGain();
        tone.frequency.value = NOTE_HZ * ratio;
        fade.gain.setValueAtTime(loudness * 0.3, start);
        fade.gain.exponentialRampToValueAtTime(0.0001, start + 1.8 / ratio + 0.2);
        tone.connect(fade).connect(audio.destination);
        tone.start(start);
        tone.stop(start + 2.2);
      }
    }
  }
}
