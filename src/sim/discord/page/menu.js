// A menu that opens at a button: arrow keys, letters, Escape, and focus back where it came from.

import { el } from "./dom.js";

let close = null;

/** Opens a menu beside `anchor`. Items: {label, hint?, run, checked?, danger?, heading?}; with `multi`, `onDone(indexes)`. */
export function openMenu(anchor, items, { label, multi, min = 1, max = 1, onDone } = {}) {
  close?.();
  const role = multi ? "menuitemcheckbox" : items.some((item) => item.checked !== undefined) ? "menuitemradio" : "menuitem";
  const chosen = new Set(items.flatMap((item, index) => (item.checked ? [index] : [])));
  const menu = el("div", { class: "menu", role: "menu", "aria-label": label });
  const finish = (focusBack = true) => {
    menu.remove();
    removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", away);
    anchor.setAttribute("aria-expanded", "false");
    close = null;
    if (focusBack && anchor.isConnected) anchor.focus();
  };
  const outside = (event) => {
    if (!menu.contains(event.target) && !anchor.contains(event.target)) finish(false);
  };
  const away = (event) => {
    if (!(event?.target instanceof Node) || !menu.contains(event.target)) finish(false);
  };

  items.forEach((item, index) => {
    if (item.heading) return void menu.append(el("div", { class: "menu-heading", role: "presentation" }, item.heading));
    const button = el("button", {
      type: "button", role, tabindex: "-1", class: item.danger ? "danger" : "",
      "aria-checked": role === "menuitem" ? undefined : String(chosen.has(index)),
      on: {
        click: () => {
          if (multi) {
            if (chosen.has(index)) chosen.delete(index);
            else if (chosen.size < max) chosen.add(index);
            button.setAttribute("aria-checked", String(chosen.has(index)));
            return;
          }
          finish();
          item.run();
        },
      },
    }, item.picture, el("span", { class: "menu-words" }, el("span", {}, item.label), item.hint && el("span", { class: "menu-hint" }, item.hint)));
    menu.append(button);
  });
  if (multi) {
    menu.append(el("button", {
      type: "button", role: "menuitem", tabindex: "-1", class: "primary",
      on: { click: () => { if (chosen.size >= min) { finish(); onDone([...chosen].sort((a, b) => a - b)); } } },
    }, `Choose (${min === max ? max : `${min} to ${max}`})`));
  }

  const stops = () => [...menu.querySelectorAll("button")];
  menu.addEventListener("keydown", (event) => {
    const all = stops();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      all[(to + all.length) % all.length].focus();
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      finish();
    } else if (event.key === "Tab") {
      finish();
    } else if (event.key.length === 1 && event.key !== " ") {
      const rest = [...all.slice(at + 1), ...all.slice(0, at + 1)];
      rest.find((stop) => stop.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
    }
  });

  (anchor.closest("dialog") ?? document.body).append(menu);
  place(menu, anchor);
  anchor.setAttribute("aria-expanded", "true");
  addEventListener("pointerdown", outside, true);
  addEventListener("resize", away);
  close = finish;
  (menu.querySelector("[aria-checked='true']") ?? stops()[0])?.focus({ preventScroll: true });
}

function place(menu, anchor) {
  const MARGIN_PX = 8;
  const from = anchor.getBoundingClientRect();
  const size = menu.getBoundingClientRect();
  const below = innerHeight - from.bottom - MARGIN_PX;
  const above = from.top - MARGIN_PX;
  const up = below < size.height && above > below;
  menu.style.maxHeight = `${Math.max(120, up ? above : below)}px`;
  const height = Math.min(size.height, Math.max(120, up ? above : below));
  menu.style.top = `${Math.max(MARGIN_PX, up ? from.top - height - 4 : from.bottom + 4)}px`;
  // A button at the right opens its menu to the left, so that the menu stays over its own pane.
  const left = from.left > innerWidth / 2 ? from.right - size.width : from.left;
  menu.style.left = `${Math.max(MARGIN_PX, Math.min(left, innerWidth - size.width - MARGIN_PX))}px`;
}
