"""Labelling projects: their items, form and progress. On both databases."""

from typing import Any

import pytest

from constitution import load
from tests.service.calls import Api, comparison, one_database, problem

ITEMS = [{"prompt": f"Name a river in country {i}.", "responses": ["The Po.", f"Paris {i}."]} for i in range(5)]


async def make(api: Api, **more: Any) -> dict[str, Any]:
    response = await api.admin.post("/v1/projects", json={"name": "rivers", "kind": "comparison", **more})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def test_a_project_says_what_is_asked_and_how_far_it_is(api: Api) -> None:
    published = load("harmlessness")
    ada = await api.annotator("Ada")
    made = await make(
        api,
        items=ITEMS,
        guidelines="Prefer rivers.",
        constitution=published.name,
        labels_per_item=2,
        assigned=[ada],
        levels=3,
    )
    assert (made["constitution"], made["constitution_hash"]) == (published.ref, published.digest)
    assert made["progress"] == {"items": 5, "done": 0, "labels": 0, "leased": 0, "skips": {}}
    assert [field["name"] for field in made["form"]] == ["choice", "strength"] and made["form"][1]["max"] == 3
    assert (await api.admin.get(f"/v1/projects/{made['id']}")).json() == made
    other = await make(api, name="lakes", kind="rating", scale={"min": 0, "max": 10, "max_means": "perfect"})
    assert [field["max"] for field in other["form"] if field["name"] == "value"] == [10]
    assert (await api.admin.get("/v1/projects")).json()["items"] == [made, other]


async def test_each_item_becomes_one_task_whatever_its_order_and_however_often_it_is_given(api: Api) -> None:
    turned = {**ITEMS[0], "responses": ITEMS[0]["responses"][::-1]}
    made = await make(api, items=[*ITEMS, ITEMS[0], turned])
    assert made["progress"]["items"] == 5
    added = await api.admin.post(
        f"/v1/projects/{made['id']}/items",
        json={"items": [ITEMS[1], {"prompt": "New?", "responses": ["Yes.", "No."]}]},
    )
    assert (added.status_code, added.json()) == (201, {"added": 1})
    states = (await api.admin.get(f"/v1/projects/{made['id']}/tasks")).json()["items"]
    assert len(states) == 6 and all(state["answers"] == 0 for state in states)


async def test_items_are_taken_from_feedback_once_each_and_only_those_that_fit(api: Api) -> None:
    rows = [comparison("A?"), comparison("A?", label="second"), comparison("B?", source="ai"), comparison("C?")]
    rows.append(comparison("D?", label="up", responses=["one"]) | {"kind": "thumbs"})
    ids = (await api.admin.post("/v1/feedback", json=rows)).json()["ids"]
    await api.admin.post(f"/v1/feedback/{ids[3]}/retract", json={"reason": "no"})
    made = await make(api, from_feedback={})
    assert made["progress"]["items"] == 2  # A and B: C was retracted, D has one response
    judged = await make(api, name="judged", from_feedback={"filter": {"source": "ai"}})
    assert judged["progress"]["items"] == 1
    few = await make(api, name="few", from_feedback={"limit": 1})
    assert few["progress"]["items"] == 1


@one_database
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "opinion"}, "comparison"),
        ({"items": [{"prompt": "A?", "responses": ["one"]}]}, "2 responses"),
        ({"items": [{"prompt": "A?", "responses": ["one", "one"]}]}, "same text"),
        ({"items": [{"prompt": " ", "responses": ["one", "two"]}]}, "empty"),
        ({"constitution": "nothing@1.0.0"}, "no published constitution"),
        ({"assigned": ["nobody"]}, "no annotator"),
        ({"scale": {"min": 1, "max": 5}}, "only a rating"),
        ({"kind": "thumbs", "levels": 2}, "only a comparison"),
        ({"kind": "rating", "scale": {"min": 5, "max": 1}}, "goes up"),
        ({"labels_per_item": 0}, "greater than or equal to 1"),
        ({"levels": 11}, "less than or equal to 10"),
        ({"name": ""}, "at least 1"),
    ],
)
async def test_a_project_that_makes_no_sense_is_refused(api: Api, change: dict[str, Any], word: str) -> None:
    asked = {"name": "rivers", "kind": "comparison", "items": ITEMS} | change
    document = problem(await api.admin.post("/v1/projects", json=asked), 422, "invalid")
    assert word in str(document), document
    assert (await api.admin.get("/v1/projects")).json()["items"] == []


async def test_a_name_is_had_once_and_a_repeated_request_has_one_effect(api: Api) -> None:
    asked = {"name": "rivers", "kind": "comparison", "items": ITEMS}
    named = {"Idempotency-Key": "k"}
    first = await api.admin.post("/v1/projects", json=asked, headers=named)
    assert (await api.admin.post("/v1/projects", json=asked, headers=named)).json() == first.json()
    problem(await api.admin.post("/v1/projects", json=asked), 409, "conflict")
    problem(await (await api.client("read", "label")).post("/v1/projects", json=asked), 403, "forbidden")


async def test_a_change_is_made_to_what_is_named_only(api: Api) -> None:
    made = await make(api, labels_per_item=2)
    ada = await api.annotator("Ada")
    path = f"/v1/projects/{made['id']}"
    assert (await api.admin.patch(path, json={"assigned": [ada]})).json() == made | {"assigned": [ada]}
    closed = (await api.admin.patch(path, json={"closed": True})).json()
    assert closed["closed_at"] and closed["assigned"] == [ada]
    opened = (await api.admin.patch(path, json={"closed": False, "labels_per_item": 3})).json()
    assert (opened["closed_at"], opened["labels_per_item"]) == (None, 3)
    problem(await api.admin.patch(path, json={"assigned": ["nobody"]}), 422, "invalid")
    for missing in ("", "/agreement", "/tasks"):
        problem(await api.admin.get(f"/v1/projects/nothing{missing}"), 404, "not_found")
    problem(await api.admin.patch("/v1/projects/nothing", json={"closed": True}), 404, "not_found")
    problem(await api.admin.post("/v1/projects/nothing/items", json={}), 404, "not_found")
