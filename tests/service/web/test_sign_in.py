"""Signing in and out in a real browser."""

import pytest

from tests.service.web.site import PHONE, Site, violations

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_a_key_signs_in_and_the_session_ends_at_signing_out(site: Site) -> None:
    _, page = await site.labeller()
    assert page.url == f"{site.url}/label"
    assert await violations(page) == []
    await page.get_by_role("button", name="Sign out").click()
    await page.goto("/label")
    assert "/sign-in?to=/label" in page.url
    assert await violations(page) == []


async def test_a_wrong_key_is_told_so_on_the_page(site: Site) -> None:
    page = await site.page(viewport=PHONE)
    await page.goto("/sign-in")
    await page.get_by_label("Your key").fill("cai_0123456789ab_wrong")
    await page.get_by_role("button", name="Sign in").click()
    assert "the API key is wrong" in await page.get_by_role("alert").inner_text()
    assert await violations(page) == []
