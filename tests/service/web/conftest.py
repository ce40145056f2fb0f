"""The server and the browser that all tests of pages share: they start once. Such a test runs in the session's loop:

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
"""

import gc
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from service.settings import Settings
from tests.service.web.site import Site, serving

expect.set_options(timeout=60_000)  # a busy machine must not fail a page: what comes, comes


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_site(tmp_path_factory: pytest.TempPathFactory, chromium: Path) -> AsyncIterator[Site]:
    """A server with a database of its own, and a browser."""
    interval = sys.getswitchinterval()
    settings = Settings(data=tmp_path_factory.mktemp("site"), worker=False)
    async with serving(settings) as (url, service), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        async with httpx2.AsyncClient(base_url=url) as admin:
            made = Site(url, service, browser, admin)
            admin.headers["Authorization"] = f"Bearer {await made.key('admin')}"
            yield made
        await browser.close()
    gc.unfreeze()  # what a server's start changes in its process
    sys.setswitchinterval(interval)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def empty_site(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server of a module's own, in which nothing is yet, and the shared browser."""
    settings = Settings(data=tmp_path_factory.mktemp("empty-site"), worker=False)
    async with serving(settings) as (url, service), httpx2.AsyncClient(base_url=url) as admin:
        made = Site(url, service, shared_site.browser, admin)
        admin.headers["Authorization"] = f"Bearer {await made.key('admin')}"
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def site(shared_site: Site) -> AsyncIterator[Site]:
    """The shared server and browser; the pages that a test opens are closed after it."""
    yield shared_site
    await shared_site.close_pages()
