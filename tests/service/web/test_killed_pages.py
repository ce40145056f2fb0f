"""A server that is really killed under a browser, in mid-answer and with half a text written.

Nothing is lost, and nothing is stored twice.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, expect

from benchmarks.serving import Served, start
from tests import warm
from tests.service.web.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

PAIRS = 5
SETTINGS = {"worker": False}


@pytest_asyncio.fixture(loop_scope="session")
async def browser(site: Site) -> AsyncIterator[BrowserContext]:
    """The shared browser, for a server that is not the shared one."""
    context = await site.browser.new_context()
    yield context
    await context.close()


async def made(admin: httpx2.AsyncClient, path: str, **asked: Any) -> dict[str, Any]:
    answer = await admin.post(path, json=asked)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def labels(admin: httpx2.AsyncClient, project: str) -> list[dict[str, Any]]:
    answer = await admin.get("/v1/feedback", params={"project": project, "limit": 500})
    rows: list[dict[str, Any]] = answer.json()["items"]
    return rows


async def until(admin: httpx2.AsyncClient, project: str, count: int) -> list[dict[str, Any]]:
    """The labels of a project, once there are so many."""
    for _ in range(1200):
        if len(rows := await labels(admin, project)) >= count:
            return rows
        await asyncio.sleep(0.1)
    raise AssertionError(f"{len(rows)} labels, expected {count}")


async def test_a_server_killed_under_a_browser_loses_and_doubles_nothing(
    browser: BrowserContext, tmp_path: Path
) -> None:
    served = await asyncio.to_thread(start, tmp_path / "data", "", SETTINGS, begin=warm.forked)
    again: Served | None = None
    url = f"http://127.0.0.1:{served.port}"
    try:
        async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {served.key}"}) as admin:
            pairs = [{"prompt": f"Name river {n}.", "responses": [f"Yes {n}", f"No {n}"]} for n in range(PAIRS)]
            compared = (await made(admin, "/v1/projects", name="rivers", kind="comparison", items=pairs))["id"]
            text = [{"prompt": "Name a lake."}]
            written = (await made(admin, "/v1/projects", name="lakes", kind="demonstration", items=text))["id"]
            ada = (await made(admin, "/v1/annotators", name="Ada"))["id"]
            key = (await made(admin, "/v1/keys", name="Ada", scopes=["label"], annotator=ada))["key"]
            page, writing = await browser.new_page(), await browser.new_page()
            await signed_in(page, url, key)
            await writing.goto(f"{url}/label/{written}")
            await writing.locator("#text").fill("The lake of Gar")
            await page.bring_to_front()
            await page.goto(f"{url}/label/{compared}")
            await page.keyboard.press("1")
            await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
            await page.wait_for_load_state("networkidle")
            await asyncio.gather(page.keyboard.press("1"), asyncio.to_thread(served.kill))  # in mid-answer
            await expect(page.locator(".conversation")).to_contain_text("Name river 2.")
            await page.keyboard.press("4")  # nobody is there any more
            await expect(page.locator("#state")).to_contain_text("answer")
            again = await asyncio.to_thread(
                start, tmp_path / "data", "", SETTINGS, served.key, served.port, warm.forked
            )
            await until(admin, compared, 3)
            for number in (3, 4):
                await expect(page.locator(".conversation")).to_contain_text(f"Name river {number}.")
                await page.keyboard.press("1")
            await expect(page.get_by_role("heading", name="Nothing left for now")).to_be_visible()
            rows = await until(admin, compared, PAIRS)
            prompts = [row["prompt"]["messages"][0]["content"] for row in rows]
            assert sorted(prompts) == [f"Name river {number}." for number in range(PAIRS)], "each once"
            await writing.reload()
            await expect(writing.locator("#text")).to_have_value("The lake of Gar")
            await writing.locator("#text").fill("The lake of Garda.")
            await writing.locator("#text").press("Control+Enter")
            [row] = await until(admin, written, 1)
            assert row["label"]["text"] == "The lake of Garda."
    finally:
        served.kill()
        if again is not None:
            again.kill()


async def signed_in(page: Page, url: str, key: str) -> None:
    await page.goto(f"{url}/sign-in")
    await page.get_by_label("Your key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(lambda address: "/sign-in" not in address)
