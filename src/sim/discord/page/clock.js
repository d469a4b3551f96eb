// What time it is on this page, and how a moment is written.
// In a demo the promise clock may run faster than the wall's, or be moved; then it is the one that counts.

let anchor = null; // {promise_ms, wall_ms, speed}
let zone; // the team's, where one is known; else the reader's own

/** Takes the zone that times are written in, such as "America/Chicago". */
export function setZone(name) {
  if (!name || name === zone) return;
  try {
    new Intl.DateTimeFormat(undefined, { timeZone: name });
  } catch {
    return; // a browser that does not know it keeps the reader's own
  }
  zone = name;
  formats.clear();
}

/** Takes the promise clock's reading; between two readings it runs on by itself at `speed`. */
export function setPromiseClock(promise_ms, speed) {
  anchor = Number.isFinite(promise_ms) ? { promise_ms, wall_ms: Date.now(), speed } : null;
}

/** The present, in milliseconds since 1970. */
export function now() {
  return anchor ? anchor.promise_ms + (Date.now() - anchor.wall_ms) * anchor.speed : Date.now();
}

const formats = new Map();
function written(ms, options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(undefined, { ...options, timeZone: zone }));
  return formats.get(key).format(ms);
}

const TWO = "2-digit";
const STYLES = {
  t: { hour: TWO, minute: TWO, hourCycle: "h23" },
  T: { hour: TWO, minute: TWO, second: TWO, hourCycle: "h23" },
  d: { day: TWO, month: TWO, year: "numeric" },
  D: { day: "numeric", month: "long", year: "numeric" },
  f: { day: "numeric", month: "long", year: "numeric", hour: TWO, minute: TWO, hourCycle: "h23" },
  F: { weekday: "long", day: "numeric", month: "long", year: "numeric", hour: TWO, minute: TWO, hourCycle: "h23" },
};

/** "03:07". */
export const clockTime = (ms) => written(ms, STYLES.t);
/** "03:07:21". */
export const clockSeconds = (ms) => written(ms, STYLES.T);
/** "Tuesday, 24 November". */
export const dayName = (ms) => written(ms, { weekday: "long", day: "numeric", month: "long" });
/** "Tuesday, 24 November 2026 at 03:07". */
export const fullTime = (ms) => written(ms, STYLES.F);

const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];
const relativeWords = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** "in 12 minutes", "3 hours ago". */
export function relative(ms) {
  const seconds = Math.round((ms - now()) / 1000);
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return relativeWords.format(Math.round(seconds / size), unit);
}

/** "now", "4 min", "2 h", "3 d": how long ago, as short as a lock screen needs it. */
export function briefAge(ms) {
  const seconds = Math.max(0, Math.round((now() - ms) / 1000));
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A moment in one of Discord's timestamp styles; `R` is kept up to date by `tick`. */
export function timeNode(unix_s, style) {
  const ms = unix_s * 1000;
  const node = document.createElement("time");
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) {
    node.textContent = "Invalid date";
    return node;
  }
  node.className = "stamp";
  node.dateTime = new Date(ms).toISOString();
  node.title = fullTime(ms);
  if (style === "R") {
    node.dataset.relative = String(ms);
    node.textContent = relative(ms);
  } else {
    node.textContent = written(ms, STYLES[style] ?? STYLES.f);
  }
  return node;
}

/** Rewrites everything on the page that says how long ago or how soon. */
export function tick(root = document) {
  for (const node of root.querySelectorAll("[data-relative]")) setText(node, relative(Number(node.dataset.relative)));
  for (const node of root.querySelectorAll("[data-age]")) setText(node, briefAge(toPromise(Number(node.dataset.age))));
}

/** Writes only what changed, so that a selection or a screen reader is not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** When a Discord id was made, in milliseconds. */
export function snowflakeTime(id) {
  const DISCORD_EPOCH_MS = 1_420_070_400_000n;
  try {
    return Number((BigInt(id) >> 22n) + DISCORD_EPOCH_MS);
  } catch {
    return NaN;
  }
}

// Time on the local Discord's wire is always the wall's. Where the promise clock runs apart from it, a message's time is shown
// as the promise clock stood when it came: each reading is kept, and a moment belongs to the last reading before it.
const READINGS_MAX = 2000;
let readings = JSON.parse(sessionStorage.getItem("readings") ?? "[]");

/** Remembers how the promise clock stands to the wall clock: [{wall_ms, promise_ms, speed}], oldest first. */
export function keepReadings(fresh) {
  for (const reading of fresh) {
    const last = readings.at(-1);
    const foreseen = last && last.promise_ms + (reading.wall_ms - last.wall_ms) * last.speed;
    const OFF_MS = 1500 * Math.max(1, reading.speed);
    // Only a change of pace or a jump says anything new.
    if (last && last.speed === reading.speed && Math.abs(foreseen - reading.promise_ms) < OFF_MS) continue;
    readings.push(reading);
  }
  readings = readings.slice(-READINGS_MAX);
  sessionStorage.setItem("readings", JSON.stringify(readings));
}

/** Takes the whole history of the promise clock, from where it is known better than here. */
export function setReadings(all) {
  readings = all;
}

/** A moment of the wall clock on the promise clock; the same moment where there is no promise clock. */
export function toPromise(wall_ms) {
  if (!anchor || readings.length === 0) return wall_ms;
  const before = readings.findLast((reading) => reading.wall_ms <= wall_ms);
  if (before) return Math.min(now(), before.promise_ms + (wall_ms - before.wall_ms) * before.speed);
  return readings[0].promise_ms - (readings[0].wall_ms - wall_ms);
}
