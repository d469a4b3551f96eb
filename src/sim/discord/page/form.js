// Forms that the bot opens. The browser's own dialog keeps the focus inside and Escape working.

import { el } from "./dom.js";

let open = null;

/** Opens the form that `interaction` was answered with. `submit(fields)` may refuse by throwing; `cancel()` runs when it is closed unsent. */
export function openForm(interaction, { submit, cancel }) {
  open?.close();
  const { modal } = interaction;
  const dialog = el("dialog", { class: "form", "aria-labelledby": "form-title" });
  const trouble = el("p", { class: "failed", role: "alert", hidden: true });
  const inputs = (modal.inputs ?? []).map((input, index) => fieldNode(input, index, () => form.requestSubmit()));
  const send = el("button", { type: "submit", class: "button primary" }, "Submit");
  let sent = false;
  const form = el("form", {
    novalidate: true,
    on: {
      submit: async (event) => {
        event.preventDefault();
        const wrong = inputs.map((field) => field.check()).findIndex(Boolean);
        if (wrong >= 0) return inputs[wrong].focus();
        send.disabled = true;
        try {
          await submit(Object.fromEntries(inputs.map((field) => field.entry())));
          sent = true;
          dialog.close();
        } catch (refused) {
          trouble.hidden = false;
          trouble.textContent = `⚠ ${refused.message}`;
        } finally {
          send.disabled = false;
        }
      },
    },
  },
  el("h2", { id: "form-title" }, modal.title ?? "Form"),
  ...inputs.map((field) => field.node),
  trouble,
  el("div", { class: "form-end" }, el("button", { type: "button", class: "button plain", on: { click: () => dialog.close() } }, "Cancel"), send));
  dialog.append(form);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (open === dialog) open = null;
    if (!sent) cancel();
  });
  document.body.append(dialog);
  dialog.showModal();
  open = dialog;
  inputs[0]?.focus();
}

function fieldNode(input, index, submit) {
  const long = input.style === "paragraph" || input.style === 2;
  const id = `form-${index}`;
  const box = el(long ? "textarea" : "input", {
    id, placeholder: input.placeholder, rows: long ? "5" : undefined, type: long ? undefined : "text", dir: "auto",
    required: input.required, "aria-describedby": `${id}-note`, autocomplete: "off",
  });
  box.value = input.value ?? "";
  const max = input.max_length ?? 4000;
  const note = el("p", { class: "form-note", id: `${id}-note` });
  const say = (trouble) => {
    const count = [...box.value].length;
    note.classList.toggle("over", Boolean(trouble) || count > max);
    note.replaceChildren(el("span", {}, trouble ?? (input.required ? "Required" : "Optional")), el("span", { class: "count" }, `${count} / ${max}`));
    box.setAttribute("aria-invalid", String(Boolean(trouble)));
  };
  say();
  box.addEventListener("input", () => say());
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && long && (event.ctrlKey || event.metaKey)) submit();
  });
  return {
    node: el("div", { class: "form-field" }, el("label", { for: id }, input.label ?? input.custom_id, input.required && el("span", { class: "star", "aria-hidden": "true" }, " *")), box, note),
    focus: () => box.focus(),
    entry: () => [input.custom_id, box.value],
    check: () => {
      const count = [...box.value].length;
      const trouble = input.required && box.value.trim() === "" ? "⚠ This must be filled in"
        : count > max ? `⚠ ${count - max} too many`
        : box.value !== "" && count < (input.min_length ?? 0) ? `⚠ At least ${input.min_length} characters` : undefined;
      say(trouble);
      return trouble;
    },
  };
}
