"""A task of each kind labelled on a phone, with fingers alone; and answers that wait in a browser that signs out."""

from collections.abc import Sequence
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.service.web.site import PHONE, Site
from tests.service.web.test_labelling import pairs, select, until_stored
from tests.service.web.test_ranking import middle, order

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

FINGERS: dict[str, Any] = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
TEXT = "A **good** answer of many words. " * 30


async def opened(site: Site, kind: str, responses: Sequence[str], **more: Any) -> tuple[str, Page]:
    """A task of a kind on a phone; what can be pressed there is large enough for a finger, and in sight."""
    project = await site.project(kind, [{"prompt": "Name a river.", "responses": list(responses)}], **more)
    _, page = await site.labeller(**FINGERS)
    await page.goto(f"/label/{project}")
    await expect(page.locator("#sheet")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for button in await page.locator(".bar button:visible, .bar label:visible").all():
        box = await button.bounding_box()
        assert box is not None and box["height"] >= 24 and box["y"] + box["height"] <= PHONE["height"] + 1, kind
    return project, page


async def only(site: Site, project: str) -> dict[str, Any]:
    """What the one label of a project says."""
    label: dict[str, Any] = (await until_stored(site, project, 1))[0]["label"]
    return label


async def test_answers_are_compared_rated_and_thumbed_by_touch(site: Site) -> None:
    project, page = await opened(site, "comparison", [TEXT, f"{TEXT}!"], levels=3)
    await page.get_by_role("button", name="Differences").tap()
    await expect(page.locator(".response mark")).to_have_count(1)
    await page.get_by_role("button", name="Both bad").tap()
    assert (await only(site, project))["tie_kind"] == "both_bad"
    project, page = await opened(site, "rating", [TEXT])
    await page.get_by_role("button", name="4", exact=True).tap()
    assert (await only(site, project))["value"] == 4
    project, page = await opened(site, "thumbs", [TEXT])
    await page.get_by_role("button", name="Bad").tap()
    assert (await only(site, project))["value"] == "down"


async def test_texts_are_written_and_edited_by_touch(site: Site) -> None:
    project, page = await opened(site, "demonstration", [])
    await page.get_by_label("What is a good answer?").tap()
    await page.keyboard.insert_text("The Po.")
    await page.get_by_role("button", name="Send").tap()
    assert (await only(site, project))["text"] == "The Po."
    project, page = await opened(site, "correction", ["The Po flows."])
    await page.get_by_label("Edit the answer").fill("The Po sinks.")
    await expect(page.locator("#changes ins")).to_have_text("sinks")
    await page.get_by_role("button", name="Send").tap()
    assert (await only(site, project))["text"] == "The Po sinks."


async def test_words_are_marked_by_touch(site: Site) -> None:
    """A long press selects words; the finger on the button would take the selection away."""
    project, page = await opened(site, "critique", ["The Po flows."])
    await select(page, "flows")
    await page.get_by_role("button", name="Mark the selected words").tap()
    await expect(page.locator(".spans q")).to_have_text("flows")
    await page.get_by_role("textbox", name="About these words").fill("Whither?")
    await page.get_by_role("button", name="Mark the selected words").tap()  # nothing is selected any more
    await expect(page.locator(".spans li")).to_have_count(1)
    await page.get_by_label("What could be better?").fill("Say more.")
    await page.get_by_role("button", name="Send").tap()
    [span] = (await only(site, project))["spans"]
    assert (span["start"], span["end"], span["note"]) == (7, 12, "Whither?")


async def test_a_finger_ranks_answers_by_their_handles_and_by_arrows(site: Site) -> None:
    """The first answer that is moved gives each a number; equals and what is left out stay so, whatever moves next."""
    project, page = await opened(site, "ranking", ["a", "b", "c", "d"])
    before = await order(page)
    await dragged(page, 0, 1)
    assert await order(page) == [before[1], before[0], *before[2:]]
    await numbered(page, "1 2 3 4")
    await page.locator(".ranked select").nth(2).select_option("2")  # as good as the one before
    await page.locator(".ranked select").nth(3).select_option("")
    await page.get_by_role("button", name=" up").nth(3).tap()
    await numbered(page, "1 2 3 4")  # one that is moved has a number, and shares none
    await page.locator(".ranked select").nth(3).select_option("3")
    await page.get_by_role("button", name=" down").nth(0).tap()
    await numbered(page, "1 2 3 3")
    shown = await order(page)
    await page.get_by_role("button", name="Send").tap()
    [row] = await until_stored(site, project, 1)
    by_text = {response["text"]: rank for response, rank in zip(row["responses"], row["label"]["ranks"], strict=True)}
    assert [by_text[text] for text in shown] == [1, 2, 3, 3]


async def test_a_long_answer_is_dragged_past_the_edge_of_the_window(site: Site) -> None:
    project, page = await opened(site, "ranking", ["short", *[f"{letter} {TEXT * 2}" for letter in "bcd"]])
    text = (await order(page))[0]
    x, y = await middle(page.locator(".handle").first)
    touch = await page.context.new_cdp_session(page)
    at = {"x": x, "y": y}
    await touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    await touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{**at, "y": 840}]})
    await page.wait_for_function(
        "text => document.querySelector('.ranked:last-child .prose').innerText === text", arg=text
    )
    await touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert (await order(page))[-1] == text and await page.evaluate("scrollY") > 0
    assert project


async def numbered(page: Page, ranks: str) -> None:
    """Wait for these ranks, from the top: a finger's click comes a moment after it."""
    said = "[...document.querySelectorAll('.ranked select')].map(one => one.value).join(' ')"
    await page.wait_for_function(f"ranks => {said} === ranks", arg=ranks)


async def dragged(page: Page, from_place: int, to_place: int) -> None:
    """Drag one answer to another's place with a finger."""
    handle = page.locator(".handle").nth(from_place)
    await handle.scroll_into_view_if_needed()
    touch = await page.context.new_cdp_session(page)
    x, y = await middle(handle)
    _, below = await middle(page.locator(".ranked").nth(to_place))
    at = {"x": x, "y": y}
    await touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 6):
        at = {"x": x, "y": y + (below - y) * step / 5}
        await touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [at]})
    await page.wait_for_timeout(200)  # a finger that stops before it leaves sets nothing going, which a tap would stop
    await touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [at]})
    await touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


async def test_signing_out_asks_before_it_forgets_an_answer_that_was_not_sent(site: Site) -> None:
    project = await site.project("comparison", pairs(2))
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    await page.wait_for_load_state("networkidle")
    await page.context.set_offline(True)
    await page.keyboard.press("1")
    await expect(page.locator("#state")).to_contain_text("1 answer")
    asked: list[str] = []

    async def stay(dialog: Any) -> None:
        asked.append(dialog.message)
        await dialog.dismiss()

    page.on("dialog", stay)
    await page.get_by_role("button", name="Sign out").click()
    assert len(asked) == 1 and "lost" in asked[0]
    await page.context.set_offline(False)
    await until_stored(site, project, 1)


async def test_chosen_keys_outlive_signing_out_and_tab_stays_what_it_is(site: Site) -> None:
    project = await site.project("comparison", pairs(1))
    annotator = await site.annotator()
    key = await site.key("label", annotator=annotator)
    page = await site.page(key)
    await page.goto(f"/label/{project}")
    await page.keyboard.press("?")
    await page.get_by_role("button", name="Both good: 2").click()
    await page.keyboard.press("Tab")
    await page.get_by_role("button", name="Both bad: 3").click()
    await page.keyboard.press("x")
    await page.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/sign-in")
    await page.get_by_label("Your key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/label")
    await page.goto(f"/label/{project}")
    await page.keyboard.press("x")
    assert (await only(site, project))["tie_kind"] == "both_bad"
