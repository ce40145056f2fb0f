// What single kinds of tasks need beside a form: ranking by dragging, marking words, the changes while one edits.
"use strict";

(() => {
  const EDGE = 60, SPEED = 10; // pixels from the window's edge at which a dragged answer scrolls the page, and a step of it

  // Ranking: the numbers are what is sent; moving an answer changes them.
  function ranking(form) {
    const list = form.querySelector(".ranking");
    if (!list) return;
    const cards = () => [...list.children];
    const select = (card) => card.querySelector("select");

    // Numbers follow the order in which the answers stand. The first move gives each its number; later ones leave out
    // what is not ranked, and let those that share a number share it, but for the one that was moved.
    function renumber(moved) {
      const all = cards(), isFirst = all.every((card) => select(card).value === "");
      let rank = 0, above = null, number = "";
      for (const card of all) {
        const own = select(card).value;
        if (own === "" && !isFirst && card !== moved) continue;
        const isEqual = own !== "" && own === number && card !== moved && above !== moved;
        if (!isEqual) rank += 1;
        [above, number] = [card, own];
        select(card).value = String(rank);
      }
      form.dispatchEvent(new Event("input", { bubbles: true }));
    }

    function move(card, steps) {
      const all = cards(), to = Math.max(0, Math.min(all.length - 1, all.indexOf(card) + steps));
      if (all[to] === card) return;
      if (steps < 0) all[to].before(card); else all[to].after(card);
      renumber(card);
      card.querySelector(".response-text").focus({ preventScroll: true });
      card.scrollIntoView({ block: "nearest" });
    }

    list.addEventListener("click", (event) => {
      const button = event.target.closest("[data-move]");
      if (button) move(button.closest(".ranked"), Number(button.dataset.move));
    });
    list.addEventListener("keydown", (event) => {
      const card = event.target.closest(".ranked");
      if (!card || event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
      const digit = /^[0-9]$/.test(event.key) ? Number(event.key) : -1;
      if (digit < 0 || digit > cards().length) return;
      select(card).value = digit === 0 ? "" : String(digit);
      form.dispatchEvent(new Event("input", { bubbles: true }));
      event.preventDefault();
    });
    list.addEventListener("pointerdown", (event) => {
      const handle = event.target.closest(".handle");
      if (handle) drag(event, handle, handle.closest(".ranked"));
    });

    // The card that is dragged stays where it is in the page, and the others move around it: one that is taken out and
    // put back loses the pointer.
    function drag(event, handle, card) {
      event.preventDefault();
      handle.setPointerCapture(event.pointerId);
      card.classList.add("dragged");
      let last = event, frame = 0;
      const moved = (at) => {
        last = at;
        const all = cards(), from = all.indexOf(card);
        const to = all.findIndex((one) => one !== card && holds(one.getBoundingClientRect(), at));
        if (to < 0) return;
        if (to < from) card.after(...all.slice(to, from)); else card.before(...all.slice(from + 1, to + 1));
      };
      // Near an edge of the window the page goes on: an answer may be longer than the window.
      const follow = () => {
        const by = Number(last.clientY > innerHeight - EDGE) - Number(last.clientY < EDGE);
        if (by) { scrollBy(0, by * SPEED); moved(last); }
        frame = requestAnimationFrame(follow);
      };
      const ended = () => {
        cancelAnimationFrame(frame);
        card.classList.remove("dragged");
        handle.removeEventListener("pointermove", moved);
        renumber(card);
      };
      frame = requestAnimationFrame(follow);
      handle.addEventListener("pointermove", moved);
      handle.addEventListener("lostpointercapture", ended, { once: true });
    }

    const holds = (box, at) => at.clientX >= box.left && at.clientX <= box.right && at.clientY >= box.top && at.clientY <= box.bottom;

    const focused = () => document.activeElement?.closest?.(".ranked");
    const step = (by) => {
      const all = cards(), at = all.indexOf(focused());
      const next = all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by))];
      next.querySelector(".response-text").focus();
    };
    cai.keys.add("next_response", "j", cai.text("script.key.next_response"), () => step(1));
    cai.keys.add("previous_response", "k", cai.text("script.key.previous_response"), () => step(-1));
    cai.keys.add("up", "Alt+ArrowUp", cai.text("script.key.up"), () => { if (focused()) move(focused(), -1); });
    cai.keys.add("down", "Alt+ArrowDown", cai.text("script.key.down"), () => { if (focused()) move(focused(), 1); });
  }

  // Marked words. Positions count characters as the server does: one for each code point.
  const points = (text) => [...text].length;

  function marking(form) {
    const place = form.querySelector("[data-marks]");
    if (!place) return;
    const button = form.querySelector("[data-action=mark]");
    let selected = null; // a finger on the button takes the selection away before it is a click
    button.addEventListener("pointerdown", (event) => { event.preventDefault(); selected = rangeOf(getSelection()); });
    button.addEventListener("click", () => { mark(form, rangeOf(getSelection()) ?? selected); selected = null; });
    form.querySelector("[data-spans]").addEventListener("click", (event) => {
      const drop = event.target.closest("[data-does=drop]");
      if (!drop) return;
      drop.closest("li").remove();
      changed(form);
    });
    for (const raw of place.querySelectorAll(".raw")) raw.addEventListener("mouseup", () => mark(form, rangeOf(getSelection())));
    showMarks(form);
  }

  const rangeOf = (selection) => selection.rangeCount && !selection.isCollapsed ? selection.getRangeAt(0).cloneRange() : null;

  function mark(form, range) {
    if (!range) return;
    const start = range.startContainer.parentElement?.closest(".raw") ?? range.startContainer.closest?.(".raw");
    const response = start?.closest(".response");
    if (!response || !form.contains(response)) return;
    const raw = response.querySelector(".raw"), before = document.createRange();
    before.selectNodeContents(raw);
    before.setEnd(range.startContainer, range.startOffset);
    const from = points(before.toString());
    if (raw.contains(range.endContainer)) before.setEnd(range.endContainer, range.endOffset);
    else before.setEndAfter(raw.lastChild);
    const to = points(before.toString());
    if (to <= from) return;
    addSpan(form, Number(response.dataset.place), from, to, "");
    getSelection().removeAllRanges();
    changed(form);
    form.querySelector("[data-spans] li:last-child input[name=span_note]").focus();
  }

  function changed(form) {
    showMarks(form);
    form.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function wordsOf(form, place, from, to) {
    return [...form.querySelector(`.response[data-place="${place}"] .raw`).textContent].slice(from, to).join("");
  }

  function addSpan(form, place, from, to, said) {
    const item = document.createElement("li"), words = document.createElement("q");
    words.dir = "auto";
    words.textContent = wordsOf(form, place, from, to);
    const span = Object.assign(document.createElement("input"), { type: "hidden", name: "span", value: `${place}:${from}:${to}` });
    const note = Object.assign(document.createElement("input"), { name: "span_note", maxLength: 2000, value: said, dir: "auto" });
    note.placeholder = cai.text("script.span_note");
    note.setAttribute("aria-label", note.placeholder);
    const drop = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: cai.text("script.span_drop") });
    drop.dataset.does = "drop";
    item.append(span, words, note, drop);
    form.querySelector("[data-spans]").append(item);
  }

  function showMarks(form) {
    for (const response of form.querySelectorAll("[data-marks] .response")) {
      const raw = response.querySelector(".raw");
      if (!raw) continue;
      const letters = [...raw.textContent], marked = new Uint8Array(letters.length);
      for (const input of form.querySelectorAll("input[name=span]")) {
        const [place, from, to] = input.value.split(":").map(Number);
        if (place === Number(response.dataset.place)) marked.fill(1, from, to);
      }
      const pieces = [];
      for (let at = 0; at < letters.length;) {
        let end = at;
        while (end < letters.length && marked[end] === marked[at]) end++;
        const text = letters.slice(at, end).join("");
        if (marked[at]) { const element = document.createElement("mark"); element.textContent = text; pieces.push(element); }
        else pieces.push(document.createTextNode(text));
        at = end;
      }
      raw.replaceChildren(...pieces);
    }
  }

  function restoreSpans(form, fields) {
    const list = form.querySelector("[data-spans]");
    if (!list) return;
    list.replaceChildren();
    const notes = fields.filter(([name]) => name === "span_note");
    fields.filter(([name]) => name === "span").forEach(([, value], at) => {
      const [place, from, to] = value.split(":").map(Number);
      addSpan(form, place, from, to, notes[at]?.[1] ?? "");
    });
    showMarks(form);
  }

  // Editing: the text begins as the chosen response, and what was changed stands below it.
  function editing(form) {
    const place = form.querySelector("#changes");
    if (!place) return;
    const text = form.querySelector("#text"), which = form.querySelector("#which");
    const before = () => form.querySelector(`.response[data-place="${which ? which.value : 0}"] .raw`)?.textContent.replaceAll("\r\n", "\n") ?? "";
    let timer = 0, last = before();
    const show = () => cai.showChanges(place, cai.differences(before(), text.value));
    text.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, 60); });
    form.addEventListener("restored", show);
    which?.addEventListener("change", () => {
      if (text.value === last) text.value = before();
      last = before();
      show();
    });
    show();
  }

  function begin(form) {
    ranking(form);
    marking(form);
    editing(form);
  }

  cai.kinds = { begin, restoreSpans };
})();
