// Answers on their way: each is kept in this browser until the server has it, and sent again as often as it takes. It
// carries a name of its own, so that sending it twice stores it once.
"use strict";

(() => {
  const AGAIN_AFTER = [1000, 2000, 5000, 10000]; // milliseconds
  let sending = false, tries = 0, timer = 0;

  const key = () => `cai:outbox:${cai.annotator}`;

  function read() {
    try { return JSON.parse(localStorage.getItem(key()) ?? "[]"); } catch { return []; }
  }

  function write(letters) {
    if (letters.length) localStorage.setItem(key(), JSON.stringify(letters));
    else localStorage.removeItem(key());
  }

  // Keep an answer and begin to send. Its outcome comes as an event: sent, refused, or nothing for as long as it takes.
  function post(address, fields, about) {
    write([...read(), { address, fields, about }]);
    flush();
  }

  async function flush() {
    clearTimeout(timer);
    if (sending) return;
    sending = true;
    try {
      await navigator.locks.request(key(), async () => {
        for (let letters = read(); letters.length; letters = read()) if (!(await sent(letters[0]))) return;
      });
    } finally {
      sending = false;
      tell();
    }
    if (read().length) timer = setTimeout(flush, AGAIN_AFTER[Math.min(tries++, AGAIN_AFTER.length - 1)]);
    else tries = 0;
  }

  // Whether a letter is done with, one way or the other.
  async function sent(letter) {
    const body = new FormData();
    for (const [name, value] of letter.fields) body.append(name, value);
    body.set("csrf", cai.csrf);
    let answer;
    try {
      answer = await fetch(letter.address, { method: "POST", body, headers: { Accept: "application/json" } });
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
})();
