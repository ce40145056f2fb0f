// What every page has: times in the reader's own zone, and nothing of ours left in the browser after signing out.
"use strict";

const PREFIX = "cai:"; // of what scripts keep in the browser

function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const style = time.dataset.style === "day" ? { dateStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
    time.title = time.dateTime;
    time.textContent = new Intl.DateTimeFormat(undefined, style).format(at);
  }
}

function forget() {
  for (const key of Object.keys(localStorage)) if (key.startsWith(PREFIX)) localStorage.removeItem(key);
}

showLocalTimes(document);
for (const form of document.querySelectorAll("form[data-signs-out]")) form.addEventListener("submit", forget);
