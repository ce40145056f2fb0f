// What every page has: times in the reader's own zone, and nothing of ours left in the browser after signing out.
"use strict";

const PREFIX = "cai:"; // of what scripts keep in the browser
const UNSENT = `${PREFIX}outbox:`, KEYS = `${PREFIX}keys:`; // answers on their way, and the keys that somebody chose

function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const style = time.dataset.style === "day" ? { dateStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
    time.title = time.dateTime;
    time.textContent = new Intl.DateTimeFormat(undefined, style).format(at);
  }
}

// Whoever signs out leaves no text behind; the keys that they chose say nothing, and are there when they come back.
function signOut(event) {
  const kept = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX) && !key.startsWith(KEYS));
  const isUnsent = kept.some((key) => key.startsWith(UNSENT));
  if (isUnsent && !confirm(event.currentTarget.dataset.signsOut)) event.preventDefault();
  else for (const key of kept) localStorage.removeItem(key);
}

// Who is signed in has another token, and a link signs in once: the answer to a second click would be a refusal.
document.addEventListener("click", (event) => {
  if (event.detail > 1 && event.target.closest("form[data-sent-once]")) event.preventDefault();
});

// Where the reader is, so that "today" is theirs.
document.cookie = `cai_zone=${Intl.DateTimeFormat().resolvedOptions().timeZone}; path=/; SameSite=Lax`;
showLocalTimes(document);
for (const form of document.querySelectorAll("form[data-signs-out]")) form.addEventListener("submit", signOut);
