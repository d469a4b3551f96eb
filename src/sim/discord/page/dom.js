// Building the page: one function that makes elements, and the few small things every part needs.
// Outside text enters the page as text nodes only: nothing here, or anywhere else, parses HTML.

/** Makes an element. `props` are attributes, except `on` (listeners), `data` (dataset) and `prop` (properties). */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "prop") Object.assign(node, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** A name that somebody chose: kept from turning the line around it when it is written right to left. */
export const bdi = (name, props) => el("bdi", props, name);

const ICONS = {
  bell: "M12 2.5a1.6 1.6 0 0 1 1.6 1.7 6.6 6.6 0 0 1 5 6.4c0 4 .8 5.3 2 6.9v1H3.4v-1c1.2-1.6 2-2.9 2-6.9a6.6 6.6 0 0 1 5-6.4A1.6 1.6 0 0 1 12 2.5zM9.4 20h5.2a2.6 2.6 0 0 1-5.2 0z",
  thread: "M4 4h16v11H10l-4 4v-4H4z",
  phone: "M7 2h10a1.5 1.5 0 0 1 1.5 1.5v17A1.5 1.5 0 0 1 17 22H7a1.5 1.5 0 0 1-1.5-1.5v-17A1.5 1.5 0 0 1 7 2zm1 3v12h8V5zm3 13.5v1.5h2v-1.5z",
  pin: "M9 3h6v2l-1 1v5l3 3v2h-4v6h-2v-6H7v-2l3-3V6L9 5z",
  more: "M5 10.5a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6zm7 0a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6zm7 0a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6z",
  close: "M6 4.6 12 10.6 18 4.6 19.4 6 13.4 12 19.4 18 18 19.4 12 13.4 6 19.4 4.6 18 10.6 12 4.6 6z",
  file: "M6 2h8l4 4v16H6zm7 1.5V7h3.5z",
  mute: "M4 9h4l5-4v14l-5-4H4zm11.5.5 1-1 5 5-1 1zm5-1 1 1-5 5-1-1z",
  sound: "M4 9h4l5-4v14l-5-4H4zm11-1a6 6 0 0 1 0 8l1.2 1.2a7.6 7.6 0 0 0 0-10.4z",
  hash: "M9 3h2l-.7 5h4L15 3h2l-.7 5H20v2h-4l-.6 4H19v2h-3.9l-.7 5h-2l.7-5h-4l-.7 5h-2l.7-5H4v-2h3.4l.6-4H5V8h3.3zm1 7-.6 4h4l.6-4z",
  lock: "M7 10V7a5 5 0 0 1 10 0v3h1.5v11h-13V10zm2 0h6V7a3 3 0 0 0-6 0z",
};

/** A small picture that says nothing by itself: a word always stands beside it or in the label around it. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Shows a sentence for a moment, and reads it to a screen reader. */
export function toast(sentence, tone = "") {
  const box = document.getElementById("toasts");
  const note = el("p", { class: `toast ${tone}` }, sentence);
  box.append(note);
  while (box.children.length > TOASTS_MAX) box.firstChild.remove();
  setTimeout(() => note.remove(), TOAST_MS);
}
const TOASTS_MAX = 4;
const TOAST_MS = 7000;

/** A colour for somebody without a picture: always the same for the same id. */
export function hueOf(id) {
  let sum = 0;
  for (const letter of String(id)) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  const GOLDEN_ANGLE = 137.5; // ids that follow each other get colours far apart
  return Math.round((sum * GOLDEN_ANGLE) % 360);
}

/** One or two letters that stand for a name. */
export function initials(name) {
  const words = String(name).trim().split(/[\s_-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[1]] : [words[0] ?? "?"];
  return letters.map((word) => [...word][0]).join("").toUpperCase();
}

/** The round picture beside a name. */
export function avatar(id, name, bot = false) {
  const node = el("span", { class: bot ? "avatar bot" : "avatar", "aria-hidden": "true" }, bot ? icon("bell") : initials(name));
  node.style.setProperty("--hue", hueOf(id));
  return node;
}
