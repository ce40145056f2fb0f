"""The walk of docs/LABELLING.md in a real browser: from nothing to a labelled project, with a picture at each step.

``python -m tests.service.web.walk`` makes the pictures anew. `test_walk.py` goes the same way, so that the page stays
true.
"""

import asyncio
import json
import shutil
import tempfile
from pathlib import Path

import httpx2
from playwright.async_api import Page, async_playwright, expect

from service.settings import Settings
from tests.service.web.site import Site, serving

FOLDER = Path(__file__).parents[3] / "docs" / "labelling"
SIZE = {"width": 900, "height": 560}
PAIRS = [
    {
        "prompt": "How do I keep basil alive in winter?",
        "responses": [
            "Put it on a bright window sill, water it when the soil feels dry, and pinch off its flowers.",
            "Put it on a bright window sill, water it every hour, and pinch off its leaves.",
        ],
    },
    {
        "prompt": "How often should I water a cactus?",
        "responses": ["Every two or three weeks, once the soil is dry.", "A cactus needs no water at all."],
    },
    {
        "prompt": "Why are the leaves of my lemon tree yellow?",
        "responses": ["Often for want of iron: try a fertiliser for citrus.", "Lemon trees have yellow leaves."],
    },
]


async def walk(site: Site, folder: Path, tell: Path) -> None:
    """Go the whole way; ``folder`` gets the pictures, ``tell`` is where the file of pairs is written."""
    file = tell / "plants.jsonl"
    file.write_text("\n".join(json.dumps(pair) for pair in PAIRS), encoding="utf-8")
    page = await site.page(viewport=SIZE)
    await page.goto("/sign-in?to=/projects/new")
    await picture(page, folder, "1-sign-in")
    await page.get_by_label("Your key").fill(await site.key("admin"))
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("#file").set_input_files(file)
    await page.locator("#constitution").select_option(index=1)
    await picture(page, folder, "2-new-project")
    await page.get_by_role("button", name="Make the project").click()
    await expect(page.get_by_role("button", name="Open it to annotators")).to_be_visible()
    project = page.url
    await picture(page, folder, "3-preview")
    await page.get_by_role("button", name="Open it to annotators").click()
    await page.goto("/people")
    await page.get_by_label("Name", exact=True).fill("Ada")
    await page.get_by_role("button", name="Make a link").click()
    await picture(page, folder, "4-invite")
    address = await page.get_by_label("Link", exact=True).input_value()
    await _label(await site.page(viewport=SIZE), address, folder)
    await page.goto(project)
    await expect(page.get_by_role("heading", name="plants").first).to_be_visible()
    await picture(page, folder, "9-progress")


async def _label(page: Page, address: str, folder: Path) -> None:
    await page.goto(address)
    await picture(page, folder, "5-welcome")
    await page.get_by_role("button", name="Start").click()
    await page.get_by_role("link", name="Start plants").click()
    await expect(page.locator(".conversation")).to_contain_text("basil")
    await page.wait_for_load_state("networkidle")
    await picture(page, folder, "6-first-pair")
    await page.keyboard.press("d")
    await picture(page, folder, "7-differences")
    await page.keyboard.press("d")
    for prompt in ("cactus", "lemon"):
        await page.keyboard.press("1")
        await expect(page.locator(".conversation")).to_contain_text(prompt)
    await page.keyboard.press("u")
    await expect(page.locator(".conversation")).to_contain_text("cactus")
    await page.keyboard.press("4")
    await expect(page.locator(".conversation")).to_contain_text("lemon")
    await page.keyboard.press("1")
    await expect(page.get_by_role("heading", name="Nothing left for now")).to_be_visible()
    await page.wait_for_load_state("networkidle")
    await page.goto("/label/history")
    await expect(page.get_by_role("row")).to_have_count(len(PAIRS) + 1)
    assert await page.get_by_role("row", name="cactus").get_by_text("B is better").count() == 1, "as it was corrected"
    await picture(page, folder, "8-history")


async def picture(page: Page, folder: Path, name: str) -> None:
    """Take one."""
    await page.screenshot(path=folder / f"{name}.png")


async def _main() -> None:
    FOLDER.mkdir(exist_ok=True)
    chromium = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(data=Path(name) / "data", worker=False)
        async with serving(settings) as (url, service), async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            async with httpx2.AsyncClient(base_url=url) as admin:
                await walk(Site(url, service, browser, admin), FOLDER, Path(name))
            await browser.close()


if __name__ == "__main__":
    asyncio.run(_main())
