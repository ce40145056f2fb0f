"""A whole small project in a browser: made out of a file, labelled by three people, decided, and ready for a trainer.

Ada uses a mouse, Bo nothing but the keyboard, Cy a browser without scripts.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.service.web.site import Site, violations

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

PAIRS = [{"prompt": f"Name river {n}.", "responses": [f"Good {n}", f"Bad {n}"]} for n in range(4)]
NAME = "rivers of three people"
GOOD, BAD, NEITHER = "good", "bad", "neither"
# What each says of each pair: of twelve pairs of labels about one item, 3 + 1 + 1 + 3 are equal.
SAID = {
    "Ada": (GOOD, GOOD, GOOD, GOOD),
    "Bo": (GOOD, GOOD, NEITHER, GOOD),
    "Cy": (GOOD, BAD, GOOD, GOOD),
}
Choose = Callable[[Page, str], Awaitable[None]]


async def test_a_whole_project_from_a_file_to_a_training_job(site: Site, tmp_path: Path) -> None:
    admin = await site.page(await site.key("admin"))
    project = await made(admin, tmp_path)
    links = {name: await invited(admin, f"{name} of rivers") for name in SAID}
    ada = await site.page()
    await ada.goto(links["Ada"])
    await ada.get_by_role("button", name="Start").click()
    await ada.get_by_role("link", name=f"Start {NAME}").click()
    await labelled(ada, SAID["Ada"], by_mouse)
    await by_keyboard_alone(await site.page(), links["Bo"])
    cy = await site.page(java_script_enabled=False)
    await cy.goto(links["Cy"])
    await cy.get_by_role("button", name="Start").click()
    await cy.get_by_role("link", name=f"Start {NAME}").click()
    await labelled(cy, SAID["Cy"], by_mouse)
    await decided(admin, project)
    rows = await exported(admin)
    # The majority said that Good 1 is better; who decided said otherwise, and that holds.
    assert {(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows} == {
        ("Good 0", "Bad 0"),
        ("Bad 1", "Good 1"),
        ("Good 2", "Bad 2"),
        ("Good 3", "Bad 3"),
    }
    assert all(row["prompt"][0]["content"].startswith("Name river") for row in rows)
    await trained(admin, site)


async def made(page: Page, folder: Path) -> str:
    """Make the project out of a file, and open it; return its id."""
    file = folder / "rivers.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    await page.goto("/projects/new")
    await page.get_by_label("File", exact=True).set_input_files(file)
    await page.get_by_label("Name", exact=True).fill(NAME)
    await page.get_by_label("Labels per item").fill("3")
    await page.get_by_role("button", name="Make the project").click()
    preview = page.get_by_role("region", name="The first task, as annotators see it")
    await expect(preview.get_by_role("button", name="A is better")).to_be_disabled()
    assert await violations(page) == []
    await page.get_by_role("button", name="Open it to annotators").click()
    await expect(page.get_by_role("button", name="Close the project")).to_be_visible()
    return page.url.rpartition("/")[2]


async def invited(page: Page, name: str) -> str:
    """Invite somebody; return their link."""
    await page.goto("/people")
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_role("button", name="Make a link").click()
    return await page.get_by_label("Link", exact=True).input_value()


async def labelled(page: Page, said: tuple[str, ...], choose: Choose) -> None:
    """Answer all pairs, one after the other."""
    for number, answer in enumerate(said):
        await expect(page.locator(".conversation")).to_contain_text(f"Name river {number}.")
        await choose(page, answer)
    await expect(page.get_by_role("heading", name="Nothing left for now")).to_be_visible()


async def is_good_first(page: Page) -> bool:
    text = await page.locator(".response-text").first.inner_text()
    return text.startswith("Good")


async def by_mouse(page: Page, answer: str) -> None:
    letter = "A" if await is_good_first(page) == (answer == GOOD) else "B"
    name = "Both bad" if answer == NEITHER else f"{letter} is better"
    await page.get_by_role("button", name=name).click()


async def by_key(page: Page, answer: str) -> None:
    key = "1" if await is_good_first(page) == (answer == GOOD) else "4"
    await page.keyboard.press("3" if answer == NEITHER else key)


async def by_keyboard_alone(page: Page, link: str) -> None:
    """From the link to the last answer without a mouse, with one mistake that is taken back."""
    await page.goto(link)
    await tab_to(page, "Start")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/label")
    await tab_to(page, f"Start {NAME}")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/label/*")  # and its scripts
    await expect(page.locator(".conversation")).to_contain_text("Name river 0.")
    await by_key(page, BAD)
    await expect(page.locator(".conversation")).to_contain_text("Name river 1.")
    await page.keyboard.press("u")
    await labelled(page, SAID["Bo"], by_key)


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until a button or link has the focus."""
    for _ in range(400):  # other tests leave projects, whose links come first
        focused = await page.evaluate("document.activeElement.textContent")
        if " ".join(focused.split()) == name:
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{name} can't be reached by keyboard")


async def decided(page: Page, project: str) -> None:
    """Look at how far people agree, and decide what they differ about most."""
    await page.goto(f"/projects/{project}")
    assert "12 of 12" in await page.locator(".tiles").inner_text()
    await page.get_by_role("link", name="Agreement", exact=True).click()
    assert "67 %" in await page.locator(".tiles").inner_text()
    await page.get_by_role("link", name="Disagreement").click()
    await page.locator("tbody a").first.click()
    assert "Name river 1." in await page.locator("main").inner_text()
    await page.get_by_label("The second is better").check()
    await page.get_by_label("Why?").fill("The first is no river.")
    await page.get_by_role("button", name="Decide").click()
    await expect(page.locator("main")).to_contain_text("The first is no river.")


async def exported(page: Page) -> list[dict[str, Any]]:
    """Build a data set by majority; return the rows that a trainer gets."""
    await page.goto("/datasets")
    await page.get_by_label("Name", exact=True).fill("rivers")
    await page.get_by_label("Labels become rows").select_option("majority")
    await page.get_by_label("Project").select_option(label=NAME)
    await page.get_by_role("button", name="Build").click()
    await expect(page.get_by_role("heading", name="rivers")).to_be_visible()
    await page.get_by_label("Table").select_option("pairs")
    await page.get_by_label("Format").select_option("trl")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download").click()
    text = (await (await download.value).path()).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


async def trained(page: Page, site: Site) -> None:
    """Submit a training on the data set, by the form that the data set's page leads to."""
    await page.get_by_role("link", name="Train a model on it").click()
    await page.get_by_label("Name of the model").fill("river-model")
    await page.get_by_text("Settings", exact=True).click()
    await page.get_by_label("Steps at most").fill("2")
    assert await violations(page) == []
    await page.get_by_role("button", name="Submit the job").click()
    await expect(page.locator("#live")).to_contain_text("Waiting")
    job = (await site.admin.get(f"/v1/jobs/{page.url.rpartition('/')[2]}")).json()
    assert job["request"]["settings"] == {"max_steps": 2}
    assert (job["request"]["method"], job["request"]["name"]) == ("dpo", "river-model")
