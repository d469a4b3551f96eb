// The box at the bottom: plain talk, or a slash command whose options are filled in one after another.

import { bdi, el } from "./dom.js";
import { endsInName, fixedChoices, hintOf, leaves, matching, parseLine, splitNamed, wireValue } from "./commands.js";

const ASK_AFTER_MS = 120; // of no typing, before the bot is asked for completions
const SHOWN_MAX = 25;
let boxes = 0;

/** One composer. `which` names the store's field that says where it writes: "channel" or "thread". */
export class Composer {
  #leaf = null; // the command being filled in
  #fields = []; // [{option, input, picked}] in the order shown
  #entries = []; // what the list offers: {label, hint, take}
  #at = -1;
  #hint = ""; // what the hint says, without what the keys do
  #keys = false; // whether it says what the keys do
  #asked = 0;
  #drafts = new Map(); // channel id → what was being written there
  #here = "";
  reply = null;

  constructor(root, which, store, actions) {
    Object.assign(this, { root, which, store, actions });
    this.listId = `offers-${(boxes += 1)}`;
    this.hint = el("p", { class: "offer-hint", hidden: true });
    this.list = el("ul", { class: "offers", role: "listbox", id: this.listId, "aria-label": "Suggestions", hidden: true });
    this.error = el("p", { class: "composer-error", role: "alert", hidden: true });
    this.replying = el("p", { class: "replying", hidden: true });
    this.box = this.#combo(el("textarea", { rows: "1", maxlength: "4000", "aria-label": "Message, or / for a command" }));
    this.send = el("button", { type: "button", class: "send", on: { click: () => this.#submit() } }, "Send");
    this.line = el("div", { class: "line" }, this.box, this.send);
    this.commandLine = el("div", { class: "line command", hidden: true });
    root.append(this.replying, el("div", { class: "popup" }, this.hint, this.list), this.error, this.line, this.commandLine);
    this.box.addEventListener("input", () => this.#typed());
    this.box.addEventListener("keydown", (event) => this.#boxKey(event));
    root.addEventListener("focusout", (event) => {
      if (!root.contains(event.relatedTarget)) this.#offer([]);
    });
  }

  get channel() {
    return this.store[this.which];
  }

  refresh() {
    const channel = this.store.channels.get(this.channel);
    if (this.#here !== this.channel) {
      // What was begun in one channel is not sent to another.
      if (this.#here && !this.#leaf) this.#drafts.set(this.#here, this.box.value);
      if (this.#leaf) this.#close();
      this.replyTo(null);
      this.#complain("");
      // Where the channel itself is gone (the stand-in began anew), the text goes along.
      const stays = this.#here !== "" && !this.store.channels.has(this.#here);
      this.#here = this.channel;
      this.box.value = this.#drafts.get(this.channel) ?? (stays ? this.box.value : "");
      this.#offer([]);
    }
    this.box.placeholder = channel?.archived ? "Write to reopen it" : "Write, or / for a command";
    this.box.setAttribute("aria-label", `Message to ${this.store.channelName(this.channel)}, or / for a command`);
    this.#height();
  }

  replyTo(message) {
    this.reply = message;
    this.replying.hidden = !message;
    if (message) {
      this.replying.replaceChildren("Replying to ", bdi(message.author.name), " ",
        el("button", { type: "button", class: "linkish", on: { click: () => this.replyTo(null) } }, "Cancel"));
      this.box.focus();
    }
  }

  focus() {
    (this.#fields[0]?.input ?? this.box).focus();
  }

  #combo(input) {
    for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "false", "aria-controls": this.listId, "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false" })) {
      input.setAttribute(name, value);
    }
    return input;
  }

  #complain(sentence) {
    this.error.hidden = !sentence;
    this.error.textContent = sentence ? `⚠ ${sentence}` : "";
  }

  #height() {
    this.box.style.height = "auto";
    const most = innerHeight * 0.3;
    this.box.style.overflowY = this.box.scrollHeight > most ? "auto" : "hidden";
    if (this.box.value !== "") this.box.style.height = `${Math.min(this.box.scrollHeight, most)}px`;
  }

  // --- the list of suggestions

  #offer(entries, { hint = "", at = -1, keys = false } = {}) {
    this.#entries = entries.slice(0, SHOWN_MAX);
    this.#at = Math.min(at, this.#entries.length - 1);
    const more = entries.length - this.#entries.length;
    this.#hint = [hint, more > 0 && `${more} more: type on`].filter(Boolean).join("  —  ");
    this.#keys = keys;
    this.list.hidden = this.#entries.length === 0;
    this.list.replaceChildren(...this.#entries.map((entry, index) => el("li", {
      role: "option", id: `${this.listId}-${index}`, "aria-selected": "false",
      on: { pointerdown: (event) => { event.preventDefault(); entry.take(); } },
    }, el("span", { class: "offer-label" }, entry.label), entry.more, entry.hint && el("span", { class: "offer-note" }, entry.hint))));
    this.#mark();
  }

  #mark() {
    const input = this.#leaf ? this.#field()?.input : this.box;
    // What Enter does depends on whether something in the list is marked.
    const does = this.#at >= 0 ? "Enter or Tab takes the marked one, Esc closes the list" : "Enter runs, Tab goes on, Esc cancels";
    this.hint.textContent = this.#keys ? `${this.#hint}  —  ${does}` : this.#hint;
    this.hint.hidden = this.hint.textContent === "";
    [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.#at)));
    const active = this.list.children[this.#at];
    active?.scrollIntoView({ block: "nearest" });
    if (!input) return;
    input.setAttribute("aria-expanded", String(!this.list.hidden));
    if (active) input.setAttribute("aria-activedescendant", active.id);
    else input.removeAttribute("aria-activedescendant");
  }

  /** Arrow keys in the list, and Enter or Tab on an entry. True when the key is dealt with. */
  #listKey(event) {
    const size = this.#entries.length;
    if (size === 0) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.#at = this.#at === -1 ? (step === 1 ? 0 : size - 1) : (this.#at + step + size) % size;
      this.#mark();
      return true;
    }
    if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey && this.#at >= 0) {
      this.#entries[this.#at].take();
      return true;
    }
    return false;
  }

  // --- plain talk

  #typed() {
    this.#complain("");
    this.#height();
    const text = this.box.value;
    const all = leaves(this.store.commands);
    const whole = parseLine(all, text);
    if (whole) return this.#begin(whole.leaf, whole.values);
    if (text.startsWith("/") && !text.includes("\n")) {
      const fits = matching(all, text.slice(1));
      const hint = fits.length > 0 ? "" : this.store.commands.length === 0 ? "The bot has registered no commands yet." : "No command fits.";
      return this.#offer(fits.map((leaf) => ({
        label: `/${leaf.name}`, hint: leaf.description, take: () => this.#begin(leaf, new Map()),
        more: el("span", { class: "offer-options" }, ...leaf.options.map((option) => el("span", { class: option.required ? "required" : "" },
          option.required ? option.name : `[${option.name}]`))),
      })), { hint, at: 0 });
    }
    const before = text.slice(0, this.box.selectionStart);
    const word = /(?:^|\s)@([\p{L}\p{N}_.-]*)$/u.exec(before);
    if (!word) return this.#offer([]);
    const typed = word[1].toLowerCase();
    const insert = (name) => () => {
      const start = before.length - word[1].length;
      this.box.value = `${text.slice(0, start)}${name} ${text.slice(before.length)}`;
      this.box.selectionStart = this.box.selectionEnd = start + name.length + 1;
      this.#offer([]);
    };
    const people = [...this.store.members.values()].filter((member) => `${member.username} ${member.display_name}`.toLowerCase().includes(typed))
      .map((member) => ({ label: bdi(member.display_name), hint: `@${member.username}`, take: insert(member.username) }));
    const roles = [...this.store.roles.values()].filter((role) => role.name !== "@everyone" && role.name.toLowerCase().includes(typed))
      .map((role) => ({ label: bdi(role.name), hint: "role", take: insert(role.name) }));
    this.#offer([...people, ...roles], { at: typed ? 0 : -1 });
  }

  #boxKey(event) {
    if (event.isComposing) return;
    if (this.#listKey(event)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Escape") {
      this.#offer([]);
      if (this.reply) this.replyTo(null);
    } else if (event.key === "ArrowUp" && this.box.value === "") {
      event.preventDefault();
      [...this.root.parentElement.querySelectorAll("article")].at(-1)?.focus();
    }
  }

  async #submit() {
    if (this.#leaf) return this.#run();
    const text = this.box.value.trim();
    if (text === "") return;
    const whole = parseLine(leaves(this.store.commands), `${text} `);
    if (whole) return this.#begin(whole.leaf, whole.values);
    const sent = this.#withMentions(text);
    this.box.value = "";
    this.#height();
    this.#offer([]);
    try {
      await this.actions.talk(this.channel, sent, this.reply?.id);
      this.replyTo(null);
    } catch (refused) {
      if (this.box.value === "") this.box.value = text;
      this.#height();
      this.#complain(refused.message);
    }
  }

  // What Discord's own client does: names after @ and # become mentions.
  #withMentions(text) {
    const known = [
      ...[...this.store.members.values()].flatMap((member) => [[`@${member.username}`, `<@${member.id}>`], [`@${member.display_name}`, `<@${member.id}>`]]),
      ...[...this.store.roles.values()].filter((role) => role.name !== "@everyone").map((role) => [`@${role.name}`, `<@&${role.id}>`]),
      ...[...this.store.channels.values()].filter((channel) => channel.kind !== "dm").map((channel) => [`#${channel.name}`, `<#${channel.id}>`]),
    ].sort((a, b) => b[0].length - a[0].length);
    let out = "";
    for (let at = 0; at < text.length;) {
      const free = at === 0 || /[\s("']/u.test(text[at - 1]);
      const hit = free && known.find(([name]) => text.startsWith(name, at) && !/[\p{L}\p{N}_]/u.test(text[at + name.length] ?? ""));
      out += hit ? hit[1] : text[at];
      at += hit ? hit[0].length : 1;
    }
    return out;
  }

  // --- a command

  #begin(leaf, values) {
    this.#leaf = leaf;
    this.#fields = [];
    this.#complain("");
    this.line.hidden = true;
    this.commandLine.hidden = false;
    this.chips = el("span", { class: "chips" });
    this.runButton = el("button", { type: "button", class: "send", on: { click: () => this.#run() } }, "Run");
    this.commandLine.replaceChildren(el("span", { class: "command-name" }, `/${leaf.name}`), this.chips, this.runButton);
    for (const option of leaf.options) if (option.required || values.has(option.name)) this.#addField(option, values.get(option.name));
    if (this.#fields.length === 0 && leaf.options.length > 0) this.#addField(leaf.options[0]);
    this.#drawChips();
    // The first that is still empty, else the one just typed.
    const next = this.#fields.find((field) => field.input.value === "") ?? this.#fields.at(-1);
    const typedIn = this.#fields.find((field) => values.get(field.option.name));
    const to = typedIn && values.size === 1 ? typedIn : next;
    if (to) {
      to.input.focus();
      to.input.selectionStart = to.input.value.length;
      this.#suggest(to);
    } else {
      this.#offer([], { hint: "No options: Enter runs it." });
      this.runButton.focus();
    }
  }

  #addField(option, value = "") {
    const input = this.#combo(el("input", { type: "text", "aria-label": `${option.name}, ${hintOf(option)}`, inputmode: option.type === 4 || option.type === 10 ? "numeric" : undefined }));
    input.value = value;
    const field = { option, input, picked: undefined };
    field.node = el("label", { class: option.required ? "field required" : "field" }, el("span", { class: "field-name" }, option.name,
      option.required && el("span", { class: "star", title: "required" }, " *")), input);
    const size = () => { input.style.width = `${Math.max(6, Math.min(48, [...input.value].length + 1))}ch`; };
    size();
    input.addEventListener("input", (event) => {
      field.picked = undefined;
      this.#complain("");
      if (event.inputType === "insertFromPaste" && this.#spread(field)) return;
      const to = this.#named(field);
      // A blank before the words, as in "title: it is down", is none of them.
      if (/^\s/u.test(input.value)) input.value = input.value.trimStart();
      size();
      if (to === field) this.#suggest(field);
      else to.input.focus();
    });
    input.addEventListener("focus", () => this.#suggest(field));
    input.addEventListener("keydown", (event) => this.#fieldKey(event, field));
    this.#fields.push(field);
    this.chips.before(field.node);
    return field;
  }

  // "name:" goes to that option, as in Discord's own client. Returns the field that is typed into from now on.
  #named(field) {
    const mark = endsInName(this.#leaf.options, field.input.value);
    if (!mark) return field;
    const known = this.#fields.find((each) => each.option.name === mark.name);
    // Within words, the name of an option that has its own words already is a word.
    const isWord = known === field ? mark.before.trim() !== "" : known && known.input.value !== "";
    if (isWord) return field;
    field.input.value = mark.before;
    if (known) return known;
    const opened = this.#addField(this.#leaf.options.find((each) => each.name === mark.name));
    this.#drawChips();
    return opened;
  }

  // What is pasted with its options' names is what it would be if it had been typed.
  #spread(field) {
    const { named, rest } = splitNamed(this.#leaf.options, field.input.value);
    if (named.size === 0) return false;
    for (const [name, value] of [[field.option.name, rest.trim()], ...named]) {
      const to = this.#fields.find((each) => each.option.name === name) ?? this.#addField(this.#leaf.options.find((each) => each.name === name));
      to.input.value = value;
      to.input.dispatchEvent(new Event("input"));
    }
    this.#drawChips();
    return true;
  }

  #field() {
    return this.#fields.find((field) => field.input === document.activeElement);
  }

  #free() {
    return this.#leaf.options.filter((option) => !this.#fields.some((field) => field.option === option));
  }

  #drawChips() {
    this.chips.replaceChildren(...this.#free().map((option) => el("button", {
      type: "button", class: "chip", title: option.description, on: { click: () => this.#open(option) },
    }, `+ ${option.name}`)));
  }

  #open(option) {
    const field = this.#addField(option);
    this.#drawChips();
    field.input.focus();
  }

  #close() {
    const text = this.#leaf ? `/${this.#leaf.name}` : "";
    this.#leaf = null;
    this.#fields = [];
    this.#asked += 1;
    this.commandLine.hidden = true;
    this.line.hidden = false;
    this.#offer([]);
    return text;
  }

  #fieldKey(event, field) {
    if (event.isComposing) return;
    if (this.#listKey(event)) return event.preventDefault();
    if (event.key === "Enter") {
      event.preventDefault();
      this.#run();
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (!this.list.hidden) return this.#offer([], { hint: this.#hint, keys: this.#keys });
      this.#close();
      this.box.value = "";
      this.#complain("");
      this.box.focus();
    } else if (event.key === "Backspace" && field.input.value === "") {
      event.preventDefault();
      const at = this.#fields.indexOf(field);
      if (field.option.required || this.#fields.length === 1) {
        if (at > 0) return this.#fields[at - 1].input.focus();
        this.box.value = this.#close();
        this.box.focus();
        return this.#typed();
      }
      field.node.remove();
      this.#fields.splice(at, 1);
      this.#drawChips();
      this.#fields[Math.max(0, at - 1)].input.focus();
    }
  }

  async #suggest(field) {
    const { option, input } = field;
    const hint = hintOf(option);
    const take = (choice) => () => {
      input.value = choice.name;
      field.picked = choice.value;
      input.style.width = `${Math.max(6, Math.min(48, [...choice.name].length + 1))}ch`;
      this.#next(field);
    };
    const entries = (choices) => choices.map((choice) => ({ label: bdi(choice.name), hint: choice.hint, take: take(choice) }));
    const at = field.picked === undefined && (input.value !== "" || option.required) ? 0 : -1;
    const fixed = fixedChoices(option, this.store);
    this.#asked += 1;
    if (fixed) {
      const typed = field.picked === undefined ? input.value.toLowerCase().replace(/^[@#]/u, "") : "";
      const fits = fixed.filter((choice) => `${choice.name} ${choice.hint ?? ""}`.toLowerCase().includes(typed));
      return this.#offer(entries(fits), { hint: fits.length === 0 ? `Nothing fits. ${hint}` : hint, at, keys: true });
    }
    this.#offer([], { hint, keys: true });
    if (!option.autocomplete || field.picked !== undefined) return;
    const asked = this.#asked;
    await new Promise((resume) => setTimeout(resume, ASK_AFTER_MS));
    if (asked !== this.#asked) return;
    let choices = [];
    let trouble = "";
    try {
      const answer = await this.store.server.post("/sim/autocomplete", {
        as: this.store.me, channel: this.channel, command: this.#leaf.name, focused: option.name,
        options: { ...this.#values(), [option.name]: input.value },
      });
      choices = answer.choices ?? [];
    } catch (refused) {
      trouble = refused.message;
    }
    if (asked !== this.#asked || document.activeElement !== input) return;
    this.#offer(entries(choices), { hint: trouble ? `No suggestions: ${trouble}` : hint, at: Math.min(at, choices.length - 1), keys: true });
  }

  #next(field) {
    const next = this.#fields.slice(this.#fields.indexOf(field) + 1).find((each) => each.input.value === "") ?? this.#fields.find((each) => each.option.required && each.input.value === "");
    if (next) next.input.focus();
    else this.#offer([], { hint: "Enter runs it." });
  }

  #values() {
    return Object.fromEntries(this.#fields.filter((field) => field.input.value !== "").map((field) => [field.option.name, this.#value(field)]));
  }

  // Text typed where a choice is wanted means the choice of that name.
  #value(field) {
    const text = field.input.value;
    const same = field.picked === undefined && fixedChoices(field.option, this.store)?.find((choice) => [choice.name, choice.hint, String(choice.value)]
      .some((name) => name?.toLowerCase().replace(/^[@#]/u, "") === text.trim().toLowerCase().replace(/^[@#]/u, "")));
    return wireValue(field.option, text, same ? same.value : field.picked);
  }

  async #run() {
    const missing = this.#fields.find((field) => field.option.required && field.input.value.trim() === "");
    if (missing) {
      this.#complain(`${missing.option.name} is required: ${missing.option.description}`);
      return missing.input.focus();
    }
    const leaf = this.#leaf;
    const values = this.#values();
    this.runButton.disabled = true;
    try {
      await this.actions.run(this.channel, leaf.name, values);
      this.#close();
      this.#complain("");
      this.box.value = "";
      this.#height();
      this.box.focus();
    } catch (refused) {
      this.#complain(refused.message);
    } finally {
      this.runButton.disabled = false;
    }
  }
}
