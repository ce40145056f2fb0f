"""A draft principle is tried on stored examples, and nothing is stored; gold; discarding; tables."""

import csv
import io
from pathlib import Path

import pytest

from critic.engine import Unavailable
from service.settings import EngineSettings, Settings
from service.web.manage import editor
from service.web.rendering import csv as table
from tests.service.calls import Api, comparison, problem
from tests.service.jobs.processes import script
from tests.service.review.test_figures import labelled
from tests.service.web.test_safety import Page, signed_in

DRAFT = """\
name: draft
version: 1.0.0
title: Draft
summary: A draft.
license: Apache-2.0
language: en
principles:
  - id: short
    title: Be short
    statement: The response is short.
    critique: Say what is long.
    revision: Make it short.
    compare: Which response is shorter?
    opposite: The response is long.
"""


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    engine = EngineSettings(spec=script(tmp_path / "script.yaml"))
    return Settings(database=migrated_url, data=tmp_path / "data", worker=False, engines={"scripted": engine})


async def test_a_draft_is_tried_on_what_people_labelled_and_nothing_is_stored(api: Api) -> None:
    await api.annotator("Ada")
    rows = [comparison(f"By people {number}?", "first", annotator="id-of-ada") for number in range(4)]
    rows += [comparison("By a judge?", {"choice": "first", "probability": 0.9}, source="ai", annotator="j")]
    await api.admin.post("/v1/feedback", json=rows)
    answer = await api.admin.post("/v1/trials", json={"text": DRAFT, "principle": "short"})
    assert answer.status_code == 200, answer.text
    trial = answer.json()
    assert [example["prompt"][0]["content"] for example in trial["examples"]] == [
        "By people 3?",
        "By people 2?",
        "By people 1?",
    ]
    assert all((example["before"], example["people"]) == (1.0, 1) for example in trial["examples"])
    assert {vote["principle"] for example in trial["examples"] for vote in example["votes"]} == {"short"}
    assert len((await api.admin.get("/v1/feedback")).json()["items"]) == len(rows)
    refs = [one["ref"] for one in (await api.admin.get("/v1/constitutions", params={"limit": 500})).json()["items"]]
    assert "draft@1.0.0" not in refs


async def test_a_trial_that_can_t_be_is_refused(api: Api) -> None:
    problem(await api.admin.post("/v1/trials", json={"text": "name: x", "principle": "short"}), 422, "invalid")
    problem(await api.admin.post("/v1/trials", json={"text": DRAFT, "principle": "long"}), 422, "invalid")
    asked = {"text": DRAFT, "principle": "short", "items": ["none"]}
    problem(await api.admin.post("/v1/trials", json=asked), 422, "invalid")
    empty = await api.admin.post("/v1/trials", json={"text": DRAFT, "principle": "short"})
    assert empty.json()["examples"] == []


async def test_a_project_is_discarded_only_before_anybody_worked_in_it(api: Api) -> None:
    id, _ = await labelled(api)
    problem(await api.admin.delete(f"/v1/projects/{id}"), 409, "conflict")
    asked = {"name": "q", "kind": "comparison", "closed": True, "items": [{"prompt": "A?", "responses": ["a", "b"]}]}
    made = (await api.admin.post("/v1/projects", json=asked)).json()
    assert made["closed_at"] is not None
    assert (await api.admin.delete(f"/v1/projects/{made['id']}")).status_code == 204
    problem(await api.admin.get(f"/v1/projects/{made['id']}"), 404, "not_found")
    assert (await api.admin.post("/v1/projects", json=asked)).status_code == 201  # its name is free again


async def test_gold_answers_are_marked_by_annotator(api: Api) -> None:
    ada, bo = await api.labeller("Ada"), await api.labeller("Bo")
    items = [
        {"prompt": f"{number}?", "responses": ["right", "wrong"], "role": "gold", "expected": "first"}
        for number in range(2)
    ]
    asked = {"name": "p", "kind": "comparison", "labels_per_item": 2, "items": [], "settings": {"gold_every": 2}}
    asked["items"] = [*items, *({"prompt": f"work {number}?", "responses": ["a", "b"]} for number in range(4))]
    id = (await api.admin.post("/v1/projects", json=asked)).json()["id"]
    for person, wanted in ((ada, "right"), (bo, "wrong")):
        while (task := (await person.post(f"/v1/projects/{id}/tasks/next")).json()["task"]) is not None:
            place = task["responses"].index(wanted) if wanted in task["responses"] else 0
            await person.post(f"/v1/tasks/{task['id']}/answer", json={"label": ("first", "second")[place]})
    annotators = (await api.admin.get(f"/v1/projects/{id}/gold")).json()["annotators"]
    marks = {one["annotator"]: (one["right"]["estimate"], one["right"]["n"]) for one in annotators}
    assert marks == {"id-of-ada": (1.0, 2), "id-of-bo": (0.0, 2)}
    progress = (await api.admin.get(f"/v1/projects/{id}/progress")).json()
    assert progress["items"] == 4  # gold is no work


def test_no_cell_of_a_table_is_a_formula() -> None:
    rows = [{"name": "=1+1", "share": {"low": 0.1, "high": 0.2}, "n": -1}, {"name": "@x", "n": 2, "other": [1]}]
    read = list(csv.DictReader(io.StringIO(bytes(table("t", rows).body).decode())))
    assert [row["name"] for row in read] == ["'=1+1", "'@x"]
    assert read[0]["share_low"] == "0.1" and read[0]["n"] == "-1" and read[1]["share_high"] == ""


async def test_the_editor_tries_a_draft_on_its_page_and_keeps_the_text_where_a_judge_is_away(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.annotator("Ada")
    rows = [comparison(f"By people {number}?", "first", annotator="id-of-ada") for number in range(4)]
    await api.admin.post("/v1/feedback", json=rows)
    browser = await signed_in(api, "admin")
    token = Page((await browser.get("/constitutions/new")).text).csrf
    form = {"csrf": token, "text": DRAFT, "act": "try", "principle": "short", "engine": "scripted"}
    tried = (await browser.post("/constitutions/new", data=form)).text
    assert tried.count("said by 1 person:") == 3 and "By people 3?" in tried and "By people 0?" not in tried
    assert "compare: Which response is shorter?" in tried

    async def away(*_: object) -> None:
        raise Unavailable("the judge is away")

    monkeypatch.setattr(editor, "tried", away)
    refused = await browser.post("/constitutions/new", data=form)
    assert refused.status_code >= 400 and "the judge is away" in refused.text
    assert "compare: Which response is shorter?" in refused.text and 'value="short" selected' in refused.text
