"""Labelling in a real browser, by mouse and by keyboard: what is stored, undone, kept and sent later."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from service.store.tables import leases, now, tasks
from tests.service.web.site import PHONE, Site, violations

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"Name river {i}.", "responses": [f"Good {i}", f"Bad answer {i}"]} for i in range(count)]


async def shown(page: Page) -> list[str]:
    """The texts of the answers on the page, from the left."""
    return await page.locator(".response-text .prose").all_inner_texts()


async def key_of_good(page: Page) -> str:
    """The key that prefers the good answer: the order is the annotator's own."""
    return "1" if "Good" in (await shown(page))[0] else "4"


async def until_stored(site: Site, project: str, count: int) -> list[dict[str, Any]]:
    """The labels of a project that count, once there are so many."""
    for _ in range(1200):
        kept = [row for row in await site.labels(project) if row["retracted"] is None]
        if len(kept) >= count:
            assert len(kept) == count
            return kept
        await asyncio.sleep(0.05)
    raise AssertionError(f"{len(kept)} labels, expected {count}")


async def test_comparisons_take_one_key_each_and_undo_takes_one(site: Site) -> None:
    project = await site.project("comparison", pairs(4), constitution="harmlessness")
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    for number in range(3):
        await expect(page.locator(".conversation")).to_contain_text(f"Name river {number}.")
        await page.keyboard.press(await key_of_good(page))
    await expect(page.locator(".conversation")).to_contain_text("Name river 3.")
    await page.keyboard.press("u")  # at once: the answer may still be on its way
    await expect(page.locator(".conversation")).to_contain_text("Name river 2.")
    assert await page.locator("[aria-pressed=true].choice-button").count() == 1
    await page.keyboard.press("3")  # both bad
    await expect(page.locator(".conversation")).to_contain_text("Name river 3.")
    await page.keyboard.press("3")
    await expect(page.get_by_role("heading", name="Nothing left for now")).to_be_visible()
    kept = await until_stored(site, project, 4)
    ties = [row["prompt"]["messages"][0]["content"] for row in kept if row["label"].get("tie_kind") == "both_bad"]
    assert sorted(ties) == ["Name river 2.", "Name river 3."]
    assert {row["label"]["choice"] for row in kept if "tie_kind" not in row["label"]} == {"first"}
    corrected = [row for row in await site.labels(project) if row["retracted"] is not None]
    assert [row["label"]["choice"] for row in corrected] == ["first"], "the label before is kept in its history"
    assert all(0 <= row["seconds"] < 600 for row in kept)


async def test_a_newcomer_labels_in_two_steps_after_opening_a_link(site: Site) -> None:
    project = await site.project("comparison", pairs(2))
    key = (await site.key("label", annotator=await site.annotator("Newcomer"))).split("_")[1]
    link = (await site.admin.post(f"/v1/keys/{key}/links", json={})).json()
    page = await site.page(viewport=PHONE)
    address = f"{link['path']}?to=/label/{project}"
    await page.goto(address)
    await page.goto(address)  # what only looks at it uses it not up
    await expect(page.get_by_role("heading", name="Welcome, Newcomer")).to_be_visible()
    steps = [page.get_by_role("button", name="Start"), page.get_by_role("button", name="A is better")]
    for step in steps:
        await step.click()
    await until_stored(site, project, 1)
    other = await site.page()
    await other.goto(address)
    assert "was used already" in await other.get_by_role("alert").inner_text()


async def test_every_kind_is_labelled_by_its_own_page(site: Site) -> None:
    _, page = await site.labeller()
    chat = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Q?"},
    ]
    text = "A **good** answer 🦉 of words."
    one = [{"prompt": chat, "responses": [text]}]
    labels = {}
    for kind, items, keys in (
        ("thumbs", one, ["2"]),
        ("rating", one, ["4"]),
        ("demonstration", one, []),
        ("correction", one, []),
        ("critique", one, []),
        ("ranking", [{"prompt": chat, "responses": ["x", "y", "z"]}], ["j", "2", "j", "1", "Enter"]),
    ):
        project = await site.project(kind, items)
        await page.goto(f"/label/{project}")
        assert await violations(page) == [], kind
        if kind in ("demonstration", "correction"):
            await page.locator("#text").fill("Better\nwords.")
            if kind == "correction":
                await expect(page.locator("#changes ins")).to_contain_text("Better")
            await page.keyboard.press("Control+Enter")
        if kind == "critique":
            await select(page, "words")
            await page.keyboard.press("m")
            await page.keyboard.type("<b>too few</b>")
            await page.locator("#text").fill("Say more.")
            await page.keyboard.press("Control+Enter")
        for key in keys:
            await page.keyboard.press(key)
        labels[kind] = (await until_stored(site, project, 1))[0]["label"]
    assert labels["thumbs"]["value"] == "down" and labels["rating"]["value"] == 4
    assert labels["demonstration"]["text"] == labels["correction"]["text"] == "Better\nwords."
    [span] = labels["critique"]["spans"]
    assert text[span["start"] : span["end"]] == "words" and span["note"] == "<b>too few</b>"
    assert sorted(labels["ranking"]["ranks"], key=str) == [1, 2, None]


async def select(page: Page, words: str) -> None:
    """Select words of the first answer."""
    script = """words => {
        const raw = document.querySelector(".response .raw");
        const walker = document.createTreeWalker(raw, NodeFilter.SHOW_TEXT);
        for (let node; (node = walker.nextNode());) {
            const at = node.data.indexOf(words);
            if (at >= 0) { getSelection().setBaseAndExtent(node, at, node, at + words.length); return; }
        }
    }"""
    await page.evaluate(script, words)


async def test_an_answer_without_a_network_is_kept_and_sent_once(site: Site) -> None:
    project = await site.project("comparison", pairs(3))
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    await page.wait_for_load_state("networkidle")
    await page.context.set_offline(True)
    await page.keyboard.press("1")
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")  # it was there already
    await expect(page.locator("#state")).to_contain_text("1 answer")
    assert await site.labels(project) == []
    await page.context.set_offline(False)
    await until_stored(site, project, 1)
    await page.keyboard.press("1")
    await until_stored(site, project, 2)


async def test_an_answer_that_was_stored_but_not_acknowledged_is_stored_once(site: Site) -> None:
    """As where the server is killed between its commit and its answer: the browser can't know, and sends it again."""
    project = await site.project("comparison", pairs(2))
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    await page.wait_for_load_state("networkidle")
    tries = 0

    async def lost(route: Route) -> None:
        nonlocal tries
        if route.request.method != "POST" or route.request.url.endswith(("/next", "/draft")):
            await route.continue_()
            return
        tries += 1
        answer = await route.fetch()
        assert answer.status == 200
        if tries == 1:
            await route.abort()
        else:
            await route.fulfill(response=answer)

    await page.route("**/label/**", lost)
    await page.keyboard.press("1")
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
    for _ in range(1200):
        if tries == 2:
            break
        await asyncio.sleep(0.05)
    assert tries == 2
    await until_stored(site, project, 1)
    assert len(await site.labels(project)) == 1
    await page.unroute_all(behavior="ignoreErrors")  # the page may ask again, which nobody waits for


async def test_a_draft_survives_a_reload_a_closed_browser_and_a_lease_that_ran_out(site: Site) -> None:
    project = await site.project("demonstration", [{"prompt": "Name a river."}])
    annotator = await site.annotator()
    key = await site.key("label", annotator=annotator)
    page = await site.page(key)
    await page.goto(f"/label/{project}")
    await page.locator("#text").fill("The Po, wh")
    await page.reload()
    await expect(page.locator("#text")).to_have_value("The Po, wh")
    await page.locator("#text").fill("The Po, which")
    await expect(page.locator("#state")).to_contain_text("Draft saved")
    await page.context.close()

    async with site.service.database.transaction() as connection:
        await connection.execute(leases.update().where(leases.c.annotator == annotator).values(until=now()))
    other = await site.page(key)  # a browser that knows nothing
    await other.goto(f"/label/{project}")
    await expect(other.locator("#text")).to_have_value("The Po, which")
    await other.locator("#text").press("Control+Enter")
    assert (await until_stored(site, project, 1))[0]["label"]["text"] == "The Po, which"


async def test_what_was_written_is_given_back_where_others_took_the_task(site: Site) -> None:
    project = await site.project("demonstration", [{"prompt": "Name a river."}])
    annotator, page = await site.labeller()
    await page.goto(f"/label/{project}")
    await page.locator("#text").fill("The Po.")
    async with site.service.database.transaction() as connection:
        await connection.execute(leases.update().where(leases.c.annotator == annotator).values(until=now()))
        await connection.execute(tasks.update().where(tasks.c.project == project).values(answers=1))
    await page.locator("#text").press("Control+Enter")
    await expect(page.get_by_label("What you had written")).to_have_value("The Po.")
    assert await site.labels(project) == []


async def test_two_tabs_and_two_people_do_not_fight(site: Site) -> None:
    project = await site.project("comparison", pairs(2))
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    tab = await page.context.new_page()
    await tab.goto(f"/label/{project}")
    _, other = await site.labeller()
    await other.goto(f"/label/{project}")
    await expect(other.get_by_role("heading", name="Nothing left for now")).to_be_visible()  # one has both, for now
    await tab.keyboard.press("1")
    await expect(tab.locator(".conversation")).to_contain_text("Name river 1.")
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
    await until_stored(site, project, 1)
    await page.bring_to_front()
    await page.keyboard.press("1")
    await until_stored(site, project, 2)
    assert len(await site.labels(project)) == 2


async def test_two_who_race_for_a_task_give_it_one_label(site: Site) -> None:
    """One's lease ran out while they read, another got the task, and both answer at the same moment."""
    project = await site.project("demonstration", [{"prompt": "Name a river."}])
    slow, page = await site.labeller()
    await page.goto(f"/label/{project}")
    await page.locator("#text").fill("The Po.")
    async with site.service.database.transaction() as connection:
        await connection.execute(leases.update().where(leases.c.annotator == slow).values(until=now()))
    _, other = await site.labeller()
    await other.goto(f"/label/{project}")
    await other.locator("#text").fill("The Tiber.")
    await asyncio.gather(*(one.locator("#text").press("Control+Enter") for one in (page, other)))
    await expect(page.get_by_label("What you had written")).to_have_value("The Po.")
    [row] = await until_stored(site, project, 1)
    assert row["label"]["text"] == "The Tiber." and len(await site.labels(project)) == 1


async def test_skipping_says_why_and_is_taken_back_by_undo(site: Site) -> None:
    project = await site.project("comparison", pairs(2))
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    await page.keyboard.press("s")
    await page.get_by_label("It is harmful").check()
    await page.get_by_role("button", name="Skip it").click()
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
    rows: list[Any] = []
    for _ in range(1200):
        rows = (await site.admin.get(f"/v1/projects/{project}/skips")).json()["items"]
        if rows:
            break
        await asyncio.sleep(0.05)
    assert [row["reason"] for row in rows] == ["harmful"]
    await page.keyboard.press("u")
    await page.get_by_role("button", name="Take it back").click()
    await expect(page.locator(".conversation")).to_contain_text("Name river 0.")
    await page.locator("h3").first.click()
    await page.keyboard.press("1")
    await until_stored(site, project, 1)


async def test_keys_can_be_changed_and_rest_while_one_writes(site: Site) -> None:
    project = await site.project("comparison", pairs(2))
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    await page.keyboard.press("?")
    await page.get_by_role("button", name="Both good: 2").click()
    await page.keyboard.press("x")
    await page.get_by_role("button", name="Close").click()
    await page.keyboard.press("f")
    await page.locator("#flag-note").fill("")
    await page.locator("#flag-note").type("x2")
    assert await site.labels(project) == []
    await page.get_by_label("Flag it together").check()
    await page.keyboard.press("x")
    row = (await until_stored(site, project, 1))[0]
    assert row["label"]["tie_kind"] == "both_good" and row["flag"] == {"note": "x2"}


async def test_everything_works_without_scripts(site: Site) -> None:
    project = await site.project("comparison", pairs(1), levels=3)
    critiques = await site.project("critique", [{"prompt": "Q?", "responses": ["The Po flows."]}])
    _, page = await site.labeller(java_script_enabled=False)
    await page.goto("/label")
    await page.goto(f"/label/{project}")
    much = "A much better" if "Good" in (await shown(page))[0] else "B much better"
    await page.get_by_role("button", name=much).click()
    assert (await until_stored(site, project, 1))[0]["label"] == {"choice": "first", "strength": 3, "levels": 3}
    assert "Nothing left" in await page.locator("h1").inner_text()
    await page.goto(f"/label/{critiques}")
    await page.get_by_label("What could be better?").fill("More.")
    await page.get_by_label("Words of the answer").fill("Po sinks")
    await page.get_by_role("button", name="Send").click()
    assert "stand in no answer" in await page.get_by_role("alert").inner_text()
    await expect(page.get_by_label("What could be better?")).to_have_value("More.")
    await page.get_by_label("Words of the answer").fill("Po flows")
    await page.get_by_role("button", name="Send").click()
    assert (await until_stored(site, critiques, 1))[0]["label"]["spans"] == [{"start": 4, "end": 12}]


async def test_practice_is_explained_and_has_to_be_passed_before_work(site: Site) -> None:
    practice = {"prompt": "Name a sea.", "responses": ["The Baltic.", "Rome."], "role": "practice", "expected": "first"}
    items = [*pairs(1), {**practice, "why": "Rome is a **city**."}]
    project = await site.project("comparison", items, settings={"pass_share": 1.0})
    _, page = await site.labeller()
    await page.goto(f"/label/{project}")
    baltic_first = (await shown(page))[0] == "The Baltic."
    await page.keyboard.press("4" if baltic_first else "1")
    await expect(page.get_by_role("heading", name="Not quite")).to_be_visible()
    await expect(page.get_by_role("definition").last).to_contain_text("Rome is a city.")
    assert await violations(page) == []
    await page.get_by_role("link", name="Next").click()
    await page.get_by_role("link", name="Try again").click()
    await expect(page.locator(".conversation")).to_contain_text("Name a sea.")
    await page.keyboard.press("1" if baltic_first else "4")
    await page.get_by_role("link", name="Begin").click()
    await expect(page.locator(".conversation")).to_contain_text("Name river 0.")
    await page.keyboard.press("1")
    await until_stored(site, project, 1)
