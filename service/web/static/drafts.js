// What was written and not sent: kept in this browser at once, and on the server a moment later.
"use strict";

(() => {
  const THERE_AFTER = 1500; // milliseconds after the last change
  const NOT_KEPT = new Set(["csrf", "once", "seconds", "replaces", "do", "asks_better"]);
  let there = 0;

  const name = (form) => `cai:draft:${cai.annotator}:${form.dataset.task}`;

  function taken(form) {
    return [...new FormData(form)].filter(([field]) => !NOT_KEPT.has(field)).map(([field, value]) => [field, String(value)]);
  }

  function changed(form) {
    keepHere(form);
    clearTimeout(there);
    there = setTimeout(() => keepThere(form), THERE_AFTER);
  }

  function keepHere(form) {
    const kept = { at: Date.now(), fields: taken(form) };
    try { localStorage.setItem(name(form), JSON.stringify(kept)); } catch { /* a full store: the server has it, too */ }
  }

  async function keepThere(form) {
    there = 0;
    const body = new FormData();
    body.set("csrf", cai.csrf);
    body.set("fields", JSON.stringify(taken(form)));
    body.set("replaces", form.elements.replaces?.value ?? ""); // one that comes after its answer is left out
    try {
      const answer = await fetch(`${form.action}/draft`, { method: "POST", body, keepalive: true });
      cai.say(answer.ok ? cai.text("script.saved") : cai.text("script.saved_here"));
    } catch {
      cai.say(cai.text("script.saved_here"));
    }
  }

  // The page is left: what waits to be sent is sent now.
  function leave(form) {
    if (!there) return;
    clearTimeout(there);
    keepThere(form);
  }

  function read(form) {
    try { return JSON.parse(localStorage.getItem(name(form)) ?? "null"); } catch { return null; }
  }

  // What this browser has is put back where it is newer than what the server had.
  function restore(form) {
    const kept = read(form);
    if (!kept || kept.at <= Number(form.dataset.saved || 0)) return;
    if (JSON.stringify(kept.fields) === JSON.stringify(taken(form))) return;
    fill(form, kept.fields);
    cai.say(cai.text("script.restored"));
  }

  function fill(form, fields) {
    cai.kinds.restoreSpans(form, fields);
    const values = new Map();
    for (const [field, value] of fields) values.set(field, [...(values.get(field) ?? []), value]);
    for (const element of form.elements) {
      if (!element.name || NOT_KEPT.has(element.name) || element.type === "submit" || ["span", "span_note"].includes(element.name)) continue;
      const given = values.get(element.name) ?? [];
      if (element.type === "radio" || element.type === "checkbox") element.checked = given.includes(element.value);
      else element.value = given[0] ?? "";
    }
    form.dispatchEvent(new Event("restored"));
  }

  function drop(form) {
    clearTimeout(there);
    there = 0;
    localStorage.removeItem(name(form));
  }

  // Another tab has the same task: what is written there is written here.
  function mirror(form) {
    addEventListener("storage", (event) => {
      const now = document.getElementById("sheet");
      if (!event.newValue || !now.dataset.task || event.key !== name(now)) return;
      if (!document.hasFocus()) fill(now, JSON.parse(event.newValue).fields);
    });
  }

  cai.drafts = { changed, leave, restore, drop, mirror };
})();
