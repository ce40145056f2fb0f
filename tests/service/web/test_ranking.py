"""Ranking by dragging, with the pointer events that a browser makes of a mouse and of a finger."""

from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.service.web.site import PHONE, Site
from tests.service.web.test_labelling import until_stored

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

TEXTS = ["the Rhine", "the Volga", "the Loire", "the Tagus"]


async def ranked(site: Site, **more: Any) -> tuple[str, Page]:
    """A task of ranking four answers, on the page of its annotator."""
    project = await site.project("ranking", [{"prompt": "Name a river.", "responses": TEXTS}])
    _, page = await site.labeller(**more)
    await page.goto(f"/label/{project}")
    await expect(page.locator(".handle")).to_have_count(len(TEXTS))
    return project, page


async def order(page: Page) -> list[str]:
    """The answers from the top."""
    return await page.locator(".ranked .response-text .prose").all_inner_texts()


async def middle(of: Locator) -> tuple[float, float]:
    box = await of.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


async def stored(site: Site, project: str, page: Page) -> list[str]:
    """Send the ranking; the answers from the best, as they are stored."""
    await page.get_by_role("button", name="Send").click()
    [row] = await until_stored(site, project, 1)
    ranks = row["label"]["ranks"]
    assert sorted(ranks) == [1, 2, 3, 4]
    return [row["responses"][ranks.index(rank)]["text"] for rank in (1, 2, 3, 4)]


async def rank_all(page: Page) -> None:
    """Give all a rank in the order in which they stand."""
    for place, select in enumerate(await page.locator(".ranked select").all()):
        await select.select_option(str(place + 1))


async def test_an_answer_is_dragged_over_several_others_by_mouse(site: Site) -> None:
    project, page = await ranked(site)
    a, b, c, d = await order(page)
    await rank_all(page)
    handles = page.locator(".handle")
    await page.mouse.move(*await middle(handles.nth(3)))
    await page.mouse.down()
    for place in (2, 1, 0):
        x, y = await middle(page.locator(".ranked").nth(place))
        await page.mouse.move(x, y, steps=4)
    await expect(page.locator(".dragged")).to_have_count(1)
    await page.mouse.up()
    assert await order(page) == [d, a, b, c]
    await page.mouse.move(*await middle(page.locator(".handle").nth(1)))
    await page.mouse.down()
    await page.mouse.move(*await middle(page.locator(".ranked").nth(3)))  # in one move, as a quick hand does
    await page.mouse.up()
    assert await order(page) == [d, b, c, a]
    assert await page.locator(".dragged").count() == 0
    assert await stored(site, project, page) == [d, b, c, a]


async def test_an_answer_is_dragged_with_a_finger_and_the_page_stays_where_it_is(site: Site) -> None:
    project, page = await ranked(site, viewport=PHONE, has_touch=True, is_mobile=True)
    a, b, c, d = await order(page)
    await rank_all(page)
    handle = page.locator(".handle").first
    await handle.scroll_into_view_if_needed()
    scrolled = await page.evaluate("scrollY")
    touch = await page.context.new_cdp_session(page)
    x, y = await middle(handle)
    below = await middle(page.locator(".ranked").nth(1))
    await touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 6):
        at = {"x": x, "y": y + (below[1] - y) * step / 5}
        await touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [at]})
    await expect(page.locator(".dragged")).to_have_count(1)
    await touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert await order(page) == [b, a, c, d]
    assert await page.evaluate("scrollY") == scrolled
    assert await stored(site, project, page) == [b, a, c, d]
