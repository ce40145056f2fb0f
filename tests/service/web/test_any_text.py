"""Texts of any script and width: what runs from the right, code in it, and what is wider than a phone."""

import pytest

from tests.service.web.site import PHONE, Site, violations

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ARABIC = "نهر **دجلة** طويل:\n\n```\nprint('دجلة')\n```\n\n底格里斯河は長い川です。"
WIDE = f"```\n{'x = 1; ' * 50}\n```\n\n|{' a column |' * 30}\n|{'---|' * 30}\n|{' value |' * 30}"


async def test_code_runs_from_the_left_in_any_text_and_what_is_wide_scrolls_by_keys(site: Site) -> None:
    item = {"prompt": ARABIC, "responses": [ARABIC, WIDE]}
    project = await site.project("comparison", [item], name="مشروع الأنهار")
    _, page = await site.labeller(viewport=PHONE)
    await page.goto(f"/label/{project}")
    conversation = page.locator(".conversation .prose")
    first, last = conversation.locator("p").first, conversation.locator("p").last
    assert await conversation.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert await conversation.locator("pre").evaluate("e => getComputedStyle(e).direction") == "ltr"
    # Where a paragraph's first letter stands: from the right in Arabic, from the left in Japanese.
    begins = """p => { const range = document.createRange(), box = p.getBoundingClientRect();
        range.setStart(p.firstChild, 0); range.setEnd(p.firstChild, 1);
        return (range.getBoundingClientRect().left - box.left) / box.width; }"""
    assert await first.evaluate(begins) > 0.5 > await last.evaluate(begins)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for wide in ("pre", "table"):
        box = page.locator(f".response-text {wide}").filter(has_text="x = 1" if wide == "pre" else "a column")
        assert await box.evaluate("e => e.scrollWidth > e.clientWidth && e.tabIndex === 0"), wide
    assert await violations(page) == []
