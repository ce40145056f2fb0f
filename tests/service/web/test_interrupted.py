"""What comes between an annotator and an answer: a session that is over, a project that is closed, the back button."""

import re

import pytest
from playwright.async_api import expect

from service.store.tables import now, sessions
from tests.service.web.site import PHONE, Site, violations
from tests.service.web.test_labelling import pairs, until_stored

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_an_answer_outlives_the_session_that_it_was_given_in(site: Site) -> None:
    project = await site.project("comparison", pairs(3))
    annotator = await site.annotator()
    key = await site.key("label", annotator=annotator)
    page = await site.page(key)
    await page.goto(f"/label/{project}")
    await page.wait_for_load_state("networkidle")
    async with site.service.database.transaction() as connection:
        await connection.execute(sessions.update().values(expires_at=now()))  # of nobody else: tests run one by one
    site.service.sessions._known.clear()  # what it remembers for two seconds
    await page.keyboard.press("1")
    await expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert await site.labels(project) == []
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_label("Your key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"**/label/{project}")
    await until_stored(site, project, 1)
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")


async def test_a_project_that_is_closed_in_mid_answer_says_so_and_gives_back_what_was_written(site: Site) -> None:
    project = await site.project("demonstration", [{"prompt": "Name a river."}, {"prompt": "Name a lake."}])
    _, page = await site.labeller(viewport=PHONE)
    await page.goto(f"/label/{project}")
    await page.locator("#text").fill("The Po.")
    await page.wait_for_load_state("networkidle")
    assert (await site.admin.patch(f"/v1/projects/{project}", json={"closed": True})).status_code == 200
    await page.locator("#text").press("Control+Enter")
    await expect(page.get_by_label("What you had written")).to_have_value("The Po.")
    lake = page.locator("#text")
    if await lake.is_enabled():  # the next task was there already
        await lake.fill("Garda.")
        await lake.press("Control+Enter")
    await expect(page.locator("#ended")).to_contain_text("the project is closed")
    assert await page.get_by_text("No connection").count() == 0
    assert await violations(page) == []
    await page.locator("#ended").get_by_role("link", name="Your projects").click()
    await page.wait_for_url("**/label")
    assert await site.labels(project) == []


@pytest.mark.parametrize("has_scripts", [True, False])
async def test_the_back_button_answers_nothing_twice(site: Site, has_scripts: bool) -> None:
    project = await site.project("comparison", pairs(3))
    _, page = await site.labeller(java_script_enabled=has_scripts)
    await page.goto(f"/label/{project}")
    await page.get_by_role("button", name="A is better").click()
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
    await until_stored(site, project, 1)
    await page.goto("/label/history")
    await page.go_back()
    await expect(page.locator(".conversation")).to_contain_text(re.compile("Name river [01]."))
    await page.get_by_role("button", name="B is better").click()
    await expect(page.locator("#sheet")).to_be_visible()
    stored = [row for row in await site.labels(project) if row["retracted"] is None]
    assert len({row["item"] for row in stored}) == len(stored), "an item has two labels that both count"


async def test_a_break_is_called_for_after_its_minutes_of_work_and_none_after_a_pause(site: Site) -> None:
    project = await site.project("comparison", pairs(2), settings={"break_minutes": 20})
    _, page = await site.labeller()
    await page.clock.install()
    await page.goto(f"/label/{project}")
    await page.wait_for_load_state("networkidle")
    called = page.get_by_text("You have been at it for 20 minutes.")

    async def work(spells: int) -> None:
        for _ in range(spells):
            await page.clock.fast_forward("04:00")
            await page.keyboard.press("Shift")
            await page.clock.run_for(1000)

    await work(4)
    await page.clock.fast_forward("06:00")  # a pause: the time begins anew
    await page.keyboard.press("Shift")
    await work(4)
    await expect(called).to_have_count(0)
    await work(2)
    await expect(called).to_be_visible()
    await page.get_by_role("button", name="I had one").click()
    await work(1)
    await expect(called).to_have_count(0)
