// One key an action. What has data-action can be done by its data-key, unless the reader has chosen another.
"use strict";

(() => {
  const kept = () => `cai:keys:${cai.annotator}`;
  const MODIFIERS = ["Control", "Shift", "Alt", "Meta"], LEAVES = ["Escape", "Tab"];
  const actions = new Map(); // what no element on the page does: name -> {key, run}
  let chosen = {}, waiting = null;

  // The name of what was pressed: "a", "?", "Enter", "Ctrl+Enter", "Alt+ArrowUp".
  function nameOf(event) {
    const modifiers = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + (event.altKey ? "Alt+" : "");
    return modifiers + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  }

  const keyOf = (action, usual) => chosen[action] ?? usual;

  // All that can be done now, by action.
  function offered() {
    const found = new Map(actions);
    for (const element of document.querySelectorAll("[data-action]"))
      if (element.dataset.key && !found.has(element.dataset.action))
        found.set(element.dataset.action, { key: element.dataset.key, text: titleOf(element), run: () => act(element) });
    return found;
  }

  function titleOf(element) {
    if (element.labels?.length) return element.labels[0].textContent.trim();
    const copy = element.cloneNode(true);
    for (const key of copy.querySelectorAll("kbd")) key.remove();
    return copy.textContent.trim();
  }

  function act(element) {
    if (element.disabled) return;
    element.click();
  }

  function isWriting(target) {
    return target.isContentEditable || target.tagName === "TEXTAREA" || target.tagName === "SELECT"
      || (target.tagName === "INPUT" && !["radio", "checkbox", "button", "submit"].includes(target.type));
  }

  function pressed(event) {
    if (event.isComposing || event.defaultPrevented || MODIFIERS.includes(event.key)) return;
    if (waiting) { choose(event); return; }
    if (document.querySelector("dialog[open]")) return;
    const name = nameOf(event);
    if (event.key === "Escape" && isWriting(event.target)) { event.target.blur(); return; }
    if (isWriting(event.target) && !name.startsWith("Ctrl+")) return;
    if (name === "Enter" && event.target.closest("button, a, summary, details, [role=button]")) return;
    for (const [action, { key, run }] of offered())
      if (keyOf(action, key) === name) { event.preventDefault(); run(event); return; }
  }

  function choose(event) {
    const { action, button } = waiting, name = nameOf(event);
    const leaves = LEAVES.includes(event.key); // whoever has no mouse goes on by these, so they stay what they are
    if (event.key !== "Tab") event.preventDefault();
    waiting = null;
    button.removeAttribute("aria-pressed");
    const taken = [...offered()].some(([other, { key }]) => other !== action && keyOf(other, key) === name);
    if (!leaves && !taken) {
      chosen[action] = name;
      localStorage.setItem(kept(), JSON.stringify(chosen));
    }
    show();
    list();
    if (taken) cai.say(cai.text("script.taken"));
  }

  // Put each key on what it does.
  function show() {
    for (const element of document.querySelectorAll("[data-action][data-key]")) {
      const where = element.labels?.length ? element.labels[0] : element;
      where.querySelector(":scope > kbd")?.remove();
      const key = document.createElement("kbd");
      key.textContent = keyOf(element.dataset.action, element.dataset.key);
      if (where.textContent.trim() !== key.textContent) where.append(key);
      element.setAttribute("aria-keyshortcuts", key.textContent.replace("Ctrl", "Control"));
    }
  }

  function list() {
    const body = document.querySelector("#keys tbody");
    body.replaceChildren(...[...offered()].map(([action, { key, text }]) => {
      const row = document.createElement("tr"), title = document.createElement("th"), cell = document.createElement("td");
      title.scope = "row";
      title.textContent = text;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = keyOf(action, key);
      button.setAttribute("aria-label", `${text}: ${button.textContent}`);
      button.addEventListener("click", () => {
        waiting = { action, button };
        button.textContent = cai.text("script.press");
        button.setAttribute("aria-pressed", "true");
      });
      cell.append(button);
      row.append(title, cell);
      return row;
    }));
  }

  function help() {
    list();
    document.getElementById("keys").showModal();
  }

  function begin() {
    try { chosen = JSON.parse(localStorage.getItem(kept()) ?? "{}"); } catch { chosen = {}; }
    const dialog = document.getElementById("keys");
    dialog.querySelector("[data-does=close]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => { waiting = null; });
    dialog.querySelector("[data-does=defaults]").addEventListener("click", () => {
      chosen = {};
      localStorage.removeItem(kept());
      show();
      list();
    });
    document.addEventListener("keydown", pressed);
    show();
  }

  const add = (action, key, text, run) => actions.set(action, { key, text, run });
  cai.keys = { begin, show, help, add };
})();
