// Labelling at one key a decision: the next task is fetched while one reads, answers are sent while one goes on.
"use strict";

(() => {
  const workplace = document.getElementById("workplace");
  if (!workplace) return;
  const place = document.getElementById("sheet-place"), state = document.getElementById("state");
  const texts = JSON.parse(workplace.dataset.texts);
  const RESTED = 60_000, BREAK = 5 * 60_000; // milliseconds without a sign: a pause, and a break
  const WRITTEN = new Set(["text", "quote", "span_note", "flag_note", "skip_note"]); // fields that hold words
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("cai") : null;

  cai.csrf = workplace.dataset.csrf;
  cai.annotator = workplace.dataset.annotator;
  cai.text = (name, values = {}) => {
    let text = texts[name] ?? name;
    if (typeof text !== "string") text = values.n === 1 ? text.one : text.other;
    return text.replace(/\{(\w+)\}/g, (blank, key) => String(values[key] ?? blank));
  };

  let next = null; // what the server gave beside the present task: a promise of HTML, or of "" where there is nothing
  let laid = null; // the sheet that waits while an answer before it is changed
  let done = []; // the tasks of this sitting, the last one last
  let isRaw = false, isMarked = false, shown = "", lasting = "";

  const sheet = () => document.getElementById("sheet");
  const isTask = (form) => form.tagName === "FORM";

  cai.say = (text, lasts = false) => {
    if (lasts) lasting = text; else shown = text;
    state.textContent = lasting || shown;
  };

  cai.signedOut = () => {
    const here = encodeURIComponent(location.pathname);
    notice(cai.text("script.signed_out"), "signed-out", { address: `/sign-in?to=${here}`, text: cai.text("script.sign_in") });
  };

  function notice(text, id, link = null, label = "") {
    document.getElementById(id)?.remove();
    const box = document.createElement("p");
    Object.assign(box, { id, className: "notice warn", textContent: `${text} ` });
    box.setAttribute("role", "status");
    if (link) box.append(Object.assign(document.createElement("a"), { href: link.address, textContent: link.text }));
    if (label) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
      button.addEventListener("click", () => box.remove());
      box.append(button);
    }
    workplace.before(box);
    return box;
  }

  class Ended extends Error {} // the server gives nothing more here, and says why: the project was closed, say

  // The next task, asked for beside those that are being answered.
  async function ask(beside) {
    const body = new FormData();
    body.set("csrf", cai.csrf);
    for (const task of beside) body.append("beside", task);
    const answer = await fetch(`/label/${workplace.dataset.project}/next`, { method: "POST", body, headers: { Accept: "application/json" } });
    if (answer.ok) return answer.text();
    const said = await answer.json().catch(() => ({}));
    if (answer.status === 401 || said.type === "stale_form") cai.signedOut();
    else if (answer.status < 500 && answer.status !== 429) throw new Ended(`${said.detail ?? answer.status}. ${said.fix ?? ""}`);
    throw new Error(String(answer.status));
  }

  function fetchAhead() {
    const form = sheet();
    if (!isTask(form) || form.dataset.practice === "true") { next = null; return; }
    const asked = ask([form.dataset.task, ...cai.outbox.tasks()]).catch(() => null);
    next = asked;
  }

  function put(content) {
    if (typeof content === "string") place.innerHTML = content; // which the server rendered: texts in it are escaped
    else place.replaceChildren(content);
    begin();
    scrollTo({ top: 0 });
    const title = place.querySelector(".conversation, h1");
    if (title) { title.tabIndex = -1; title.focus({ preventScroll: true }); }
  }

  async function goOn() {
    if (laid) { const back = laid; laid = null; put(back); return; }
    let content = await next;
    if (!content || content.includes('data-kind=""')) { // nothing was there beside the last one: ask again when it is stored
      try {
        await cai.outbox.flush();
        content = await ask(cai.outbox.tasks());
      } catch (error) {
        if (error instanceof Ended) { end(error.message); return; }
        content = null;
      }
    }
    if (content === null) { wait(); return; }
    put(content);
    fetchAhead();
  }

  function rest() {
    for (const element of sheet().elements ?? []) element.disabled = true;
  }

  function end(why) {
    rest();
    notice(why, "ended", { address: "/label", text: cai.text("script.projects") });
  }

  function wait() {
    if (!document.getElementById("signed-out")) cai.say(cai.text("script.offline", { n: cai.outbox.waiting() }), true);
    addEventListener("online", goOn, { once: true });
    document.addEventListener("answer-stored", () => { if (place.querySelector("[disabled]")) goOn(); }, { once: true });
    rest();
  }

  async function submitted(event) {
    const form = event.target;
    if (form.id !== "sheet" || form.dataset.practice === "true") return;
    event.preventDefault();
    if (form.dataset.sent) return;
    if (event.submitter?.value === "unskip") { await takeBack(form, event.submitter); return; }
    form.dataset.sent = "yes";
    form.elements.seconds.value = (active / 1000).toFixed(1);
    const fields = [...new FormData(form, event.submitter)].filter(([name]) => name !== "csrf").map(([name, value]) => [name, String(value)]);
    const about = { task: form.dataset.task, skipped: event.submitter?.value === "skip", again: Boolean(form.elements.replaces) };
    cai.drafts.drop(form);
    done = [...done.filter((task) => task !== about.task), about.task];
    cai.outbox.post(form.getAttribute("action"), fields, about);
    if (!about.again && !about.skipped) count(1);
    await goOn();
  }

  // A task that was skipped is had again: its sheet is the one for answering.
  async function takeBack(form, button) {
    const task = form.dataset.task, headers = { Accept: "application/json" };
    const taken = await fetch(form.getAttribute("action"), { method: "POST", body: new FormData(form, button), headers }).catch(() => null);
    const said = await taken?.json().catch(() => null);
    if (!taken?.ok) { cai.say(cai.text("script.refused", { why: said?.detail ?? "" })); return; }
    const sheet = await fetch(`/label/${workplace.dataset.project}/${task}`, { headers: { "X-Part": "sheet" } }).catch(() => null);
    if (sheet?.ok) put(await sheet.text());
  }

  function count(by) {
    const pace = document.getElementById("pace");
    if (!pace) return;
    const n = Number(pace.dataset.done) + by;
    pace.dataset.done = String(n);
    pace.querySelector("a").textContent = cai.text("script.today", { n });
  }

  async function undo(event) {
    event.preventDefault();
    const link = event.currentTarget, task = done.at(-1);
    if (laid) return;
    await cai.outbox.flush();
    const address = task ? `/label/${workplace.dataset.project}/${task}` : link.getAttribute("href");
    const answer = await fetch(address, { headers: { "X-Part": "sheet" } }).catch(() => null);
    if (!answer?.ok) { cai.say(cai.text("script.nothing_to_undo")); return; }
    laid = sheet();
    put(await answer.text());
    cai.say(cai.text("script.undone"));
  }

  // How the texts are shown: as they were meant, as they were written, or with the differences marked.
  cai.showRaw = (raw) => { isRaw = raw; showTexts(); };

  function showTexts() {
    for (const raw of place.querySelectorAll(".raw:not(#changes)")) {
      const plain = isRaw || (isMarked && raw.closest(".response")) || raw.closest("[data-marks]");
      raw.hidden = !plain;
      if (raw.previousElementSibling?.classList.contains("prose")) raw.previousElementSibling.hidden = Boolean(plain);
    }
    const both = [...place.querySelectorAll(".response .raw")];
    if (both.length === 2 && !place.querySelector("[data-marks]")) {
      const pieces = isMarked ? cai.differences(both[0].textContent, both[1].textContent) : null;
      both.forEach((raw, side) => pieces ? cai.showSide(raw, pieces, side ? 1 : -1) : raw.replaceChildren(raw.textContent));
    }
    place.querySelector("[data-action=raw]")?.setAttribute("aria-pressed", String(isRaw));
    place.querySelector("[data-action=differences]")?.setAttribute("aria-pressed", String(isMarked));
  }

  function scrollTogether(texts) {
    let leader = null;
    for (const one of texts) {
      one.addEventListener("pointerenter", () => { leader = one; });
      one.addEventListener("focus", () => { leader = one; });
      one.addEventListener("scroll", () => {
        if (leader !== one) return;
        const share = one.scrollTop / Math.max(1, one.scrollHeight - one.clientHeight);
        for (const other of texts) if (other !== one) other.scrollTop = share * (other.scrollHeight - other.clientHeight);
      }, { passive: true });
    }
  }

  function drawer(summary) {
    const details = summary.parentElement;
    details.addEventListener("toggle", () => { if (details.open) details.querySelector("input")?.focus(); });
  }

  function begin() {
    const form = sheet();
    active = 0;
    if (!isTask(form)) return;
    for (const element of form.elements) element.disabled = false;
    delete form.dataset.sent;
    if (!form.dataset.begun) {
      form.dataset.begun = "yes";
      form.addEventListener("input", () => cai.drafts.changed(form));
      form.addEventListener("change", () => cai.drafts.changed(form));
      form.querySelector("[data-action=raw]")?.addEventListener("click", () => cai.showRaw(!isRaw));
      form.querySelector("[data-action=differences]")?.addEventListener("click", () => { isMarked = !isMarked; showTexts(); });
      form.querySelector("a[data-action=undo]")?.addEventListener("click", undo);
      for (const summary of form.querySelectorAll(".drawer > summary")) drawer(summary);
      for (const group of form.querySelectorAll("[data-scroll-together]")) scrollTogether([...group.querySelectorAll(".response-text")]);
      cai.kinds.begin(form);
      cai.drafts.restore(form);
    }
    const link = form.querySelector("a[data-action=undo]");
    if (link) link.hidden = !done.length && !link.getAttribute("href").split("/")[3];
    showTexts();
    cai.keys.show();
  }

  // The time that somebody is at it: while the page is seen, and not longer than a minute after the last sign of them.
  let active = 0, seen = Date.now(), since = Number(sessionStorage.getItem("cai:since")) || Date.now(), before = Date.now();
  for (const sign of ["pointermove", "pointerdown", "keydown", "scroll", "focus"])
    addEventListener(sign, () => { const now = Date.now(); if (now - seen > BREAK) since = now; seen = now; }, { passive: true, capture: true });
  setInterval(() => {
    const now = Date.now();
    if (document.visibilityState === "visible" && now - seen < RESTED) active += now - before;
    before = now;
    sessionStorage.setItem("cai:since", String(since));
    const minutes = Number(workplace.dataset.break);
    if (minutes && now - since > minutes * 60_000 && now - seen < RESTED) {
      since = now;
      notice(cai.text("script.break", { minutes }), "break", null, cai.text("script.break_taken"));
    }
  }, 500);

  // What is on the page was answered meanwhile: in another tab, or by what waited here to be sent. Go on from it.
  function overtaken(task) {
    const form = sheet();
    if (!isTask(form) || task !== form.dataset.task || form.dataset.sent || form.elements.replaces) return false;
    cai.drafts.drop(form);
    goOn();
    return true;
  }

  document.addEventListener("submit", submitted);
  document.addEventListener("answer-stored", ({ detail }) => {
    channel?.postMessage({ answered: detail.letter.about.task });
    if (detail.letter.about.skipped) cai.say("");
    overtaken(detail.letter.about.task);
  });
  document.addEventListener("answer-refused", ({ detail }) => {
    const { letter, said } = detail;
    if (!letter.about.again && !letter.about.skipped) count(-1);
    done = done.filter((task) => task !== letter.about.task);
    const box = notice(cai.text("script.refused", { why: `${said.detail ?? ""} ${said.fix ?? ""}` }), `refused-${letter.about.task}`, null, cai.text("script.close"));
    const written = letter.fields.filter(([name, value]) => WRITTEN.has(name) && value.trim()).map(([, value]) => value);
    if (written.length) {
      const copy = Object.assign(document.createElement("textarea"), { readOnly: true, value: written.join("\n\n") });
      copy.setAttribute("aria-label", cai.text("script.written"));
      box.append(copy);
    }
  });
  channel?.addEventListener("message", ({ data }) => {
    // It is stored, whatever this tab's copy of the outbox still says: tabs hear of each other's changes late.
    if (overtaken(data.answered)) cai.say(cai.text("script.elsewhere"));
  });
  addEventListener("pagehide", () => { const form = sheet(); if (isTask(form)) cai.drafts.leave(form); });

  document.documentElement.classList.add("scripted");
  cai.keys.add("help", "?", cai.text("script.key.help"), cai.keys.help);
  document.querySelector("button[data-action=help]").addEventListener("click", cai.keys.help);
  document.querySelector("a[data-action=guidelines]").addEventListener("click", (event) => {
    event.preventDefault();
    const panel = document.getElementById("guidelines");
    panel.scrollIntoView({ block: "nearest" });
    panel.querySelector("summary, h2")?.focus();
  });
  cai.keys.begin();
  begin();
  if (isTask(sheet())) cai.drafts.mirror(sheet());
  cai.outbox.flush();
  fetchAhead();
})();
