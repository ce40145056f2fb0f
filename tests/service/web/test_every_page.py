"""Every page that there is, in a real browser, wide and on a phone, by day and by night.

It is accessible, nothing is cut off, and nothing that others wrote acts.

And every template: one that no page here shows fails the test, so that none is added that nobody has looked at.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.async_api import Page

from service.web.rendering import environment
from tests.service.web.everywhere import EMPTY, Everywhere, filled
from tests.service.web.site import PHONE, WIDE, Site, violations

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

MISSING = ("/nowhere/at/all", "/projects/none")
COLOURS = ("color-contrast",)  # the rule that heeds colours and widths together
LOOKS: tuple[tuple[Any, Any, Sequence[str]], ...] = (
    (WIDE, "light", ()),  # all rules
    (WIDE, "dark", COLOURS),
    (PHONE, "dark", ()),
    (PHONE, "light", COLOURS),
)


@contextmanager
def templates_seen() -> Iterator[set[str]]:
    """The names of all templates that are used within a ``with``."""
    seen: set[str] = set()
    made = environment()
    get = made.get_template

    def noted(name: Any, *more: Any, **others: Any) -> Any:
        seen.add(str(name))
        return get(name, *more, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "get_template", noted)
        yield seen


async def looked_at(page: Page) -> list[str]:
    """What is wrong with the page that is open, in each look."""
    wrong = []
    for viewport, scheme, rules in LOOKS:
        await page.set_viewport_size(viewport)
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # a colour that changes has no contrast
        look = f"{page.url} {viewport['width']} {scheme}"
        if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wrong.append(f"{look}: it is wider than the window")
        wrong += [f"{look}: {said}" for said in await violations(page, rules)]
    return wrong


async def visited(page: Page, addresses: list[str]) -> list[str]:
    """What is wrong with pages; what is no page of its own is left out: files, and parts that scripts ask for."""
    wrong = []
    for address in addresses:
        answer = await page.request.get(address)
        assert answer.ok or address in MISSING or address.endswith(".svg"), f"{address}: {answer.status}"
        text = await answer.text()
        if not text.lower().startswith("<!doctype html>"):
            continue
        await page.goto(address)
        if await page.locator("img[src=x], main script").count():
            wrong.append(f"{address}: a text became an element")
        wrong += await looked_at(page)
    return wrong


@pytest.mark.timeout(1800)
async def test_every_page_is_accessible_in_every_look_fits_a_phone_and_lets_no_text_act(empty_site: Site) -> None:
    site = empty_site
    before = (await site.admin.get("/csp-reports")).json()["reports"]
    with templates_seen() as seen:
        nobody = await site.page(await site.key("admin", annotator=await site.annotator("Nobody")))
        wrong = await visited(nobody, list(EMPTY))
        there = await filled(site)
        page = await site.page(there.key)
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        wrong += await visited(page, there.addresses())
        wrong += await states(there, page)
        await site.close_pages()
    assert wrong == []
    assert (await site.admin.get("/csp-reports")).json() == {"reports": before}
    unseen = set(environment().list_templates(extensions=["j2"])) - seen
    assert unseen == set(), "no page that is looked at here shows these"


async def states(there: Everywhere, page: Page) -> list[str]:
    """Pages that have no address of their own, and what opens on others: each is looked at as it comes."""
    site = there.site
    wrong = await visited(page, [*MISSING])
    await page.goto(f"/label/{there.labelled['practice']}")
    is_first = (await page.locator(".response-text").first.inner_text()).startswith("The Baltic")
    await page.keyboard.press("4" if is_first else "1")
    await page.get_by_role("definition").first.wait_for()
    wrong += await looked_at(page)
    await page.get_by_role("link", name="Next").click()
    wrong += await looked_at(page)
    await page.goto(f"/label/{there.labelled['strengths']}")
    for key, what in (("d", "mark"), ("?", "dialog[open]"), ("Escape", "#sheet"), ("s", ".leaves[open]")):
        await page.keyboard.press(key)
        await page.locator(what).first.wait_for()
        wrong += await looked_at(page)
    await page.goto(f"/label/{there.labelled['critique']}")
    await page.locator(".response .raw").first.evaluate("raw => getSelection().selectAllChildren(raw)")
    await page.keyboard.press("m")
    await page.locator("[name=span_note]").wait_for()
    wrong += await looked_at(page)
    await page.goto(f"/projects/{there.values['/projects/{id}']}")
    await page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    wrong += await looked_at(page)
    await page.goto("/constitutions/new")
    await page.get_by_label("Text (YAML)").fill("name: x")
    await page.locator("#checked .faults").wait_for()
    wrong += await looked_at(page)
    await page.goto("/people")
    await page.get_by_label("Name", exact=True).fill("Fay")
    await page.get_by_role("button", name="Make a link").click()
    wrong += await looked_at(page)
    return wrong + await visited(await site.page(await site.key()), ["/"])
