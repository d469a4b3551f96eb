// Slash commands as a person types them: which fit, which options they have, and what a typed line means.

const SUBCOMMAND = 1, GROUP = 2;
const [INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER] = [4, 5, 6, 7, 8, 9, 10];

/** Every command a person can run, subcommands spelled out: {name: "incident show", description, options}. */
export function leaves(commands) {
  const out = [];
  const walk = (name, node) => {
    const deeper = (node.options ?? []).filter((option) => option.type === SUBCOMMAND || option.type === GROUP);
    if (deeper.length > 0) for (const child of deeper) walk(`${name} ${child.name}`, child);
    else out.push({ name, description: node.description ?? "", options: ordered(node.options ?? []) });
  };
  for (const command of commands) if (command.kind === "slash") walk(command.name, command);
  // In the order in which the bot registered them, which is that in which they are needed; those with many parts after the rest.
  const isPart = (leaf) => (leaf.name.includes(" ") ? 1 : 0);
  return out.sort((a, b) => isPart(a) - isPart(b));
}

const ordered = (options) => [...options.filter((option) => option.required), ...options.filter((option) => !option.required)];

/** The commands that fit what was typed after the slash, best first. */
export function matching(all, typed) {
  const words = typed.toLowerCase().trim();
  const rank = (leaf) => leaf.name.startsWith(words) ? 0 : leaf.name.split(" ").some((word) => word.startsWith(words)) ? 1
    : leaf.name.includes(words) ? 2 : leaf.description.toLowerCase().includes(words) && words.length > 2 ? 3 : 9;
  return all.map((leaf) => [rank(leaf), leaf]).filter(([place]) => place < 9).sort((a, b) => a[0] - b[0]).map(([, leaf]) => leaf);
}

/** Splits "/sev1 checkout is down service:agent" into its command and values, or null while the command is not whole. */
export function parseLine(all, line) {
  if (!line.startsWith("/")) return null;
  const leaf = all.filter((each) => line.startsWith(`/${each.name} `)).sort((a, b) => b.name.length - a.name.length)[0];
  if (!leaf) return null;
  const { named, rest } = splitNamed(leaf.options, line.slice(leaf.name.length + 2));
  const values = new Map(named);
  const first = leaf.options.find((option) => !values.has(option.name));
  if (rest.trim() !== "" && first) values.set(first.name, rest.replace(/^\s+/u, ""));
  return { leaf, values };
}

/** Takes "name:value other:"two words"" out of a text: {named: Map, rest: what stood before the first name}. */
export function splitNamed(options, text) {
  const marks = [...text.matchAll(new RegExp(`(?:^|\\s)(${oneOf(options.map((option) => option.name))}):`, "gu"))];
  const named = new Map(marks.map((mark, index) => {
    const value = text.slice(mark.index + mark[0].length, marks[index + 1]?.index ?? text.length).trim();
    return [mark[1], value.replace(/^"([\s\S]*)"$/u, "$1")];
  }));
  return { named, rest: text.slice(0, marks[0]?.index ?? text.length) };
}

const oneOf = (names) => names.map((name) => name.replace(/[^\w-]/gu, "\\$&")).join("|") || "(?!)";

/** Whether a text being typed ends in "name:" of one of these options: {name, before}, or null. */
export function endsInName(options, text) {
  const mark = new RegExp(`(?:^|\\s)(${oneOf(options.map((option) => option.name))}):$`, "u").exec(text);
  return mark && { name: mark[1], before: text.slice(0, mark.index) };
}

/** What can be chosen for an option without asking the bot, or null for free text. */
export function fixedChoices(option, store) {
  const people = () => [...store.members.values()].map((member) => ({ name: member.display_name, value: member.id, hint: `@${member.username}` }));
  const roles = () => [...store.roles.values()].map((role) => ({ name: `@${role.name}`, value: role.id }));
  if (option.choices?.length > 0) return option.choices;
  switch (option.type) {
    case BOOLEAN: return [{ name: "Yes", value: true }, { name: "No", value: false }];
    case USER: return people();
    case ROLE: return roles();
    case MENTIONABLE: return [...people(), ...roles()];
    case CHANNEL: return [...store.channels.values()].filter((channel) => channel.kind !== "dm").map((channel) => ({ name: `#${channel.name}`, value: channel.id }));
    default: return null;
  }
}

/** What an option's text becomes on the wire. */
export function wireValue(option, text, picked) {
  if (picked !== undefined) return picked;
  if (option.type === INTEGER || option.type === NUMBER) {
    const number = Number(text.trim().replace(/^#/u, ""));
    return text.trim() !== "" && Number.isFinite(number) ? number : text;
  }
  return text.trim();
}

const KIND_WORDS = { [INTEGER]: "a whole number", [BOOLEAN]: "yes or no", [USER]: "a member", [CHANNEL]: "a channel", [ROLE]: "a role", [MENTIONABLE]: "a member or role", [NUMBER]: "a number", 11: "a file" };

/** "What is broken · required". */
export function hintOf(option) {
  const bounds = [
    option.min_value !== undefined && `at least ${option.min_value}`,
    option.max_value !== undefined && `at most ${option.max_value}`,
    option.max_length !== undefined && `up to ${option.max_length} characters`,
  ].filter(Boolean);
  return [option.description, KIND_WORDS[option.type], ...bounds, option.required ? "required" : "optional"].filter(Boolean).join(" · ");
}
