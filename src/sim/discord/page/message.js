// One message as DOM: author, content, embeds, attachments, buttons and menus.

import { avatar, bdi, el, icon } from "./dom.js";
import { clockTime, fullTime, timeNode, toPromise } from "./clock.js";
import { render } from "./markup.js";
import { openMenu } from "./menu.js";

const BUTTON_STYLES = { 1: "primary", 2: "plain", 3: "success", 4: "danger", 5: "link", 6: "plain" };
const ROW = 1, BUTTON = 2, STRING_SELECT = 3, SECTION = 9, TEXT = 10, SEPARATOR = 14, CONTAINER = 17;

/** Draws `message`. `grouped`: it follows another of the same author. `state`: {busy: custom_id, failed: sentence}. */
export function messageNode(message, { store, actions, grouped, state }) {
  const { author } = message;
  const at = toPromise(Date.parse(message.at));
  const stamp = el("time", { datetime: message.at, title: fullTime(at) }, clockTime(at));
  const ephemeral = Boolean(message.ephemeral_for);
  const context = { onChannel: actions.openChannel, me: store.me };
  const text = (source) => render(source, store.names, context);

  const node = el("article", {
    class: ["message", grouped && "grouped", ephemeral && "ephemeral", message.pinged?.members?.includes(store.me) && "pings-me"].filter(Boolean).join(" "),
    tabindex: "-1", data: { id: message.id }, "aria-label": `${author.name}, ${clockTime(at)}`,
  });

  // A press has no name of its own: its answer stands as it is.
  if (message.command?.name) node.append(commandLine(message, store));
  if (message.reply_to) {
    node.append(el("button", { type: "button", class: "reply-line", on: { click: () => actions.show(message.reply_to.message_id) } },
      el("span", { class: "hidden-words" }, "Reply to "), bdi(message.reply_to.author?.name ?? String(message.reply_to.author ?? ""), { class: "reply-name" }),
      el("span", { class: "reply-text" }, message.reply_to.text ?? "")));
  }
  const isSystem = message.kind === "pin" || message.kind === "thread_created";
  if (isSystem) node.append(el("span", { class: "gutter shown" }, icon(message.kind === "pin" ? "pin" : "thread")));
  else node.append(grouped ? el("span", { class: "gutter" }, stamp) : avatar(author.id, author.name, author.bot));

  const body = el("div", { class: "body" });
  if (!grouped && !isSystem) {
    const name = el("span", { class: "author" }, bdi(author.name));
    if (author.color && author.color !== "#000000") name.style.setProperty("--role", author.color);
    body.append(el("header", {}, name, author.bot && el("span", { class: "tag" }, "BOT"), stamp));
  }

  if (message.loading) {
    body.append(el("p", { class: "thinking" }, el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), bdi(author.name), " is thinking…"));
  } else if (isSystem) {
    node.classList.add("system");
    const words = message.kind === "pin" ? " pinned a message to this channel." : " started a thread: ";
    body.append(el("p", { class: "content" }, bdi(author.name), words, message.kind === "thread_created" && el("strong", {}, message.text || message.content), " ", stamp));
  } else if (message.content) {
    body.append(el("div", { class: "content", dir: "auto" }, text(message.content)));
  }

  for (const embed of message.embeds ?? []) body.append(embedNode(embed, message, text));
  for (const file of message.attachments ?? []) {
    const shownInEmbed = (message.embeds ?? []).some((embed) => embed.image?.url?.endsWith(`/${file.filename}`));
    if (!shownInEmbed) body.append(attachmentNode(file));
  }
  for (const row of message.components ?? []) body.append(componentNode(row, message, { store, actions, state, text }));
  if (state.failed) body.append(el("p", { class: "failed", role: "alert" }, `⚠ This interaction failed: ${state.failed}`));

  const marks = [
    // Filling in a deferred answer is no edit to a reader.
    message.edited_at && message.edits > 0 && el("span", { title: `Edited ${fullTime(toPromise(Date.parse(message.edited_at)))}` }, "edited"),
    message.silent && el("span", { title: "Sent without ringing anybody's phone" }, icon("mute"), "silent"),
    message.pinned && el("span", {}, icon("pin"), "pinned"),
    message.pinged?.members?.length > 0 && el("span", { class: "rang", title: "Phones that rang" }, icon("bell"), "rang ",
      bdi(message.pinged.members.map((id) => store.names.member(id) ?? "somebody").join(", "))),
  ].filter(Boolean);
  if (marks.length > 0) body.append(el("div", { class: "marks" }, ...marks));

  if (message.reactions?.length > 0) {
    body.append(el("div", { class: "reactions" }, ...message.reactions.map((reaction) => el("button", {
      type: "button", class: reaction.members?.includes(store.me) ? "mine" : "", "aria-label": `${reaction.emoji}, ${reaction.count}. React with it too`,
      on: { click: () => actions.react(message, reaction.emoji) },
    }, `${reaction.emoji} ${reaction.count}`))));
  }

  const thread = store.channels.get(message.thread_id);
  if (thread) {
    body.append(el("button", { type: "button", class: "thread-chip", data: { focus: "thread" }, on: { click: () => actions.openChannel(thread.id) } },
      icon("thread"), bdi(thread.name), el("span", { class: "count" }, `${thread.message_count ?? 0} message${thread.message_count === 1 ? "" : "s"}`)));
  }
  if (ephemeral) {
    body.append(el("p", { class: "only-you" }, "Only you can see this · ",
      el("button", { type: "button", class: "linkish", on: { click: () => actions.dismiss(message.id) } }, "Dismiss message")));
  }
  node.append(body);

  if (!ephemeral && !message.loading) {
    node.append(el("button", {
      type: "button", class: "more", "aria-haspopup": "menu", "aria-expanded": "false", data: { focus: "more" },
      "aria-label": `More for the message of ${author.name}, ${clockTime(at)}`, title: "More",
      on: { click: (event) => actions.menu(event.currentTarget, message) },
    }, icon("more")));
  }
  return node;
}

function commandLine(message, store) {
  const { command } = message;
  const name = command.name.replace(/^\//u, "");
  const isSlash = store.commands.some((known) => known.kind === "slash" && known.name === name.split(" ")[0]);
  return el("div", { class: "command-line" }, el("span", { class: "hook", "aria-hidden": "true" }),
    bdi(store.names.member(command.user_id) ?? "somebody"), " used ", el("span", { class: "command-name" }, isSlash ? `/${name}` : name));
}

// --- embeds and files

function embedNode(embed, message, text) {
  const frame = el("section", { class: "embed", "aria-label": embed.title ?? "Card" });
  if (Number.isInteger(embed.color)) frame.style.setProperty("--bar", `#${embed.color.toString(16).padStart(6, "0")}`);
  if (embed.author?.name) frame.append(el("p", { class: "embed-author" }, bdi(embed.author.name)));
  if (embed.title) {
    const title = el("h3", { dir: "auto" }, text(embed.title));
    frame.append(safeUrl(embed.url) ? el("h3", {}, el("a", { href: safeUrl(embed.url), target: "_blank", rel: "noopener noreferrer" }, ...title.childNodes)) : title);
  }
  if (embed.description) frame.append(el("div", { class: "content", dir: "auto" }, text(embed.description)));
  if (embed.fields?.length > 0) {
    frame.append(el("dl", {}, ...embed.fields.map((field) => el("div", { class: field.inline ? "inline" : "row" },
      el("dt", {}, text(field.name)), el("dd", { dir: "auto" }, text(field.value))))));
  }
  for (const picture of [embed.image, embed.thumbnail]) {
    const address = picture?.url && localUrl(picture.url, message);
    if (address) frame.append(el("img", { src: address, alt: picture.description ?? embed.title ?? "Picture", loading: "lazy" }));
  }
  if (embed.footer?.text || embed.timestamp) {
    frame.append(el("footer", {}, embed.footer?.text ?? "", embed.footer?.text && embed.timestamp ? " · " : "",
      embed.timestamp && timeNode(Math.floor(Date.parse(embed.timestamp) / 1000), "f")));
  }
  return frame;
}

function attachmentNode(file) {
  const address = localUrl(file.url);
  if (String(file.content_type ?? "").startsWith("image/") && address) {
    return el("a", { href: address, target: "_blank", class: "picture" }, el("img", { src: address, alt: file.description ?? file.filename, loading: "lazy" }));
  }
  return el("a", { href: address ?? "#", target: "_blank", download: file.filename, class: "file" }, icon("file"),
    el("span", {}, bdi(file.filename), el("small", {}, sizeWords(file.size))));
}

const sizeWords = (bytes) => (bytes < 1024 ? `${bytes} bytes` : bytes < 1_048_576 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1_048_576).toFixed(1)} MB`);

function safeUrl(url) {
  return /^https?:\/\//u.test(url ?? "") ? url : undefined;
}

/** Pictures come from this server only; one from elsewhere is not fetched. */
function localUrl(url, message) {
  const named = /^attachment:\/\/(.+)$/u.exec(url ?? "");
  if (named) return localUrl(message?.attachments?.find((file) => file.filename === named[1])?.url);
  try {
    const parsed = new URL(url, location.href);
    if (parsed.pathname.startsWith("/attachments/")) return parsed.pathname + parsed.search;
    return parsed.protocol === "data:" && url.startsWith("data:image/") ? url : undefined;
  } catch {
    return undefined;
  }
}

// --- components

function componentNode(part, message, about) {
  switch (part.type) {
    case ROW: return el("div", { class: "components" }, ...(part.components ?? []).map((child) => componentNode(child, message, about)));
    case BUTTON: return buttonNode(part, message, about);
    case SECTION: return el("div", { class: "section" }, ...(part.components ?? []).map((child) => componentNode(child, message, about)),
      part.accessory && componentNode(part.accessory, message, about));
    case TEXT: return el("div", { class: "content", dir: "auto" }, about.text(part.content));
    case SEPARATOR: return el("hr");
    case CONTAINER: {
      const frame = el("section", { class: "embed" }, ...(part.components ?? []).map((child) => componentNode(child, message, about)));
      if (Number.isInteger(part.accent_color)) frame.style.setProperty("--bar", `#${part.accent_color.toString(16).padStart(6, "0")}`);
      return frame;
    }
    default: return part.type >= STRING_SELECT && part.type <= 8 ? selectNode(part, message, about) : el("p", { class: "subtext" }, `(A component of type ${part.type}, not drawn here)`);
  }
}

function buttonNode(button, message, { actions, state }) {
  const words = [button.emoji?.name, button.label].filter(Boolean).join(" ");
  if (button.style === 5) {
    return el("a", { class: "button link", href: safeUrl(button.url) ?? "#", target: "_blank", rel: "noopener noreferrer" }, words, " ↗");
  }
  const busy = state.busy === button.custom_id;
  return el("button", {
    type: "button", class: `button ${BUTTON_STYLES[button.style] ?? "plain"} ${busy ? "busy" : ""}`, disabled: button.disabled,
    "aria-busy": busy ? "true" : undefined, data: { focus: button.custom_id }, on: { click: () => busy || actions.press(message, button) },
  }, words);
}

function selectNode(select, message, { store, actions, state }) {
  const options = selectOptions(select, store);
  const chosen = options.filter((option) => option.default).map((option) => option.label).join(", ");
  const busy = state.busy === select.custom_id;
  const anchor = el("button", {
    type: "button", class: `select ${busy ? "busy" : ""}`, disabled: select.disabled, "aria-haspopup": "menu", "aria-expanded": "false",
    data: { focus: select.custom_id },
  }, el("span", { class: chosen ? "" : "placeholder" }, chosen || select.placeholder || "Choose…"), el("span", { class: "caret", "aria-hidden": "true" }, "▾"));
  anchor.addEventListener("click", () => {
    const max = select.max_values ?? 1;
    const choose = (indexes) => actions.select(message, select, indexes.map((index) => options[index].value));
    openMenu(anchor, options.map((option, index) => ({
      label: option.label, hint: option.description, checked: max > 1 ? Boolean(option.default) : undefined, run: () => choose([index]),
    })), { label: select.placeholder ?? "Choose", multi: max > 1, min: select.min_values ?? 1, max: Math.min(max, options.length), onDone: choose });
  });
  return anchor;
}

function selectOptions(select, store) {
  const members = () => [...store.members.values()].map((member) => ({ value: member.id, label: member.display_name }));
  const roles = () => [...store.roles.values()].map((role) => ({ value: role.id, label: `@${role.name}` }));
  switch (select.type) {
    case 5: return members();
    case 6: return roles();
    case 7: return [...members(), ...roles()];
    case 8: return [...store.channels.values()].filter((channel) => channel.kind !== "dm").map((channel) => ({ value: channel.id, label: `#${channel.name}` }));
    default: return select.options ?? [];
  }
}
