// What makes pages of those who run projects quick. Without it, each of them works by its forms.
"use strict";

const CHECK_AFTER = 400; // milliseconds without a key, after which a text is checked
const LIVE_EVERY = 2000;

// Only the fields that belong to what is chosen are shown; without scripts all of them are.
for (const form of document.querySelectorAll("form[data-making]")) {
  const show = () => {
    for (const part of form.querySelectorAll("[data-for]")) {
      const [name, value] = part.dataset.for.split("=");
      part.hidden = !value.split(",").includes(new FormData(form).get(name));
    }
  };
  form.addEventListener("change", show);
  show();
}

// A preview shows what scripts would offer an annotator, too.
for (const preview of document.querySelectorAll(".preview")) preview.classList.add("scripted");

// A job's page goes on by itself until the job has ended. What is open or scrolled stays so.
const live = document.querySelector("[data-live]");
if (live) {
  const told = document.getElementById("told"); // what is read aloud: state and rows, not the log at each look
  const tell = () => {
    const news = [...live.querySelectorAll("[data-told]")].map((one) => one.textContent.trim()).join(", ");
    if (told.textContent !== news) told.textContent = news;
  };
  const look = async () => {
    try {
      const answer = await fetch(live.dataset.live, { headers: { Accept: "text/html" } });
      if (answer.ok && !answer.redirected) {
        const scrolled = live.querySelector("pre.log")?.scrollTop;
        live.innerHTML = await answer.text(); // our own page, rendered and escaped by the server
        tell();
        showLocalTimes(live);
        offerPictures(live);
        const log = live.querySelector("pre.log");
        if (log) log.scrollTop = scrolled ?? log.scrollHeight;
        if (live.querySelector("[data-ended]")) return location.reload();
      }
    } catch {} // the network is away: it is asked again
    setTimeout(look, document.hidden ? 5 * LIVE_EVERY : LIVE_EVERY);
  };
  setTimeout(look, LIVE_EVERY);
}

// A constitution is checked while one types; an answer that a later one has overtaken is dropped.
const editor = document.querySelector("form[data-checks]");
if (editor) {
  const text = editor.elements.text;
  const checked = document.getElementById("checked");
  let waiting, asked = 0;
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const mine = ++asked;
      const form = new FormData();
      form.append("csrf", editor.elements.csrf.value);
      form.append("text", text.value);
      try {
        const answer = await fetch(editor.dataset.checks, { method: "POST", body: form });
        if (answer.ok && mine === asked) checked.innerHTML = await answer.text(); // likewise
      } catch {}
    }, CHECK_AFTER);
  });
  checked.addEventListener("click", (event) => {
    const line = Number(event.target.closest("[data-line]")?.dataset.line);
    if (!line) return;
    event.preventDefault();
    const lines = text.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    text.focus();
    text.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
    text.scrollTop = (line - 4) * (text.scrollHeight / lines.length);
  });
}

// A picture as PNG, twice its size: drawn here from the file that the server gives.
function offerPictures(root) {
  for (const button of root.querySelectorAll("button[data-png]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const image = new Image();
      image.addEventListener("load", () => {
        const canvas = document.createElement("canvas");
        canvas.width = 2 * image.naturalWidth;
        canvas.height = 2 * image.naturalHeight;
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        canvas.toBlob((blob) => {
          const link = document.createElement("a");
          link.href = URL.createObjectURL(blob);
          link.download = button.dataset.png.split("/").pop().replace(/\.svg$/, ".png");
          link.click();
          setTimeout(() => URL.revokeObjectURL(link.href), 10000);
        }, "image/png");
      });
      image.src = button.dataset.png;
    });
  }
}
offerPictures(document);
