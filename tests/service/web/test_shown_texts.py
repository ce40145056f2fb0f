"""How texts are shown to annotators: blurred until asked for, side by side, raw, compared, and by each principle."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.service.web.site import WIDE, Site
from tests.service.web.test_labelling import key_of_good, pairs, until_stored

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

LONG = "\n\n".join(f"Paragraph {n} of a **long** answer." for n in range(60))


async def is_blurred(text: Locator) -> bool:
    """Whether nobody can read a text."""
    return "blur" in str(await text.evaluate("e => getComputedStyle(e).filter"))


async def test_harmful_texts_are_blurred_everywhere_until_somebody_asks_for_them(site: Site) -> None:
    known = {"prompt": "Name a sea.", "responses": ["Good sea", "Rome."], "role": "practice", "expected": "first"}
    project = await site.project("comparison", [*pairs(2), known], settings={"blur": True})
    _, page = await site.labeller()

    async def hidden_then_shown(text: Locator, *, by_key: bool) -> None:
        assert await is_blurred(text)
        if by_key:
            await page.keyboard.press("h")
        else:
            await page.get_by_label("Show it").check()
        assert not await is_blurred(text)

    await page.goto(f"/label/{project}")
    await hidden_then_shown(page.locator(".response .prose").first, by_key=True)
    await page.keyboard.press(await key_of_good(page))
    await page.get_by_role("definition").first.wait_for()  # what was right, and the answers once more
    await hidden_then_shown(page.locator(".response .prose").first, by_key=False)
    await page.get_by_role("link", name="Begin").click()
    await hidden_then_shown(page.locator(".conversation .prose").first, by_key=True)
    await page.keyboard.press("1")
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
    assert await is_blurred(page.locator(".conversation .prose").first), "each task anew"
    await until_stored(site, project, 1)
    await page.goto("/label/history")
    await hidden_then_shown(page.get_by_role("cell", name="Name river 0.", exact=True), by_key=False)


async def test_long_answers_scroll_together_and_the_choice_stays_in_sight(site: Site) -> None:
    project = await site.project("comparison", [{"prompt": LONG, "responses": [LONG, f"{LONG}\n\n{LONG}"]}])
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    first, second = page.locator(".response-text").first, page.locator(".response-text").last
    await first.scroll_into_view_if_needed()
    await first.hover()
    await page.mouse.wheel(0, 100_000)
    at_end = "e => Math.abs(e.scrollTop + e.clientHeight - e.scrollHeight) < 2 && e.scrollTop > 500"
    await page.wait_for_function(f"() => [...document.querySelectorAll('.response-text')].every({at_end})")
    await second.focus()
    await page.keyboard.press("Home")
    await page.wait_for_function("() => [...document.querySelectorAll('.response-text')].every(e => e.scrollTop === 0)")
    for y in (0, 400, 100_000):
        await page.evaluate("y => scrollTo(0, y)", y)
        box = await page.get_by_role("button", name="A is better").bounding_box()
        assert box is not None and 0 <= box["y"] <= WIDE["height"] - box["height"], y


async def test_raw_texts_and_differences_are_at_a_key_and_go_again(site: Site) -> None:
    texts = ["The **Po** is long.", "The **Nile** is long."]
    project = await site.project("comparison", [{"prompt": "Which?", "responses": texts}])
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    seen = page.locator(".response-text")
    await expect(seen.first.locator("strong")).to_be_visible()
    await page.keyboard.press("r")
    assert sorted([await seen.nth(place).inner_text() for place in (0, 1)]) == sorted(texts)
    await page.keyboard.press("r")
    await page.keyboard.press("d")
    assert sorted(await page.locator(".response mark").all_inner_texts()) == ["Nile", "Po"]
    await page.keyboard.press("d")
    await expect(page.locator(".response mark")).to_have_count(0)
    await expect(seen.first.locator("strong")).to_be_visible()


async def principles(page: Page) -> list[str]:
    """The names of the first two principles' fields."""
    names = await page.locator("[name^='principle:']").evaluate_all("all => all.map(one => one.name)")
    return [str(name) for name in names[:2]]


async def test_choices_and_ratings_are_given_by_each_principle_too(site: Site) -> None:
    more: dict[str, Any] = {"constitution": "harmlessness@1.1.0", "by_principle": True}
    compared = await site.project("comparison", pairs(1), **more)
    _, page = await site.labeller()
    await page.goto(f"/label/{compared}")
    first, second = await principles(page)
    is_good_first = await key_of_good(page) == "1"
    await page.locator(f"[name='{first}']").select_option("first" if is_good_first else "second")
    await page.locator(f"[name='{second}']").select_option("tie")
    await page.locator(f"[name=deciding][value='{first.partition(':')[2]}']").check()
    await page.keyboard.press(await key_of_good(page))
    await page.get_by_role("button", name="Send").click()
    label = (await until_stored(site, compared, 1))[0]["label"]
    one, other = (name.partition(":")[2] for name in (first, second))
    assert label["choice"] == "first" and label["deciding"] == [one]
    assert label["by_principle"] == {one: "first", other: "tie"}

    rated = await site.project("rating", [{"prompt": "Q?", "responses": ["A."]}], **more)
    await page.goto(f"/label/{rated}")
    first, _ = await principles(page)
    await page.locator(f"[name='{first}']").fill("2")
    await page.get_by_role("radio", name="4").check()
    await page.get_by_role("button", name="Send").click()
    label = (await until_stored(site, rated, 1))[0]["label"]
    assert label["value"] == 4 and label["by_principle"] == {first.partition(":")[2]: 2}


async def test_an_answer_that_is_looked_at_again_has_its_flag_still(site: Site) -> None:
    project = await site.project("comparison", pairs(2))
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    await page.keyboard.press("f")
    await page.get_by_label("Flag it together").check()
    await page.get_by_label("What is the matter?").fill("Who is meant?")
    await page.get_by_role("button", name="A is better").click()
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
    await until_stored(site, project, 1)
    await page.reload()
    await page.keyboard.press("u")
    await expect(page.get_by_label("Flag it together")).to_be_checked()
    await expect(page.get_by_label("What is the matter?")).to_have_value("Who is meant?")
    await page.get_by_role("button", name="Both bad").click()
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
    [row] = await until_corrected(site, project)
    assert row["label"]["tie_kind"] == "both_bad" and row["flag"] == {"note": "Who is meant?"}


async def until_corrected(site: Site, project: str) -> list[dict[str, Any]]:
    """The labels of a project that count, once another one has been withdrawn for one of them."""
    for _ in range(600):
        rows = await site.labels(project)
        if any(row["retracted"] is not None for row in rows):
            return [row for row in rows if row["retracted"] is None]
        await asyncio.sleep(0.1)
    raise AssertionError("nothing was corrected")
