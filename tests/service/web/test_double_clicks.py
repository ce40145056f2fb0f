"""A double click sends a form twice, and shows the second answer: that says what the first one said."""

import asyncio
from contextlib import suppress

import pytest
from playwright.async_api import Error, Locator, Page, Route, expect

from tests.service.web.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def point_at(page: Page, button: Locator) -> None:
    box = await button.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


async def press(page: Page, count: int) -> None:
    """Click, as the first or second click of a double one."""
    await page.mouse.down(click_count=count)
    await page.mouse.up(click_count=count)


async def double_click(page: Page, button: Locator, address: str) -> None:
    """Click twice, of which the second click comes when the form's effect is there and its answer isn't yet."""
    sent: list[asyncio.Event] = [asyncio.Event(), asyncio.Event()]
    under_way = iter(sent)

    async def hold(route: Route) -> None:
        answer = await route.fetch(max_redirects=0)
        next(under_way).set()
        await sent[1].wait()
        with suppress(Error):  # the browser has given the first form up
            await route.fulfill(response=answer)

    await page.route(address, hold)
    await point_at(page, button)
    for count, form in enumerate(sent, 1):
        await press(page, count)
        await form.wait()
    await page.unroute(address, hold)


async def signed_in_by(site: Site, address: str, name: str) -> None:
    """Use a link in a browser of its own."""
    page = await site.page()
    await page.goto(address)
    await expect(page.get_by_role("heading", name=name)).to_be_visible()
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_url(lambda url: "/sign-in" not in url)


async def test_who_invites_by_a_double_click_sees_a_link_that_works(site: Site) -> None:
    page = await site.page(await site.key("admin"))
    await page.goto("/people")
    await page.get_by_label("Name", exact=True).fill("Double Ada")
    await double_click(page, page.get_by_role("button", name="Make a link"), "**/people")
    link = page.get_by_label("Link", exact=True)
    await expect(link).to_be_visible()
    await signed_in_by(site, await link.input_value(), "Double Ada")
    people = (await site.admin.get("/v1/annotators", params={"name": "Double Ada"})).json()["items"]
    assert len(people) == 1


async def test_a_link_is_used_once_by_a_double_click(site: Site) -> None:
    """Sent twice, it was answered by a page that said that the link was used already."""
    asked = {"name": "Double Cy", "scopes": ["label"], "annotator": await site.annotator("Double Cy")}
    key = (await site.admin.post("/v1/keys", json=asked)).json()["id"]
    link = (await site.admin.post(f"/v1/keys/{key}/links", json={})).json()["path"]
    page = await site.page()
    await page.goto(link)
    sent: list[Route] = []
    first, clicked = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        sent.append(route)
        first.set()
        await clicked.wait()
        await route.continue_()

    await page.route(f"**{link}", hold)
    await point_at(page, page.get_by_role("button", name="Start"))
    await press(page, 1)
    await first.wait()
    await press(page, 2)
    clicked.set()
    await page.wait_for_url(lambda url: "/sign-in" not in url)
    assert len(sent) == 1


async def test_another_link_by_a_double_click_works_and_makes_one_key(site: Site) -> None:
    id = await site.annotator("Double Bo")
    page = await site.page(await site.key("admin"))
    await page.goto("/people")
    await double_click(page, page.get_by_role("button", name="Double Bo"), f"**/people/{id}/link")
    link = page.get_by_label("Link", exact=True)
    await expect(link).to_be_visible()
    await signed_in_by(site, await link.input_value(), "Double Bo")
    keys = (await site.admin.get("/v1/keys", params={"limit": 500})).json()["items"]
    assert len([key for key in keys if key["annotator"] == id]) == 1
