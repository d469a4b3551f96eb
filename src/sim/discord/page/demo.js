// The bar above the chat in a demo: the promise clock, the night to play, what can be broken, and how the promises stand.
// Built once and then only rewritten, so that a menu stays open and a focus stays where it is while the numbers move.

import { bdi, el, toast } from "./dom.js";
import { clockSeconds, clockTime, dayName, keepReadings, now, setPromiseClock, setReadings, setText, setZone, toPromise } from "./clock.js";
import { openMenu } from "./menu.js";

// Where a demo mounts its own calls; without a demo nothing answers there.
const BASE = "/sim/demo";
const POLL_MS = 1000;
const SPEEDS = [1, 10, 60, 300];
const SKIPS = [["+1m", 60], ["+5m", 300], ["+15m", 900], ["+1h", 3600]];
// All of them since the demo was last started over. What people are late with stands on the cards.
const COUNTERS = [
  { name: "pings", words: "pings sent", one: "ping sent", title: "Phones that the bot rang" },
  { name: "doubled", words: "doubled", one: "doubled", bad: true, title: "Messages of the bot that stand twice" },
  { name: "late", words: "sent late by the bot", one: "sent late by the bot", bad: true, title: "The bot's own reminders that came too late. “(late)” on a card is about people: what they promised" },
  { name: "restarts", words: "bot restarts", one: "bot restart", title: "How often the bot was away and came back" },
];
const BEHAVIOURS = { up: ["✓", "healthy"], asleep: ["☾", "asleep, which is healthy"], slow: ["⚠", "slow"], wrong: ["⚠", "answers wrongly"], dead: ["✗", "dead"] };
const SHORT_STAGES = { production: "prod" };
const DOWN_MS = 60_000;

export class Demo {
  constructor(root, store, actions) {
    Object.assign(this, { root, store, actions });
    this.services = new Map();
  }

  /** Shows the bar if this is a demo, and keeps it true from then on. */
  async start() {
    try {
      this.#show(await this.store.server.get(`${BASE}/info`));
    } catch {
      return; // a local Discord alone has no promise clock to show
    }
    setInterval(() => this.poll(), POLL_MS);
  }

  async poll() {
    if (this.polling) return;
    this.polling = true;
    try {
      this.#show(await this.store.server.get(`${BASE}/info`));
    } catch {
      // the demo is going away or coming back; the chat says so
    } finally {
      this.polling = false;
    }
  }

  #demo(what, body, said) {
    return this.#do(`${BASE}/${what}`, body, said);
  }

  async #do(path, body, said) {
    try {
      await this.store.server.post(path, body);
      if (said) toast(said);
      await this.poll();
    } catch (refused) {
      toast(refused.message, "bad");
    }
  }

  #build() {
    const post = (what, body, said) => () => this.#demo(what, body, said);
    this.clock = el("p", { class: "demo-clock" });
    this.day = el("p", { class: "demo-day" });
    this.speed = el("select", { "aria-label": "Speed of promise time", on: { change: () => this.#demo("clock", { speed: Number(this.speed.value) }) } },
      ...SPEEDS.map((speed) => el("option", { value: speed }, speed === 1 ? "real time" : `${speed}× faster`)));
    this.skips = el("div", { class: "group", role: "group", "aria-label": "Skip promise time forward" },
      ...SKIPS.map(([words, advance_s]) => el("button", { type: "button", class: "small", "aria-label": `Skip ${words}`, on: { click: post("clock", { advance_s }) } }, words)));
    this.counters = el("dl", { class: "counters" }, ...COUNTERS.map(({ name, words, one, bad, title }) => {
      const number = el("dd", {}, "0");
      return el("div", { title, data: { counter: name, words, one, bad: bad ? "if-any" : "" } }, number, el("dt", {}, words));
    }));
    this.play = el("button", { type: "button", class: "button brass", on: { click: post("play", {}) } });
    this.kill = el("button", { type: "button", class: "button danger", on: { click: post("kill", {}, "The bot is killed with kill -9. It comes back by itself.") } }, "Kill the bot");
    this.bot = el("p", { class: "bot-state", role: "status" });
    this.serviceRow = el("div", { class: "services", role: "group", "aria-label": "Services" });
    this.faults = el("button", { type: "button", class: "small", "aria-haspopup": "menu", "aria-expanded": "false", on: { click: () => this.#faultMenu() } }, "Break Discord ▾");
    this.fresh = el("button", { type: "button", class: "small", on: { click: () => this.#startOver() } }, "Start over");
    this.steps = el("ol", { class: "steps" });
    new ResizeObserver(() => this.#followSteps()).observe(this.steps);
    this.stepsWords = el("summary");
    this.night = el("details", { class: "night", open: true, hidden: true, on: { toggle: () => this.#followSteps() } }, this.stepsWords, this.steps);
    this.stepNow = el("p", { class: "hidden-words", role: "status" });
    const tools = el("div", { class: "demo-tools", id: "demo-tools" },
      el("div", { class: "group" }, this.speed, this.skips), el("div", { class: "group" }, this.faults, this.fresh), this.serviceRow);
    this.fold = el("button", {
      type: "button", class: "small fold", "aria-expanded": "false", "aria-controls": "demo-tools",
      on: { click: () => this.fold.setAttribute("aria-expanded", String(this.root.classList.toggle("unfolded"))) },
    }, "Controls");
    this.root.append(
      el("div", { class: "demo-main" }, el("div", { class: "demo-time" }, this.clock, this.day), this.counters, el("div", { class: "demo-do" }, this.bot, this.kill, this.play, this.fold)),
      tools, this.night, this.stepNow);
    this.root.hidden = false;
  }

  #show(info) {
    if (!this.clock) {
      this.#build();
      this.store.inDemo = true;
      this.store.touch("log");
    }
    this.info = info;
    setZone(info.zone);
    const promise_ms = Date.parse(info.promise_now);
    // What came at a jump is written anew once the jump is known here.
    if (info.clock?.length !== this.jumps) this.store.touch("log");
    this.jumps = info.clock?.length;
    const speed = Number(info.speed) || 1;
    if (info.virtual || speed !== 1) {
      // The demo knows the history of its clock; where it does not, each poll adds what it saw.
      if (info.clock?.length > 0) setReadings(info.clock.map((reading) => ({ wall_ms: Date.parse(reading.wall), promise_ms: Date.parse(reading.promise), speed: reading.speed })));
      else keepReadings([{ wall_ms: Date.now(), promise_ms, speed }]);
      // A bot that has not spoken yet says no time: what was known runs on.
      if (Number.isFinite(promise_ms)) setPromiseClock(promise_ms, speed);
    } else {
      setPromiseClock(NaN, 1);
    }
    if (document.activeElement !== this.speed) {
      if (!SPEEDS.includes(speed) && ![...this.speed.options].some((option) => Number(option.value) === speed)) {
        this.speed.append(el("option", { value: speed }, `${speed}× faster`));
      }
      this.speed.value = String(speed);
    }
    for (const cell of this.counters.children) {
      const count = info.counters?.[cell.dataset.counter];
      setText(cell.firstChild, count === undefined ? "–" : String(count));
      setText(cell.lastChild, count === 1 ? cell.dataset.one : cell.dataset.words);
      cell.classList.toggle("bad", cell.dataset.bad === "if-any" && count > 0);
      cell.classList.toggle("good", cell.dataset.bad === "if-any" && count === 0);
    }
    const since = info.bot_up_since ? ` since ${clockTime(toPromise(Date.parse(info.bot_up_since)))}` : "";
    const words = { up: info.overdue ? "⚠ Bot up, but behind" : `✓ Bot up${since}`, down: "✗ Bot down", starting: "… Bot starting" }[info.bot] ?? `Bot: ${info.bot}`;
    setText(this.bot, words);
    this.bot.dataset.state = info.bot === "up" && info.overdue ? "starting" : info.bot;
    this.kill.disabled = info.bot === "down";
    this.#drawServices(info.services ?? []);
    this.#drawNight(info.play);
    this.syncFaults();
    this.tick();
    this.actions.retime();
  }

  tick() {
    if (!this.clock) return;
    setText(this.clock, clockSeconds(now()));
    setText(this.day, this.info.zone ? `${dayName(now())} · ${this.info.zone.split("/").at(-1).replaceAll("_", " ")}` : dayName(now()));
  }

  #drawServices(services) {
    const keys = new Set();
    for (const service of services) {
      const key = `${service.name}/${service.stage}`;
      keys.add(key);
      let chip = this.services.get(key);
      if (!chip) {
        chip = el("button", { type: "button", class: "service", "aria-haspopup": "menu", "aria-expanded": "false", title: `${service.name}, ${service.stage}` });
        chip.addEventListener("click", () => this.#serviceMenu(chip, service.name, service.stage));
        this.services.set(key, chip);
        this.serviceRow.append(chip);
      }
      const [sign, words] = BEHAVIOURS[service.state] ?? ["?", service.state];
      if (chip.dataset.state === service.state) continue;
      chip.dataset.state = service.state;
      chip.setAttribute("aria-label", `${service.name}, ${service.stage}: ${words}. Change`);
      chip.replaceChildren(el("span", { class: "sign" }, sign), bdi(service.name, { class: "service-name" }),
        el("span", { class: "stage" }, SHORT_STAGES[service.stage] ?? service.stage, ["up", "asleep"].includes(service.state) ? "" : ` · ${words.split(",")[0]}`), el("span", { class: "caret" }, "▾"));
    }
    for (const [key, chip] of this.services) {
      if (keys.has(key)) continue;
      chip.remove();
      this.services.delete(key);
    }
  }

  #serviceMenu(chip, name, stage) {
    const set = (behaviour) => () => this.#demo("service", { name, stage, behaviour });
    openMenu(chip, [
      { heading: `${name}, ${stage}` },
      { label: "✓ Healthy", hint: "answers as it should", run: set("healthy") },
      { label: "⚠ Slow", hint: "answers, but late", run: set("slow") },
      { label: "⚠ Wrong", hint: "answers with an error", run: set("wrong") },
      { label: "✗ Dead", hint: "does not answer at all", run: set("dead"), danger: true },
      { heading: "Past the bot, as with flyctl" },
      { label: "Deploy a bad image", hint: "passes its check, answers 500", run: () => this.#demo("release", { name, stage }, "A bad image is deployed, past the bot."), danger: true },
      { heading: "For a rule to see" },
      { label: "Memory runs out", hint: "one machine's program is killed and starts again", run: () => this.#demo("memory", { name, stage }, "Killed for want of memory. A rule sees it within half a minute."), danger: true },
    ], { label: `How ${name} (${stage}) behaves` });
  }

  #drawNight(play) {
    const running = Boolean(play?.running);
    // The night is followed to its thread, once: whoever closes it again keeps it closed.
    if (running && play.thread && play.thread !== this.followed && this.store.channels.has(play.thread)) {
      this.followed = play.thread;
      this.actions.follow(play.thread);
    }
    setText(this.play, running ? "Playing…" : play?.steps?.length > 0 ? "3 a.m. again" : "Show me 3 a.m.");
    this.play.disabled = running;
    const steps = play?.steps ?? [];
    this.night.hidden = steps.length === 0;
    if (steps.length === 0) return;
    const done = steps.filter((step) => step.done).length;
    setText(this.stepsWords, running ? `3 a.m. · step ${steps.length}` : done === steps.length ? `3 a.m. · played to its end. ${steps.at(-1).text}` : `3 a.m. · stopped at step ${steps.length}`);
    if (running) setText(this.stepNow, play.step ?? "");
    const current = steps.findIndex((step) => !step.done);
    const key = JSON.stringify([steps, running]);
    if (key === this.nightKey) return;
    this.nightKey = key;
    this.steps.replaceChildren(...steps.map((step, index) => {
      const at = step.done || (running && index === current) ? Date.parse(step.at) : NaN;
      const node = el("li", { class: step.done ? "done" : running && index === current ? "current" : "", "aria-current": running && index === current ? "step" : undefined },
        el("span", { class: "sign" }, step.done ? "✓" : running && index === current ? "▸" : "·"), el("span", {}, step.text),
        Number.isFinite(at) && el("time", { datetime: step.at }, clockTime(at)));
      return node;
    }));
    this.#followSteps();
  }

  // The last step is the one that happens or has just happened; between two steps none is current.
  #followSteps() {
    const last = this.steps.lastElementChild;
    if (last) this.steps.scrollTop = last.offsetTop + last.offsetHeight - this.steps.clientHeight;
  }

  // --- what can be done to Discord itself

  #faultMenu() {
    const add = (body, said) => () => this.#do("/sim/faults", body, said);
    const down = async () => {
      try {
        const { id } = await this.store.server.post("/sim/faults", { kind: "down", mode: "503" });
        toast("Discord is down for a minute. Only other ways to wake somebody work now.");
        setTimeout(() => this.store.server.delete(`/sim/faults/${id}`).catch(() => {}), DOWN_MS);
      } catch (refused) {
        toast(refused.message, "bad");
      }
    };
    const standing = this.store.faults.map((fault) => ({
      label: `Take away: ${faultWords(fault)}`, run: () => this.store.server.delete(`/sim/faults/${fault.id}`).catch((refused) => toast(refused.message, "bad")),
    }));
    openMenu(this.faults, [
      ...(standing.length > 0 ? [{ heading: "Standing" }, ...standing] : []),
      { heading: "Break" },
      { label: "Down for a minute", hint: "everything answers 503, the gateway is gone", run: down },
      { label: "Down until taken away", hint: "the same, for as long as you like", run: add({ kind: "down", mode: "503" }), danger: true },
      { label: "Slow", hint: "each request waits 1.5 s", run: add({ kind: "latency", latency_ms: 1500 }, "Every request to Discord now waits 1.5 s.") },
      { label: "Rate limit, once", hint: "one answer 429, try again after 3 s", run: add({ kind: "answer", status: 429, retry_after_ms: 3000, global: false, times: 1 }, "The next request is answered 429.") },
      { label: "Lose one answer", hint: "the message is posted, the bot never hears of it", run: add({ kind: "drop_answer", method: "POST", path: "/messages", times: 1 }, "The next post stands, but its answer is lost.") },
      { label: "Cut the gateway", hint: "every connection closes without a word", run: () => this.#do("/sim/gateway", { do: "drop" }, "The gateway connections are cut.") },
    ], { label: "Break Discord" });
  }

  syncFaults() {
    if (!this.faults) return;
    const count = this.store.faults.length;
    setText(this.faults, count === 0 ? "Break Discord ▾" : `⚠ Discord: ${count === 1 ? faultWords(this.store.faults[0]) : `${count} faults`} ▾`);
    this.faults.classList.toggle("bad", count > 0);
  }

  #startOver() {
    openMenu(this.fresh, [
      { heading: "Everything that was said and done is forgotten." },
      { label: "Start over", danger: true, run: () => this.#demo("fresh", {}, "A fresh start.") },
      { label: "Keep it", run: () => {} },
    ], { label: "Start over?" });
  }
}

function faultWords(fault) {
  switch (fault.kind) {
    case "down": return "down";
    case "latency": return `slow by ${fault.latency_ms} ms`;
    case "answer": return `answers ${fault.status}`;
    case "drop_answer": return "loses answers";
    case "no_ack": return "zombie gateway";
    case "deny": return "permissions denied";
    default: return String(fault.kind);
  }
}
