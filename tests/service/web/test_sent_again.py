"""Forms that come twice, and forms that hold what no form of ours does: one effect and one answer, or a refusal."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from annotated_types import Ge, Le
from fastapi.dependencies.utils import get_flat_dependant
from pydantic import BaseModel

from service.settings import Settings
from tests.critic.certificates.test_certificates import certificate
from tests.service.calls import Api, comparison
from tests.service.web.everywhere import routes
from tests.service.web.test_safety import Page, project, signed_in

ROW = json.dumps({"prompt": "Name a river.", "responses": ["The Po.", "Rome."]})


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return Settings(database=migrated_url, data=tmp_path / "data", worker=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """A form as a browser sends it."""

    address: str
    fields: Mapping[str, str]
    files: Mapping[str, Any] = field(default_factory=dict)


async def forms(api: Api, browser: httpx2.AsyncClient) -> list[Sent]:
    """One form of each action of those who run projects that makes something."""
    made = await project(api)
    assert (await api.admin.post("/v1/feedback", json=comparison(source="ai", annotator="judge"))).status_code == 201
    [label] = (await api.admin.get("/v1/feedback")).json()["items"]
    text = (await browser.get("/constitutions/hhh@1.0.0/file")).text
    own = re.sub("^name: .*$", "name: mine", text, flags=re.MULTILINE)
    job = {"kind": "judge", "constitution": "hhh@1.0.0", "input.from": "rows", "input.rows": ROW}
    return [
        Sent("/projects/new", {"name": "lakes", "kind": "comparison", "source": "later"}),
        Sent("/datasets", {"name": "basil", "aggregation": "majority", "kind": "comparison"}),
        Sent(f"/projects/{made}/items", {}, {"file": ("a.jsonl", ROW.replace("river", "lake").encode())}),
        Sent(f"/projects/{made}/items/{label['item']}", {"label": "first", "reason": "because"}),
        Sent("/uncertain", {"project": made, "item": label["item"]}),
        Sent("/constitutions/new", {"text": own, "act": "publish"}),
        Sent("/certificates", {}, {"file": ("certificate.json", certificate().text().encode())}),
        Sent("/jobs/new", job),
    ]


async def test_a_form_that_comes_twice_has_one_effect_and_is_answered_as_before(api: Api) -> None:
    """Twice at once, as by an impatient finger, and once more, as where the first answer got lost."""
    browser = await signed_in(api, "admin")
    token = Page((await browser.get("/projects/new")).text).csrf

    async def send(form: Sent) -> httpx2.Response:
        fields = {"csrf": token, "once": form.address, **form.fields}
        return await browser.post(form.address, data=fields, files=dict(form.files) or None)

    told = []
    for form in await forms(api, browser):
        answers = [*await asyncio.gather(send(form), send(form)), await send(form)]
        told.append([(answer.status_code, answer.headers.get("location", answer.text)) for answer in answers])
    assert [len(set(answers)) for answers in told] == [1] * len(told), told
    assert {answers[0][0] for answers in told} == {303}, told
    made = [entry["action"] for entry in (await api.admin.get("/v1/audit", params={"limit": 500})).json()["items"]]
    for action in ("dataset.made", "project.items_added", "constitution.published", "job.submitted"):
        assert made.count(action) == (2 if action == "project.items_added" else 1), action  # a file's, and a stored one


async def test_a_job_is_done_again_once_by_a_form_that_comes_twice(api: Api) -> None:
    browser = await signed_in(api, "admin")
    asked = {"kind": "judge", "constitution": "hhh@1.0.0", "input": {"rows": [json.loads(ROW)]}}
    id = (await api.admin.post("/v1/jobs", json=asked)).json()["id"]
    assert (await api.admin.post(f"/v1/jobs/{id}/cancel")).status_code == 200
    page = (await browser.get(f"/jobs/{id}")).text
    [number] = re.findall(r'name="once" value="([^"]+)"', page)
    fields = {"csrf": Page(page).csrf, "once": number}
    answers = [await browser.post(f"/jobs/{id}/retry", data=fields) for _ in range(2)]
    assert [answer.headers.get("location") for answer in answers] == [f"/jobs/{id}"] * 2


async def test_what_is_gone_already_is_no_fault_of_a_second_click(api: Api) -> None:
    """A project was said not to exist, and the session that had been ended to be another's."""
    browser = await signed_in(api, "admin")
    id = await project(api, closed=True)
    token = {"csrf": Page((await browser.get(f"/projects/{id}")).text).csrf}
    for address, leads_to in ((f"/projects/{id}/discard", "/projects"), ("/sign-out", "/sign-in")):
        answers = [await browser.post(address, data=token) for _ in range(2)]
        assert [(answer.status_code, answer.headers.get("location")) for answer in answers] == [(303, leads_to)] * 2
    audited = (await api.admin.get("/v1/audit", params={"limit": 500})).json()["items"]
    assert [entry["action"] for entry in audited].count("project.discarded") == 1


async def test_a_task_is_skipped_and_taken_back_once_by_forms_that_come_twice(api: Api) -> None:
    browser = await signed_in(api, "label", annotator=await api.annotator("Ada"))
    id = await project(api)
    page = Page((await browser.get(f"/label/{id}")).text)
    for does, skips in (("skip", 1), ("unskip", 0)):
        fields = {"csrf": page.csrf, "do": does, "reason": "other", "skip_note": "too blurred"}
        twice = await asyncio.gather(*(browser.post(page.action, data=fields) for _ in range(2)))
        answers = [*twice, await browser.post(page.action, data=fields)]
        told = {(answer.status_code, answer.headers.get("location")) for answer in answers}
        assert told == {(303, answers[0].headers["location"])}
        skipped = (await api.admin.get(f"/v1/projects/{id}/skips")).json()["items"]
        assert len(skipped) == skips


async def test_a_project_that_never_was_is_not_discarded(api: Api) -> None:
    browser = await signed_in(api, "admin")
    token = Page((await browser.get("/projects")).text).csrf
    assert (await browser.post("/projects/nowhere/discard", data={"csrf": token})).status_code == 404


async def test_a_practice_answer_that_comes_twice_is_told_of_twice(api: Api) -> None:
    browser = await signed_in(api, "label", annotator=await api.annotator("Ada"))
    known = {"prompt": "Name a lake.", "responses": ["Como.", "Rome."], "role": "practice", "expected": "first"}
    work = {"prompt": "Name a river.", "responses": ["The Po.", "Paris."]}
    id = await project(api, items=[known | {"why": "Rome is a town."}, work])
    page = Page((await browser.get(f"/label/{id}")).text)
    answers = [await browser.post(page.action, data={"csrf": page.csrf, "choice": "first"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert all("Rome is a town." in answer.text for answer in answers)


DEEP, HALF, INFINITE, NUL = "[" * 100_000, '{"a": "\\ud800"}', '{"a": 1e999}', '{"a": "\\u0000"}'


async def test_json_in_a_form_is_read_as_strictly_as_that_of_programs(api: Api) -> None:
    browser = await signed_in(api, "admin", annotator=await api.annotator("Ada"))
    id = await project(api)
    page = Page((await browser.get(f"/label/{id}")).text)
    job = {"csrf": page.csrf, "kind": "judge", "constitution": "hhh@1.0.0", "input.from": "rows"}
    for value in (DEEP, HALF, '{"a": NaN}', INFINITE, NUL, "9" * 5000):
        file = {"file": ("certificate.json", value.encode())}
        told = [
            await browser.post(f"{page.action}/draft", data={"csrf": page.csrf, "fields": f'[["text", {value}]]'}),
            await browser.post("/jobs/new", data={**job, "input.rows": value}),
            await browser.post("/certificates", data={"csrf": page.csrf}, files=file),
        ]
        kept = 204 if value == INFINITE else 422  # a draft keeps any value as a text
        assert [answer.status_code for answer in told] == [kept, 422, 422], value[:20]


async def test_a_draft_that_speaks_of_escapes_is_kept(api: Api) -> None:
    browser = await signed_in(api, "label", annotator=await api.annotator("Ada"))
    id = await project(api, kind="demonstration", items=[{"prompt": "What is a NUL in JSON?"}])
    page = Page((await browser.get(f"/label/{id}")).text)
    fields = json.dumps([["text", "It is \\u0000 there."]])
    assert (await browser.post(f"{page.action}/draft", data={"csrf": page.csrf, "fields": fields})).status_code == 204
    assert "It is \\u0000 there." in (await browser.get(f"/label/{id}")).text


async def test_a_task_is_its_own_project_s_alone(api: Api) -> None:
    """Through another project's address it was shown as a task of that, which was a fault of the server."""
    browser = await signed_in(api, "label", annotator=await api.annotator("Ada"))
    first = await project(api)
    rated = [{"prompt": "Name a lake.", "responses": ["Como."]}]
    second = await project(api, name="lakes", kind="rating", items=rated)
    page = Page((await browser.get(f"/label/{first}")).text)
    task = page.action.rpartition("/")[2]
    assert (await browser.post(page.action, data={"csrf": page.csrf, "choice": "first"})).status_code == 303
    assert (await browser.get(f"/label/{first}/{task}")).status_code == 200
    assert (await browser.get(f"/label/{second}/{task}")).status_code == 404
    draft = {"csrf": page.csrf, "fields": '[["choice", "4"]]'}
    assert (await browser.post(f"/label/{second}/{task}/draft", data=draft)).status_code == 404


def test_numbers_in_addresses_have_bounds_that_every_database_holds() -> None:
    """Beyond 64 bits a number was a fault of the server, where the API's own route had a bound."""
    unbound = []
    for route in [*routes("GET"), *routes("POST")]:
        flat = get_flat_dependant(route.dependant)
        for one in (*flat.path_params, *flat.query_params):
            about: Any = one.field_info
            is_model = isinstance(about.annotation, type) and issubclass(about.annotation, BaseModel)
            fields = about.annotation.model_fields if is_model else {one.alias: about}
            for name, info in fields.items():
                bounds = {type(bound) for bound in info.metadata}
                if int in (info.annotation, *getattr(info.annotation, "__args__", ())) and not {Ge, Le} <= bounds:
                    unbound.append(f"{route.path} {name}")
    assert unbound == []


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("critique", [["span", "0:1"]]),
        ("critique", [["span", "a:b:c"]]),
        ("ranking", [["rank:0", "first"]]),
        ("thumbs", [["response", "x"]]),
        ("correction", [["response", "9" * 10]]),
    ],
)
async def test_no_draft_keeps_its_annotator_from_the_task(api: Api, kind: str, fields: list[list[str]]) -> None:
    """The page of a task whose draft no page can show was refused, again and again, and with it the whole project."""
    browser = await signed_in(api, "label", annotator=await api.annotator("Ada"))
    responses = ["The Po.", "Paris."] if kind == "ranking" else ["The Po."]
    id = await project(api, kind=kind, items=[{"prompt": "Name a river.", "responses": responses}])
    page = Page((await browser.get(f"/label/{id}")).text)
    draft = {"csrf": page.csrf, "fields": json.dumps(fields)}
    assert (await browser.post(f"{page.action}/draft", data=draft)).status_code == 204
    assert (await browser.get(f"/label/{id}")).status_code == 200
