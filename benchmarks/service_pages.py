"""The pages where people label: how heavy they are, how soon they show, and 200 annotators at once.

A real server in a child process on SQLite; Chromium beside it on the same cores for the first figures. First content is
the browser's own first contentful paint of a comparison's page, opened anew; the next task's time is from the key that
answers to the next prompt on the page, which is there already.

Each of the 200 annotators has a session of their own, and does what a browser does: sends an answer, and asks for the
task after the next. Between two answers they think for 5 to 15 seconds, as somebody does who reads fast. Half-way the
server is killed and started again; what got no answer is sent again under the same name, as browsers do.
"""

import asyncio
import random
import re
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import httpx2

from benchmarks.figures import Figure
from benchmarks.mixed import percentile
from benchmarks.serving import Served, serving, start

TITLE = "Pages for annotators"
ANNOTATORS, SECONDS, OPENINGS, DECISIONS = 200, 300.0, 15, 40
SHORT = {"SECONDS": 40.0, "OPENINGS": 5, "DECISIONS": 10}
THINKING = (5.0, 15.0)  # seconds between two answers
RETRY_SECONDS = 0.5
BATCH = 1000
CSRF = re.compile(r'name="csrf" value="(\w+)"')
TASK = re.compile(r'data-task="(\w+)"')
ONCE = re.compile(r'name="once" value="([\w-]+)"')


@dataclass(slots=True)
class Felt:
    """What the annotators saw: seconds of each answer, what went wrong, and what was acknowledged."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[int] = field(default_factory=Counter)
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(slots=True)
class Place:
    """Where the server is: it moves when it is started again."""

    served: Served


def measure() -> list[Figure]:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with serving(folder, worker=False) as served:
            place = Place(served)
            try:
                figures = asyncio.run(_browser(served)) if shutil.which("chromium") else []
                return figures + asyncio.run(_annotators(folder, place))
            finally:
                place.served.kill()


async def _browser(served: Served) -> list[Figure]:
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
        Figure("a comparison's page with all it needs", weight / 1000, "kB", 200, "with a constitution", "at most"),
        Figure("first content", median(paints), "ms", 200, f"median of {OPENINGS} openings", "at most"),
        Figure(
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


async def _annotators(folder: Path, place: Place) -> list[Figure]:
    url = f"http://127.0.0.1:{place.served.port}"
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as admin:
        admin.headers["Authorization"] = f"Bearer {place.served.key}"
        decisions = ANNOTATORS * int(SECONDS / THINKING[0] + 20)
        project = await _project(admin, "many", decisions, 1)
        keys = [await _key(admin, f"annotator {number}") for number in range(ANNOTATORS)]
    felt, end = Felt(), time.monotonic() + SECONDS
    people = [asyncio.create_task(_annotator(place, project, key, end, felt)) for key in keys]
    await asyncio.sleep(SECONDS / 2)
    key = place.served.key
    place.served.kill()
    place.served = await asyncio.to_thread(start, folder, "", {"worker": False}, key)
    await asyncio.gather(*people)
    stored = _stored(folder, project)
    lost = sum((felt.acknowledged - stored).values())
    doubled = sum(n - 1 for n in stored.values() if n > 1)
    rate = len(felt.seconds) / SECONDS
    note = f"{rate:.0f} requests/s; median {1000 * median(felt.seconds):.0f} ms; a kill in between"
    return [
        Figure(
            f"{ANNOTATORS} annotators: 99th percentile", 1000 * percentile(felt.seconds), "ms", 500, note, "at most"
        ),
        Figure(f"{ANNOTATORS} annotators: errors", felt.errors.total(), "", 0, str(dict(felt.errors)), "at most"),
        Figure(
            "labels that were acknowledged and are not there",
            lost,
            "",
            0,
            f"of {felt.acknowledged.total():,}",
            "at most",
        ),
        Figure("labels that are there twice", doubled, "", 0, "", "at most"),
    ]


async def _annotator(place: Place, project: str, key: str, end: float, felt: Felt) -> None:
    chance = random.Random(key)
    async with httpx2.AsyncClient(timeout=60) as client:
        form = CSRF.search((await _ask(client, place, felt, "GET", "/sign-in", None)).text)
        csrf = form[1] if form else ""
        await _ask(client, place, felt, "POST", "/sign-in", {"csrf": csrf, "key": key})
        page = (await _ask(client, place, felt, "GET", f"/label/{project}", None)).text
        csrf = _first(CSRF, page)
        while time.monotonic() < end and TASK.search(page):
            task, once = _first(TASK, page), _first(ONCE, page)
            ahead = await _ask(client, place, felt, "POST", f"/label/{project}/next", {"csrf": csrf, "beside": task})
            await asyncio.sleep(chance.uniform(*THINKING))
            answer = {
                "csrf": csrf,
                "once": once,
                "choice": chance.choice(("first", "second", "both_bad")),
                "seconds": "3",
            }
            stored = await _ask(client, place, felt, "POST", f"/label/{project}/{task}", answer, as_script=True)
            if stored.status_code == 200:
                felt.acknowledged[(task, "")] += 1
            page = ahead.text


async def _ask(
    client: httpx2.AsyncClient,
    place: Place,
    felt: Felt,
    method: str,
    path: str,
    form: dict[str, str] | None,
    as_script: bool = False,
) -> httpx2.Response:
    """Ask until there is an answer. The seconds are those of the try that got one."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | (
        {"Accept": "application/json"} if as_script else {}
    )
    while True:
        began = time.monotonic()
        try:
            url = f"http://127.0.0.1:{place.served.port}{path}"
            content = None if form is None else urlencode(form)
            answer = await client.request(method, url, content=content, headers=headers)
        except httpx2.TransportError:  # the server is gone for a moment
            await asyncio.sleep(RETRY_SECONDS)
            continue
        felt.seconds.append(time.monotonic() - began)
        if answer.status_code >= 400:
            felt.errors[answer.status_code] += 1
        return answer


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
