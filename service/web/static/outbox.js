// Answers on their way: each is kept in this browser until the server has it, and sent again as often as it takes. It
// carries a name of its own, so that sending it twice stores it once.
"use strict";

(() => {
  const AGAIN_AFTER = [1000, 2000, 5000, 10000]; // milliseconds
  const KEPT_ALIVE = 60_000; // characters of an answer that a browser sends to its end when the page is left
  let running = null, tries = 0, timer = 0;
  let held = null; // the letters themselves, where the browser's store has no room for them

  const key = () => `cai:outbox:${cai.annotator}`;

  function read() {
    if (held) return held;
    try { return JSON.parse(localStorage.getItem(key()) ?? "[]"); } catch { return []; }
  }

  function write(letters) {
    held = null;
    try {
      if (letters.length) localStorage.setItem(key(), JSON.stringify(letters));
      else localStorage.removeItem(key());
    } catch {
      held = letters;
    }
  }

  // Keep an answer and begin to send. Its outcome comes as an event: sent, refused, or nothing for as long as it takes.
  function post(address, fields, about) {
    write([...read(), { address, fields, about }]);
    flush().then(() => { if (read().length && !tries) flush(); });
  }

  // Send all that waits; the promise is kept when nothing is under way any more.
  function flush() {
    clearTimeout(timer);
    running ??= run().finally(() => { running = null; });
    return running;
  }

  async function run() {
    let isDone = true;
    await navigator.locks.request(key(), async () => {
      for (let letters = read(); letters.length && isDone; letters = read()) isDone = await sent(letters[0]);
    });
    tries = isDone ? 0 : tries + 1;
    tell();
    if (!isDone) timer = setTimeout(flush, AGAIN_AFTER[Math.min(tries - 1, AGAIN_AFTER.length - 1)]);
  }

  // Whether a letter is done with, one way or the other.
  async function sent(letter) {
    const body = new FormData();
    for (const [name, value] of letter.fields) body.append(name, value);
    body.set("csrf", cai.csrf);
    const keepalive = JSON.stringify(letter.fields).length < KEPT_ALIVE;
    let answer;
    try {
      answer = await fetch(letter.address, { method: "POST", body, keepalive, headers: { Accept: "application/json" } });
    } catch {
      return false;
    }
    if (answer.status === 429 || answer.status >= 500) return false;
    let said = {};
    try { said = await answer.json(); } catch { /* not ours: its status says enough */ }
    if (answer.status === 401 || said.type === "stale_form") { cai.signedOut(); return false; }
    write(read().slice(1));
    document.dispatchEvent(new CustomEvent(answer.ok ? "answer-stored" : "answer-refused", { detail: { letter, said } }));
    return true;
  }

  function tell() {
    const n = read().length;
    if (n) cai.say(cai.text(navigator.onLine && tries < 2 ? "script.sending" : "script.offline", { n }), true);
    else cai.say("", true);
  }

  addEventListener("online", flush);
  cai.outbox = { post, flush, waiting: () => read().length, tasks: () => read().map((letter) => letter.about.task) };

  // On other pages of an annotator: what was left behind when they left the workplace is sent from here.
  const elsewhere = document.getElementById("outbox");
  if (elsewhere) {
    Object.assign(cai, { csrf: elsewhere.dataset.csrf, annotator: elsewhere.dataset.annotator, say: () => {}, signedOut: () => {} });
    cai.text = (name) => name;
    flush();
  }
})();
