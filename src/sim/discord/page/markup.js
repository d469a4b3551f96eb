// Discord's light markup as DOM nodes: bold, italic, code, quotes, lists, links, mentions and timestamps.
// Everything that is not understood stays the text it was.

import { bdi, el } from "./dom.js";
import { timeNode } from "./clock.js";

const DEPTH_MAX = 12; // nested marks, so that no message can exhaust the stack

/** Renders `source`. `names` tells what an id is called: {member(id), role(id), channel(id)} → name or undefined. */
export function render(source, names, { onChannel, me } = {}) {
  const out = document.createDocumentFragment();
  const context = { names, onChannel, me };
  let rest = String(source ?? "");
  // Code blocks first: nothing inside them is markup.
  for (;;) {
    const block = /```(?:([\w+-]*)\n)?([\s\S]*?)```/u.exec(rest);
    if (!block || block[2].length === 0) break;
    lines(out, rest.slice(0, block.index).replace(/\n$/u, ""), context);
    out.append(el("pre", { class: "code", tabindex: "0" }, el("code", { data: { lang: block[1] ?? "" } }, block[2].replace(/\n$/u, ""))));
    rest = rest.slice(block.index + block[0].length).replace(/^\n/u, "");
  }
  lines(out, rest, context);
  return out;
}

function lines(out, text, context) {
  if (text === "") return;
  let list = null;
  let quote = null;
  const rows = text.split("\n");
  rows.forEach((row, index) => {
    const bullet = /^\s*[-*] (.+)$/u.exec(row);
    const quoted = /^> ?(.*)$/u.exec(row);
    const heading = /^(#{1,3}) (.+)$/u.exec(row);
    const small = /^-# (.+)$/u.exec(row);
    if (!bullet) list = null;
    if (!quoted) quote = null;
    if (small) return void out.append(el("div", { class: "subtext" }, inline(small[1], context)));
    if (bullet) {
      if (!list) out.append((list = el("ul")));
      return void list.append(el("li", {}, inline(bullet[1], context)));
    }
    if (quoted) {
      if (!quote) out.append((quote = el("blockquote")));
      else quote.append("\n");
      return void quote.append(inline(quoted[1], context));
    }
    if (heading) return void out.append(el("div", { class: `heading h${heading[1].length}` }, inline(heading[2], context)));
    out.append(inline(row, context));
    if (index < rows.length - 1) out.append("\n");
  });
}

// Each rule: what it looks like at the start of what is left, and what it becomes. The first that fits wins.
const RULES = [
  [/^\\([\\*_~`|<>#\-[\]():@!])/u, (m) => m[1]],
  [/^(`+)([\s\S]*?[^`])\1(?!`)/u, (m) => el("code", {}, m[2].replace(/^ (.*) $/u, "$1"))],
  [/^<t:(-?\d{1,13})(?::([tTdDfFR]))?>/u, (m) => timeNode(Number(m[1]), m[2] ?? "f")],
  [/^<@!?(\d{1,20})>/u, (m, c) => mention("@", c.names.member(m[1]) ?? "unknown-user", c.me === m[1] ? "mine" : "")],
  [/^<@&(\d{1,20})>/u, (m, c) => mention("@", c.names.role(m[1]) ?? "deleted-role", "role")],
  [/^<#(\d{1,20})>/u, (m, c) => channelPill(m[1], c)],
  [/^<\/([^:>]{1,100}):\d{1,20}>/u, (m) => mention("/", m[1], "command")],
  [/^<a?:(\w{1,32}):\d{1,20}>/u, (m) => `:${m[1]}:`],
  [/^<(https?:\/\/[^\s<>]+)>/u, (m) => link(m[1], m[1])],
  [/^\[([^\[\]\n]+)\]\(<?(https?:\/\/[^\s()<>]+(?:\([^\s()<>]*\)[^\s()<>]*)*)>?(?: "[^"\n]*")?\)/u, (m, c, d) => link(m[2], inline(m[1], c, d))],
  [/^https?:\/\/(?:[^\s<>()]|\([^\s<>()]*\))*(?:[^\s<>.,:;!?"'()\]]|\([^\s<>()]*\))/u, (m) => link(m[0], m[0])],
  [/^@(everyone|here)\b/u, (m) => mention("@", m[1], "role")],
  [/^\*\*([\s\S]+?)\*\*(?!\*)/u, (m, c, d) => el("strong", {}, inline(m[1], c, d))],
  [/^__([\s\S]+?)__(?!_)/u, (m, c, d) => el("u", {}, inline(m[1], c, d))],
  [/^\*(?!\s)([^*\n]*(?:\*\*[^*\n]+\*\*[^*\n]*)*[^\s*])\*(?!\*)/u, (m, c, d) => el("em", {}, inline(m[1], c, d))],
  [/^_(?!\s)([^_\n]*[^\s_])_(?![\p{L}\p{N}_])/u, (m, c, d) => el("em", {}, inline(m[1], c, d))],
  [/^~~([\s\S]+?)~~/u, (m, c, d) => el("s", {}, inline(m[1], c, d))],
  [/^\|\|([\s\S]+?)\|\|/u, (m, c, d) => spoiler(inline(m[1], c, d))],
];
// Where a mark could begin; the text before it is taken in one piece.
const MARK = /[\\`<[*_~|@]|https?:\/\//u;

function inline(text, context, depth = 0) {
  const out = document.createDocumentFragment();
  if (depth > DEPTH_MAX) {
    out.append(text);
    return out;
  }
  let rest = text;
  let before = "";
  while (rest !== "") {
    const at = rest.search(MARK);
    if (at !== 0) {
      const free = at === -1 ? rest : rest.slice(0, at);
      out.append(free);
      before = free.at(-1) ?? "";
      rest = rest.slice(free.length);
      continue;
    }
    // An underscore inside a word is part of the word (snake_case).
    const inWord = rest[0] === "_" && /[\p{L}\p{N}]/u.test(before);
    const hit = inWord ? null : RULES.map(([look, make]) => [look.exec(rest), make]).find(([match]) => match);
    const taken = hit ? hit[0][0] : rest[0];
    out.append(hit ? hit[1](hit[0], context, depth + 1) : taken);
    before = taken.at(-1) ?? "";
    rest = rest.slice(taken.length);
  }
  out.normalize();
  return out;
}

function mention(sign, name, kind) {
  return el("span", { class: `pill ${kind}` }, sign, bdi(name));
}

function channelPill(id, { names, onChannel }) {
  const name = names.channel(id);
  if (name === undefined) return mention("#", "unknown", "channel");
  if (!onChannel) return mention("#", name, "channel");
  return el("button", { type: "button", class: "pill channel", on: { click: () => onChannel(id) } }, "#", bdi(name));
}

function link(url, words) {
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, words);
}

function spoiler(words) {
  const node = el("button", { type: "button", class: "spoiler", "aria-label": "Spoiler, press to show" }, words);
  node.addEventListener("click", () => {
    node.classList.add("open");
    node.removeAttribute("aria-label");
  });
  return node;
}
