"""One real server and one real browser for all tests of pages, and short names for what most of them do first."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import uvicorn
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, BrowserContext, Page

from service.app import create_app
from service.context import Service
from service.keys.auth import Scope, new_key
from service.settings import Settings
from service.store.tables import annotators, keys, now

PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 900}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

_numbers = itertools.count(1)


@dataclass(slots=True)
class Site:
    """A server at ``url``, and a browser. ``admin`` calls the API and may do everything."""

    url: str
    service: Service
    browser: Browser
    admin: httpx2.AsyncClient
    _contexts: list[BrowserContext] = field(default_factory=list)

    async def key(self, *scopes: Scope, annotator: str | None = None) -> str:
        """Make a key; return its text."""
        made = new_key("a test's", scopes, annotator=annotator)
        await self.service.database.insert({keys: [made.row]})
        return made.text

    async def annotator(self, name: str = "", group: str | None = None) -> str:
        """Make an annotator; return the id. Without a name they have one of their own."""
        id = f"annotator{next(_numbers)}"
        row: dict[str, Any] = {"id": id, "name": name or id, "group": group, "attributes": {}, "created_at": now()}
        await self.service.database.insert({annotators: [row]})
        return id

    async def project(self, kind: str, items: Sequence[dict[str, Any]], **more: Any) -> str:
        """Make a project with a name of its own, unless one is given; return the id."""
        asked = {"name": f"project {next(_numbers)}", "kind": kind, "items": list(items), **more}
        response = await self.admin.post("/v1/projects", json=asked)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def labels(self, project: str) -> list[dict[str, Any]]:
        """The labels of a project."""
        response = await self.admin.get("/v1/feedback", params={"project": project, "limit": 500})
        rows: list[dict[str, Any]] = response.json()["items"]
        return rows

    async def page(self, key: str | None = None, *, viewport: Any = WIDE, **more: Any) -> Page:
        """A page of a browser of its own; with a key, of somebody who has signed in."""
        context = await self.browser.new_context(viewport=viewport, base_url=self.url, **more)
        self._contexts.append(context)
        page = await context.new_page()
        if key is not None:
            await page.goto("/sign-in")
            await page.get_by_label("Your key").fill(key)
            await page.get_by_role("button", name="Sign in").click()
            await page.wait_for_url(lambda url: "/sign-in" not in url)
        return page

    async def labeller(self, *, viewport: Any = WIDE, **more: Any) -> tuple[str, Page]:
        """A new annotator who has signed in: the id and a page."""
        id = await self.annotator()
        return id, await self.page(await self.key("label", annotator=id), viewport=viewport, **more)

    async def close_pages(self) -> None:
        """Close all pages of one test."""
        for context in self._contexts:
            await context.close()
        self._contexts.clear()


async def violations(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """What axe finds against WCAG 2.2 AA on a page: each rule with the first element that breaks it. By default all."""
    wanted = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": WCAG}
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    options = {"runOnly": wanted, "resultTypes": ["violations"]}
    said: list[str] = await page.evaluate(AXE, options)
    return said


AXE = """options => axe.run(options).then(result =>
    result.violations.map(rule => `${rule.id}: ${rule.nodes[0].html.slice(0, 200)}`))"""


class Server(uvicorn.Server):
    """One that leaves the process's signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[str, Service]]:
    """A server in this process for the length of an ``async with``: its address and its parts."""
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.service
        finally:
            server.should_exit = True
            await task
