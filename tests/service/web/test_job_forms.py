"""Jobs are submitted by forms, by plain requests; and no text of these pages is outside the catalogue."""

import json
from typing import Any

import pytest
from playwright.async_api import expect

from critic.certificates.certificate import Coverage
from service.jobs.kinds import KINDS
from service.web.rendering import environment
from service.web.texts import english
from tests.critic.certificates.test_certificates import certificate
from tests.factories import workbook
from tests.service.api.test_evidence import judged
from tests.service.calls import Api
from tests.service.web.shown import Shown
from tests.service.web.site import Site
from tests.service.web.test_safety import Page, signed_in


@pytest.mark.slow
async def test_a_job_is_submitted_by_its_form_as_by_the_api(api: Api) -> None:
    browser = await signed_in(api, "admin")
    token = Page((await browser.get("/jobs/new")).text).csrf
    form = {"csrf": token, "once": "a", "kind": "judge", "sources": "1", "constitution": "hhh", "input.from": "rows"}
    row = json.dumps({"prompt": "Name a river.", "responses": ["The Po.", "Rome."]})

    async def refused(**more: str) -> str:
        answer = await browser.post("/jobs/new", data=form | more)
        assert answer.status_code == 422
        return answer.text

    for broken in ("{", "[" * 100_000):
        assert "line 2 is no JSON" in await refused(**{"input.rows": f"{row}\n{broken}"})
    assert "/settings/samples" in await refused(**{"input.rows": row, "settings.samples": "three"})
    assert "nowhere@1.0.0" in await refused(**{"input.rows": row, "constitution": "nowhere@1.0.0"})
    table = workbook(("prompt", "response_a", "response_b"), ("Name a river.", "The Po.", "Rome."))
    sent: Any = {"input.upload": ("Pairs.XLSX", table)}
    upload = form | {"input.from": "upload", "settings.samples": "3"}
    made = await browser.post("/jobs/new", data=upload, files=sent)
    assert made.status_code == 303, made.text
    job = (await api.admin.get(f"/v1{made.headers['location']}")).json()
    assert (job["kind"], job["state"], job["request"]["settings"]["samples"]) == ("judge", "queued", 3)


@pytest.mark.slow
async def test_every_text_comes_from_the_catalogue(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a language that is none, what is left unmarked stands in elements that say that others wrote it."""
    items = [{"prompt": "Name a river.", "responses": ["The Po.", "Paris."]}]
    asked = {"name": "rivers", "kind": "comparison", "items": items, "constitution": "hhh@1.0.0"}
    project = (await api.admin.post("/v1/projects", json=asked)).json()["id"]
    await api.annotator("Ada", "nurses")
    void = certificate(covers=Coverage(scripts=(), characters=(1, 2), turns=1, words=()), not_covered=("0",))
    await api.admin.post("/v1/certificates", json={"certificate": json.loads(void.text())})
    await api.admin.post("/v1/feedback", json=[judged(n, 0.55) for n in range(6)])
    drawn = (await api.admin.post(f"/v1/projects/{project}/routings", json={"budget": 3})).json()["id"]
    browser = await signed_in(api, "admin")
    monkeypatch.setitem(environment().globals, "t", english().changed(lambda text: f"⟦{text}⟧"))
    at = f"/projects/{project}"
    places = ["/projects", "/projects/new", at, f"{at}/agreement", f"{at}/people", f"{at}/items", "/uncertain"]
    places += ["/search", "/jobs", *(f"/jobs/new?kind={kind}" for kind in KINDS), "/datasets", "/models", "/people"]
    places += [f"{at}/routing", f"{at}/routing/{drawn}", "/certificates", f"/certificates/{void.sha256}"]
    places += ["/constitutions", "/constitutions/hhh@1.0.0", "/constitutions/new"]
    for place in places:
        answer = await browser.get(place)
        assert (answer.status_code, Shown(answer.text).unmarked) == (200, []), place


PAIR = '{"prompt": "Name a river.", "chosen": "The Po.", "rejected": "Rome.", "responses": ["The Po.", "Rome."]}'


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_of_each_kind_is_submitted_in_a_browser_with_what_is_required_alone(site: Site, kind: str) -> None:
    page = await site.page(await site.key("admin"))
    await page.goto(f"/jobs/new?kind={kind}")
    source = page.locator("fieldset", has=page.get_by_label("Written here")).first
    await source.get_by_label("Written here").check()
    await expect(source.get_by_label("File", exact=True)).to_be_hidden()
    await source.get_by_label("Rows", exact=True).fill(PAIR)
    typed = {}
    for field in await page.locator("input[required]:visible").all():
        name = str(await field.get_attribute("name"))
        typed[name] = "hhh@1.0.0" if name == "constitution" else f"model-of-{kind}"
        await field.fill(typed[name])
    for choice in await page.locator("select[required]:visible").all():
        await choice.select_option(index=0)
    await page.get_by_role("button", name="Submit the job").click()
    await expect(page.locator("#live")).to_contain_text("Waiting")
    job = (await site.admin.get(f"/v1/jobs/{page.url.rpartition('/')[2]}")).json()
    assert (job["kind"], job["state"]) == (kind, "queued")
    assert {name: job["request"][name] for name in typed} == typed
