"""Adjudication, pausing, the judge's least sure comparisons, the story of an item, and the search."""

import json
from typing import Any

import pytest

from tests.service.calls import Api, comparison, one_database, problem
from tests.service.review.test_figures import labelled


async def test_a_decision_stands_beside_the_labels_and_the_last_one_holds(api: Api) -> None:
    id, [item, *_] = await labelled(api)
    route = f"/v1/projects/{id}/adjudications"
    first = (await api.admin.post(route, json={"item": item, "label": "tie", "reason": "Both will do."})).json()
    second = (await api.admin.post(route, json={"item": item, "label": "first", "reason": "Read it again."})).json()
    decisions = (await api.admin.get(route)).json()["items"]
    assert [(one["feedback"], one["reason"], one["holds"]) for one in decisions] == [
        (second["feedback"], "Read it again.", True),
        (first["feedback"], "Both will do.", False),
    ]
    assert decisions[0]["label"]["choice"] == "first"
    labels = (await api.admin.get("/v1/feedback", params={"item": item})).json()["items"]
    assert len(labels) == 4 and all(label["retracted"] is None for label in labels)
    assert labels[-1]["id"] == second["feedback"] and labels[-1]["project"] == id and labels[-1]["task"] is None
    progress = (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]
    assert progress["labels"] == 6  # a decision answers no task


async def test_a_majority_gives_way_to_what_was_decided(api: Api) -> None:
    id, _ = await labelled(api)
    [contested] = [
        one["item"]
        for one in (await api.admin.get(f"/v1/projects/{id}/disagreement")).json()["items"]
        if one["disagreement"]
    ]
    route = f"/v1/projects/{id}/adjudications"
    await api.admin.post(route, json={"item": contested, "label": "first", "reason": "At first sight."})
    await api.admin.post(route, json={"item": contested, "label": "second", "reason": "After all."})
    asked = {"name": "d", "filter": {"project": id}, "pool_groups": True}
    made = (await api.admin.post("/v1/datasets", json={**asked, "aggregation": "majority"})).json()
    assert made["counts"]["dropped"] == {"decided": 3}  # two people, and the decision before
    assert made["counts"]["tables"]["pairs"]["rows"] == 3  # without a decision the contested one is a tie
    rows = await api.admin.get("/v1/datasets/d/1/download", params={"table": "pairs"})
    chosen = {row["prompt"][0]["content"]: row for row in map(json.loads, rows.text.splitlines())}
    assert chosen["C?"]["chosen"][0]["content"] == "two" and chosen["C?"]["labels"] == 1
    each = (await api.admin.post("/v1/datasets", json={**asked, "aggregation": "each"})).json()
    assert each["counts"]["labels"] == 8 and each["counts"]["dropped"] == {}


@one_database
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"item": "none", "label": "first", "reason": "x"}, 404),
        ({"item": None, "label": "third", "reason": "x"}, 422),
        ({"item": None, "label": {"value": 3}, "reason": "x"}, 422),
        ({"item": None, "label": "first", "reason": ""}, 422),
    ],
)
async def test_a_decision_that_is_none_is_refused_and_nothing_is_stored(
    api: Api, asked: dict[str, Any], status: int
) -> None:
    id, [item, *_] = await labelled(api)
    asked = asked | {"item": asked["item"] or item}
    answer = await api.admin.post(f"/v1/projects/{id}/adjudications", json=asked)
    assert answer.status_code == status, answer.text
    assert (await api.admin.get(f"/v1/projects/{id}/adjudications")).json()["items"] == []


async def test_a_decision_that_is_sent_twice_is_stored_once(api: Api) -> None:
    id, [item, *_] = await labelled(api)
    asked = {"item": item, "label": "first", "reason": "x"}
    route, headers = f"/v1/projects/{id}/adjudications", {"Idempotency-Key": "one"}
    answers = [await api.admin.post(route, json=asked, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len((await api.admin.get(route)).json()["items"]) == 1


async def test_who_is_paused_gets_no_task_and_what_they_hold_goes_to_others(api: Api) -> None:
    ada, bo = await api.labeller("Ada"), await api.labeller("Bo")
    items = [{"prompt": prompt, "responses": ["one", "two"]} for prompt in ("A?", "B?")]
    made = await api.admin.post("/v1/projects", json={"name": "p", "kind": "comparison", "items": items})
    id = made.json()["id"]
    held = (await ada.post(f"/v1/projects/{id}/tasks/next")).json()["task"]
    await ada.post(f"/v1/tasks/{held['id']}/answer", json={"label": "first"})
    held = (await ada.post(f"/v1/projects/{id}/tasks/next")).json()["task"]
    assert (await bo.post(f"/v1/projects/{id}/tasks/next")).json()["task"] is None
    asked = {"annotator": "id-of-ada", "paused": True, "reason": "on leave"}
    paused = (await api.admin.post(f"/v1/projects/{id}/pause", json=asked)).json()
    assert (paused["released"], paused["withdrawn"]) == (1, 0)
    problem(await ada.post(f"/v1/projects/{id}/tasks/next"), 403, "paused")
    problem(await ada.post(f"/v1/tasks/{held['id']}/answer", json={"label": "first"}), 409, "conflict")
    assert (await bo.post(f"/v1/projects/{id}/tasks/next")).json()["task"]["id"] == held["id"]
    [listed] = (await api.admin.get("/v1/projects")).json()["items"]
    assert listed["paused"] == ["id-of-ada"]
    await api.admin.post(f"/v1/projects/{id}/pause", json={"annotator": "id-of-ada", "paused": False})
    assert (await ada.post(f"/v1/projects/{id}/tasks/next")).status_code == 200
    entries = (await api.admin.get("/v1/audit", params={"target": id})).json()["items"]
    actions = [(entry["action"], entry["detail"].get("reason")) for entry in entries]
    assert actions[-2:] == [("annotator.paused", "on leave"), ("annotator.resumed", "")]


async def test_labels_that_are_put_back_are_withdrawn_and_asked_for_again(api: Api) -> None:
    id, _ = await labelled(api)
    asked = {"annotator": "id-of-bo", "paused": True, "put_back_labels": True, "reason": "gold below 60 %"}
    paused = (await api.admin.post(f"/v1/projects/{id}/pause", json=asked)).json()
    assert paused["withdrawn"] == 3
    assert (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]["labels"] == 3
    labels = (await api.admin.get("/v1/feedback", params={"annotator": "id-of-bo"})).json()["items"]
    assert [label["retracted"]["reason"] for label in labels] == ["gold below 60 %"] * 3
    cy = await api.labeller("Cy")
    assert (await cy.post(f"/v1/projects/{id}/tasks/next")).json()["task"] is not None
    again = (await api.admin.post(f"/v1/projects/{id}/pause", json=asked)).json()
    assert again["withdrawn"] == 0  # nothing is withdrawn twice
    problem(await api.admin.post(f"/v1/projects/{id}/pause", json=asked | {"annotator": "x"}), 404, "not_found")


def judged(prompt: str, probability: float, judge: str = "j", **more: Any) -> dict[str, Any]:
    if probability == 0.5:
        choice = "tie"
    elif probability > 0.5:
        choice = "first"
    else:
        choice = "second"
    label = {"choice": choice, "probability": probability}
    return comparison(prompt, label, source="ai", annotator=judge, **more)


async def test_what_the_judge_is_least_sure_of_comes_first_and_goes_to_people(api: Api) -> None:
    rows = [judged("sure?", 0.99), judged("unsure?", 0.52), judged("even?", 0.5), judged("other?", 0.45, "k")]
    rows += [comparison("unread?", {"outcome": "unreadable"}, source="ai", annotator="j")]
    rows += [judged("labelled?", 0.51), judged("unsure?", 0.9, "k")]
    await api.admin.post("/v1/feedback", json=rows)
    await api.annotator("Ada")
    await api.admin.post("/v1/feedback", json=comparison("labelled?", "first", annotator="id-of-ada"))
    uncertain = (await api.admin.get("/v1/uncertain")).json()["items"]
    assert [(one["prompt"], one["probability"]) for one in uncertain] == [
        ("even?", 0.5),
        ("unsure?", 0.52),
        ("other?", 0.45),
        ("sure?", 0.99),
    ]
    mine = (await api.admin.get("/v1/uncertain", params={"judge": "k", "limit": 1})).json()["items"]
    assert [one["prompt"] for one in mine] == ["other?"]
    id = (await api.admin.post("/v1/projects", json={"name": "p", "kind": "comparison"})).json()["id"]
    stored = [one["item"] for one in uncertain[:2]]
    added = await api.admin.post(f"/v1/projects/{id}/items", json={"stored": stored})
    assert added.json() == {"added": 2}
    assert (await api.admin.post(f"/v1/projects/{id}/items", json={"stored": stored})).json() == {"added": 0}
    problem(await api.admin.post(f"/v1/projects/{id}/items", json={"stored": ["none"]}), 422, "invalid")


async def test_an_item_has_its_whole_story(api: Api) -> None:
    id, [item, *others] = await labelled(api)
    asked = {"item": item, "label": "first", "reason": "so"}
    await api.admin.post(f"/v1/projects/{id}/adjudications", json=asked)
    request = {"name": "all", "aggregation": "each", "filter": {"project": id}}
    assert (await api.admin.post("/v1/datasets", json=request)).status_code == 201
    await api.admin.post("/v1/datasets", json={**request, "filter": {"item": others[0]}})
    story = (await api.admin.get(f"/v1/items/{item}")).json()
    assert [label["annotator"] for label in story["labels"]] == ["id-of-ada", "id-of-bo", None]
    assert [response["text"] for response in story["responses"]] == ["one", "two"]
    assert story["projects"] == [{"id": id, "name": "p", "labels": 2, "wanted": 2}]
    assert story["datasets"] == [{"name": "all", "version": 1, "labels": 3}]
    assert [(one["reason"], one["holds"]) for one in story["decisions"]] == [("so", True)]
    assert story["models"] == [] and story["before"] == []
    problem(await api.admin.get("/v1/items/none"), 404, "not_found")


async def test_a_text_is_found_wherever_it_stands_and_signs_are_no_patterns(api: Api) -> None:
    await api.annotator("Ada")
    rows = [
        comparison("What does 100% mean?", "first", annotator="id-of-ada"),
        comparison("What does 1000 mean?", "first", annotator="id-of-ada"),
        comparison('Who said "no"?\nAnd when?', "first", annotator="id-of-ada"),
        comparison("日本の川は?", "first", annotator="id-of-ada", responses=["The Po.", "a_b"]),
        {"kind": "critique", "prompt": "P?", "responses": ["R."], "label": "It Invents a source.", "source": "ai"},
    ]
    assert (await api.admin.post("/v1/feedback", json=rows)).status_code == 201

    async def found(text: str, **more: Any) -> list[str]:
        answer = await api.admin.get("/v1/search", params={"text": text, **more})
        assert answer.status_code == 200, answer.text
        return [hit["prompt"] for hit in answer.json()["items"]]

    assert await found("100%") == ["What does 100% mean?"]
    assert await found('"no"?\nAnd') == ['Who said "no"?\nAnd when?']
    assert await found("日本") == ["日本の川は?"]
    assert await found("a_b") == ["日本の川は?"]
    assert await found("invents A") == ["P?"]
    assert await found("invents", source="human") == []
    page = (await api.admin.get("/v1/search", params={"limit": 2})).json()
    assert [hit["prompt"] for hit in page["items"]] == ["P?", "日本の川は?"]
    rest = (await api.admin.get("/v1/search", params={"limit": 10, "before": page["next"]})).json()
    assert len(rest["items"]) == 3 and rest["next"] is None
