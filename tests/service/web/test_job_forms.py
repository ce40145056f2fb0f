"""Jobs are submitted by forms, by plain requests; and no text of these pages is outside the catalogue."""

import json
from typing import Any

import pytest

from service.jobs.kinds import KINDS
from service.web.rendering import environment
from service.web.texts import english
from tests.service.calls import Api
from tests.service.web.shown import Shown
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

    assert "line 2 is no JSON" in await refused(**{"input.rows": f"{row}\n{{"})
    assert "/settings/samples" in await refused(**{"input.rows": row, "settings.samples": "three"})
    assert "nowhere@1.0.0" in await refused(**{"input.rows": row, "constitution": "nowhere@1.0.0"})
    sent: Any = {"input.upload": ("pairs.jsonl", row.encode())}
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
    browser = await signed_in(api, "admin")
    monkeypatch.setitem(environment().globals, "t", english().changed(lambda text: f"⟦{text}⟧"))
    at = f"/projects/{project}"
    places = ["/projects", "/projects/new", at, f"{at}/agreement", f"{at}/people", f"{at}/items", "/uncertain"]
    places += ["/search", "/jobs", *(f"/jobs/new?kind={kind}" for kind in KINDS), "/datasets", "/models", "/people"]
    places += ["/constitutions", "/constitutions/hhh@1.0.0", "/constitutions/new"]
    for place in places:
        answer = await browser.get(place)
        assert (answer.status_code, Shown(answer.text).unmarked) == (200, []), place
