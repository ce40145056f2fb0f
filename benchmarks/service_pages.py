"""The pages where people label: how heavy they are, how soon they show, and 200 annotators at once.

A real server in a child process on SQLite; Chromium beside it on the same cores for the first figures. First content is
the browser's own first contentful paint of a comparison's page, opened anew; the next task's time is from the key that
answers to the next prompt on the page, which is there already.

Each of the 200 annotators has a session and a connection of their own, and does what a browser does: signs in, opens
the page, and then sends an answer and asks for the task after the next. They come within the first 15 seconds, and
between two answers they think for 5 to 15 seconds, as somebody does who reads fast: 20 answers and 20 tasks a second in
all. Half-way the server is killed and started again; what got no answer is sent again under the same name, as browsers
do. Requests are written to the sockets as they are, so that the load takes little of the cores that are measured; what
it took stands beside the server's own processor time.
"""

import asyncio
import math
import random
import re
import shutil
import sqlite3
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import httpx2

from benchmarks.figures import Measurement, processor_seconds
from benchmarks.mixed import percentile
from benchmarks.serving import Served, serving, start

TITLE = "Pages for annotators"
ANNOTATORS, SECONDS, OPENINGS, DECISIONS = 200, 300.0, 15, 40
SHORT = {"SECONDS": 40.0, "OPENINGS": 5, "DECISIONS": 10}
THINKING = (5.0, 15.0)  # seconds between two answers
COMING = 15.0  # seconds within which all have come
RETRY_SECONDS = 0.5
BATCH = 1000
CSRF = re.compile(r'name="csrf" value="(\w+)"')
TASK = re.compile(r'data-task="(\w+)"')
ONCE = re.compile(r'name="once" value="([\w-]+)"')
LENGTH = re.compile(rb"(?i)content-length: (\d+)")
COOKIE = re.compile(rb"(?i)set-cookie: ([^=]+)=([^;]*)")


@dataclass(slots=True)
class FeltByAnnotators:
    """What the annotators saw: seconds of each answer, what went wrong, and what was acknowledged."""

    seconds: list[float] = field(default_factory=list)
    by_kind: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[int] = field(default_factory=Counter)
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(slots=True)
class ServerPlace:
    """Where the server is, and since when: it moves when it is started again."""

    served: Served
    since: float = 0.0  # of the monotonic clock


def measure() -> list[Measurement]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with serving(folder, worker=False) as served:
            place = ServerPlace(served)
            try:
                figures = asyncio.run(_browser(served)) if shutil.which("chromium") else []
                return figures + asyncio.run(_annotators(folder, place))
            finally:
                place.served.kill()


async def _browser(served: Served) -> list[Measurement]:
    from playwright.async_api import async_playwright

    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as admin:
        admin.headers["Authorization"] = f"Bearer {served.key}"
        project = await _project(admin, "pages", OPENINGS + DECISIONS + 5, 1, constitution="harmlessness")
        key = await _key(admin, "browser")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = await browser.new_context(base_url=f"http://127.0.0.1:{served.port}")
        page = await context.new_page()
        await page.goto(f"/sign-in?to=/label/{project}")
        await page.get_by_label("Your key").fill(key)
        await page.get_by_role("button", name="Sign in").click()
        paints, weight = [], 0
        for _ in range(OPENINGS):
            await page.goto(f"/label/{project}", wait_until="load")
            paints.append(await page.evaluate(PAINT))
            weight = await page.evaluate(WEIGHT)
        await page.evaluate(WATCH)
        await page.wait_for_timeout(500)
        for _ in range(DECISIONS):
            await page.keyboard.press("1")
            await page.wait_for_timeout(400)
        shown: list[float] = await page.evaluate("window.shown")
        await browser.close()
    return [
        Measurement(
            "a comparison's page with all it needs", weight / 1000, "kB", 200, "with a constitution", "at most"
        ),
        Measurement("first content", median(paints), "ms", 200, f"median of {OPENINGS} openings", "at most"),
        Measurement(
            "from a key to the next task", percentile(shown), "ms", 100, f"99th percentile of {len(shown)}", "at most"
        ),
    ]


PAINT = """() => new Promise(done => {
    const look = () => {
        const paint = performance.getEntriesByName("first-contentful-paint")[0];
        if (paint) done(paint.startTime); else setTimeout(look, 10);
    };
    look();
})"""
WEIGHT = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
    .reduce((sum, entry) => sum + entry.encodedBodySize, 0)"""
WATCH = """() => {
    window.shown = [];
    let pressed = 0;
    addEventListener("keydown", () => { pressed = performance.now(); }, { capture: true });
    new MutationObserver(() => requestAnimationFrame(() => {
        if (pressed) { window.shown.push(performance.now() - pressed); pressed = 0; }
    })).observe(document.getElementById("sheet-place"), { childList: true });
}"""


async def _annotators(folder: Path, place: ServerPlace) -> list[Measurement]:
    url = f"http://127.0.0.1:{place.served.port}"
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as admin:
        admin.headers["Authorization"] = f"Bearer {place.served.key}"
        decisions = ANNOTATORS * int(SECONDS / THINKING[0] + 20)
        project = await _project(admin, "many", decisions, 1)
        keys = [await _key(admin, f"annotator {number}") for number in range(ANNOTATORS)]
    felt, end = FeltByAnnotators(), time.monotonic() + SECONDS
    own, server = time.process_time(), processor_seconds(place.served.process.pid)
    people = [asyncio.create_task(_annotator(place, project, key, end, felt)) for key in keys]
    await asyncio.sleep(SECONDS / 2)
    key = place.served.key
    server = processor_seconds(place.served.process.pid) - server
    own = time.process_time() - own
    asked = len(felt.seconds)
    place.served.kill()
    killed, place.since = time.monotonic(), math.inf
    place.served = await asyncio.to_thread(start, folder, "", {"worker": False}, key)
    place.since = time.monotonic()
    away = place.since - killed
    await asyncio.gather(*people)
    stored = _stored(folder, project)
    lost = sum((felt.acknowledged - stored).values())
    doubled = sum(n - 1 for n in stored.values() if n > 1)
    rate = len(felt.seconds) / SECONDS
    note = f"{rate:.0f} requests/s; median {1000 * median(felt.seconds):.0f} ms; a kill in between"
    kinds = ", ".join(f"{kind} {1000 * percentile(seconds):.0f}" for kind, seconds in felt.by_kind.items())
    each = f"of {asked:,} before the kill; the load itself took {1000 * own / asked:.2f} ms"
    return [
        Measurement(
            f"{ANNOTATORS} annotators: 99th percentile", 1000 * percentile(felt.seconds), "ms", 500, note, "at most"
        ),
        Measurement("the worst kind of request: 99th percentile", _worst(felt), "ms", note=f"{kinds} ms"),
        Measurement("processor time of the server for a request", 1000 * server / asked, "ms", note=each),
        Measurement(
            "the server was away", away, "s", note="from its kill to its being ready; the figures leave it out"
        ),
        Measurement(f"{ANNOTATORS} annotators: errors", felt.errors.total(), "", 0, str(dict(felt.errors)), "at most"),
        Measurement(
            "labels that were acknowledged and are not there",
            lost,
            "",
            0,
            f"of {felt.acknowledged.total():,}",
            "at most",
        ),
        Measurement("labels that are there twice", doubled, "", 0, "", "at most"),
    ]


def _worst(felt: FeltByAnnotators) -> float:
    return 1000 * max(percentile(seconds) for seconds in felt.by_kind.values())


async def _annotator(place: ServerPlace, project: str, key: str, end: float, felt: FeltByAnnotators) -> None:
    chance = random.Random(key)
    await asyncio.sleep(chance.uniform(0, COMING))
    browser = Browser(place, felt)
    form = await browser.ask("sign-in page", "GET", "/sign-in")
    await browser.ask("sign-in", "POST", "/sign-in", {"csrf": _first(CSRF, form.text), "key": key})
    page = (await browser.ask("page", "GET", f"/label/{project}")).text
    csrf = _first(CSRF, page)
    while time.monotonic() < end and TASK.search(page):
        task, once = _first(TASK, page), _first(ONCE, page)
        ahead = await browser.ask("task", "POST", f"/label/{project}/next", {"csrf": csrf, "beside": task})
        await asyncio.sleep(chance.uniform(*THINKING))
        choice = chance.choice(("first", "second", "both_bad"))
        answer = {"csrf": csrf, "once": once, "choice": choice, "seconds": "3"}
        stored = await browser.ask("answer", "POST", f"/label/{project}/{task}", answer, accept="application/json")
        if stored.status == 200:
            felt.acknowledged[(task, "")] += 1
        page = ahead.text
    browser.close()


@dataclass(frozen=True, slots=True)
class PageReply:
    """What came back."""

    status: int
    text: str


class Browser:
    """One annotator's cookies and kept-alive connection, at little cost of its own."""

    def __init__(self, place: ServerPlace, felt: FeltByAnnotators) -> None:
        self._place, self._felt = place, felt
        self._cookies: dict[str, str] = {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def ask(
        self, kind: str, method: str, path: str, form: dict[str, str] | None = None, accept: str = "text/html"
    ) -> PageReply:
        """Ask until there is an answer. The seconds are those of the try that got one, while there was a server."""
        body = b"" if form is None else urlencode(form).encode()
        while True:
            began = time.monotonic()
            try:
                answer = await asyncio.wait_for(self._tried(self._head(method, path, body, accept), body), 60)
            except (OSError, EOFError, TimeoutError):  # the server is gone for a moment
                self.close()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            at = time.monotonic()
            seconds = at - max(began, min(at, self._place.since))
            self._felt.seconds.append(seconds)
            self._felt.by_kind[kind].append(seconds)
            if answer.status >= 400:
                self._felt.errors[answer.status] += 1
            return answer

    def _head(self, method: str, path: str, body: bytes, accept: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Accept: {accept}", f"Content-Length: {len(body)}"]
        if body:
            lines.append("Content-Type: application/x-www-form-urlencoded")
        if self._cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self._cookies.items()))
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    async def _tried(self, head: bytes, body: bytes) -> PageReply:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._place.served.port)
        reader, writer = self._streams
        writer.write(head + body)
        told = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(told)
        text = await reader.readexactly(int(length[1]) if length else 0)
        self._cookies |= {name.decode(): value.decode() for name, value in COOKIE.findall(told)}
        return PageReply(int(told[9:12]), text.decode())


def _first(pattern: re.Pattern[str], page: str) -> str:
    matched = pattern.search(page)
    return matched[1] if matched else ""


async def _project(admin: httpx2.AsyncClient, name: str, items: int, labels: int, **more: object) -> str:
    texts = [
        {
            "prompt": f"How do I keep basil alive in winter? ({number})",
            "responses": [f"On a bright window sill. ({number})", f"Buy a new one in spring. ({number})"],
        }
        for number in range(items)
    ]
    asked = {"name": name, "kind": "comparison", "labels_per_item": labels, "items": texts[:BATCH], **more}
    made = await admin.post("/v1/projects", json=asked, timeout=120)
    made.raise_for_status()
    id = str(made.json()["id"])
    for start_at in range(BATCH, items, BATCH):
        added = await admin.post(
            f"/v1/projects/{id}/items", json={"items": texts[start_at : start_at + BATCH]}, timeout=120
        )
        added.raise_for_status()
    return id


async def _key(admin: httpx2.AsyncClient, name: str) -> str:
    annotator = (await admin.post("/v1/annotators", json={"name": name})).json()["id"]
    made = await admin.post("/v1/keys", json={"name": name, "scopes": ["label"], "annotator": annotator})
    return str(made.json()["key"])


def _stored(folder: Path, project: str) -> Counter[tuple[str, str]]:
    """How many labels each task has."""
    with sqlite3.connect(folder / "cai.db") as database:
        rows = database.execute("SELECT task FROM feedback WHERE project = ?", (project,)).fetchall()
    database.close()
    return Counter((task, "") for (task,) in rows)
