"""What labels say beside the answer: corrections with their history, skips with reasons, flags, times, principles."""

import asyncio
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from constitution import load
from service.api.labels.tasks import SkipRequest
from tests.service.api.test_tasks import answer, leased, let_run_out, next_task, prefers, project
from tests.service.calls import Api, comparison, problem

CONSTITUTION = load("harmlessness")
FIRST, SECOND = (principle.id for principle in CONSTITUTION.principles[:2])


async def sent(client: httpx2.AsyncClient, task: dict[str, Any], label: Any, **more: Any) -> httpx2.Response:
    return await client.post(f"/v1/tasks/{task['id']}/answer", json={"label": label, **more})


async def stored(api: Api, id: str) -> dict[str, Any]:
    row: dict[str, Any] = (await api.admin.get(f"/v1/feedback/{id}")).json()
    return row


async def skipped(client: httpx2.AsyncClient, task: dict[str, Any], **why: Any) -> httpx2.Response:
    return await client.post(f"/v1/tasks/{task['id']}/skip", json=why)


async def test_a_corrected_answer_keeps_its_history_and_the_newest_counts(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = await project(api, 1, labels_per_item=2)
    task = await leased(ada, id)
    before = (await sent(ada, task, prefers(task, "Good"), seconds=3.5)).json()["id"]
    assert (await answer(grace, await leased(grace, id), "both_bad")).status_code == 201
    again = (await ada.get(f"/v1/tasks/{task['id']}")).json()
    assert (again["state"], again["responses"]) == ("answered", task["responses"])
    assert again["answer"]["label"] == {"choice": prefers(task, "Good")} and again["answer"]["seconds"] == 3.5
    other = prefers(task, "Bad")
    response = await sent(ada, task, other, seconds=1, replaces=before)
    assert response.status_code == 201, response.text
    after = response.json()["id"]
    old, new = await stored(api, before), await stored(api, after)
    assert (old["retracted"]["reason"], old["retracted"]["replaced_by"]) == ("replaced", after)
    assert (new["replaces"], new["retracted"], new["label"]["choice"]) == (before, None, "second")
    assert (new["task"], new["project"], new["shown"]) == (task["id"], id, old["shown"])
    for version in (before, after):
        history = (await api.admin.get(f"/v1/feedback/{version}/history")).json()["items"]
        assert history == [old, new]
    standing = (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]
    assert (standing["done"], standing["labels"]) == (1, 2)  # the correction is no third label
    figures = (await api.admin.get(f"/v1/projects/{id}/agreement")).json()
    assert figures["labels"] == 2
    asked = {"name": "rivers", "filter": {"project": id}, "aggregation": "each"}
    made = (await api.admin.post("/v1/datasets", json=asked)).json()
    assert made["counts"]["labels"] == 2 and made["counts"]["dropped"] == {"replaced": 1}
    assert {name: table["rows"] for name, table in made["counts"]["tables"].items()} == {"pairs": 1, "ratings": 2}


async def test_a_correction_that_is_withdrawn_opens_the_task(api: Api) -> None:
    ada = await api.labeller("Ada")
    id = await project(api, 1)
    task = await leased(ada, id)
    before = (await answer(ada, task, "first")).json()["id"]
    after = (await sent(ada, task, "second", replaces=before)).json()["id"]
    assert (await ada.post(f"/v1/feedback/{after}/retract", json={"reason": "no"})).status_code == 200
    assert (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]["labels"] == 0
    again = await leased(ada, id)
    assert again["id"] == task["id"]
    problem(await sent(ada, task, "first", replaces=before), 409, "conflict")
    assert (await answer(ada, task, "first")).status_code == 201


async def test_only_ones_own_answer_that_stands_is_corrected(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = await project(api, 1, labels_per_item=2)
    task = await leased(ada, id)
    document = problem(await sent(ada, task, "first", replaces="ab"), 409, "conflict")
    assert "not answered" in document["detail"]
    mine = (await answer(ada, task, "first")).json()["id"]
    document = problem(await sent(grace, task, "first", replaces=mine), 409, "conflict")
    assert "not answered" in document["detail"]
    newer = (await sent(ada, task, "second", replaces=mine)).json()["id"]
    document = problem(await sent(ada, task, "tie", replaces=mine), 409, "conflict")
    assert newer in document["fix"]
    problem(await sent(ada, task, "tie", replaces="?"), 422, "invalid")
    problem(await grace.get(f"/v1/tasks/{task['id']}"), 404, "not_found")
    await api.admin.patch(f"/v1/projects/{id}", json={"closed": True})
    problem(await sent(ada, task, "tie", replaces=newer), 409, "conflict")


async def test_two_corrections_at_once_leave_one(api: Api) -> None:
    ada = await api.labeller("Ada")
    id = await project(api, 1)
    task = await leased(ada, id)
    before = (await answer(ada, task, "first")).json()["id"]
    both = await asyncio.gather(*(sent(ada, task, label, replaces=before) for label in ("second", "tie")))
    assert sorted(response.status_code for response in both) == [201, 409]
    rows = (await api.admin.get("/v1/feedback", params={"project": id, "retracted": False})).json()["items"]
    assert len(rows) == 1


async def test_labels_without_a_task_are_corrected_where_they_are_given(api: Api) -> None:
    first = (await api.admin.post("/v1/feedback", json=comparison())).json()["id"]
    turned = comparison(label="first", responses=["Paris.", "The Po."], replaces=first)
    second = (await api.admin.post("/v1/feedback", json=turned)).json()["id"]
    assert (await stored(api, first))["retracted"]["replaced_by"] == second
    document = problem(await api.admin.post("/v1/feedback", json=turned), 409, "conflict")
    assert second in document["detail"]
    other = comparison("Another?", replaces=second)
    assert "same item" in problem(await api.admin.post("/v1/feedback", json=other), 409, "conflict")["detail"]
    rows = [comparison(replaces=second), comparison(replaces="ffff"), comparison("B?"), comparison(replaces=5)]
    response = await api.admin.post("/v1/feedback", json=rows)
    assert response.status_code == 207, response.text
    ids, faults = response.json()["ids"], response.json()["faults"]
    assert [id is None for id in ids] == [False, True, False, True]
    assert [fault["where"] for fault in faults] == ["/3/replaces", "/1/replaces"]
    twice = [comparison(replaces=ids[0]), comparison(replaces=ids[0])]
    problem(await api.admin.post("/v1/feedback", json=twice), 422, "invalid")
    history = (await api.admin.get(f"/v1/feedback/{second}/history")).json()["items"]
    assert [row["id"] for row in history] == [first, second, ids[0]]


async def test_an_answer_to_a_task_is_corrected_at_the_task(api: Api) -> None:
    ada = await api.labeller("Ada")
    id = await project(api, 1)
    task = await leased(ada, id)
    mine = (await answer(ada, task, "first")).json()["id"]
    row = await stored(api, mine)
    sides = [response["text"] for response in row["responses"]]
    asked = comparison(row["prompt"]["messages"][0]["content"], responses=sides, annotator="id-of-ada", replaces=mine)
    document = problem(await api.admin.post("/v1/feedback", json=asked), 409, "conflict")
    assert f"/v1/tasks/{task['id']}/answer" in document["detail"]


async def test_a_skip_says_why_and_can_be_taken_back(api: Api) -> None:
    ada = await api.labeller("Ada")
    id = await project(api, 2, skip_reasons=["language", "other"])
    task = await leased(ada, id)
    assert task["skip_reasons"] == ["language", "other"]
    document = problem(await skipped(ada, task, reason="harmful"), 422, "invalid")
    assert "language, other" in document["fix"]
    assert (await skipped(ada, task, reason="language", note="Czech", seconds=4)).status_code == 200
    other = await leased(ada, id)
    assert (await ada.post(f"/v1/tasks/{other['id']}/skip")).status_code == 200
    shown = (await api.admin.get(f"/v1/projects/{id}/skips", params={"limit": 1})).json()
    rest = (await api.admin.get(f"/v1/projects/{id}/skips", params={"cursor": shown["next"]})).json()
    said = {row["task"]: row for row in [*shown["items"], *rest["items"]]}
    assert len(said) == 2 and rest["next"] is None
    row = said[task["id"]]
    assert (row["reason"], row["note"], row["seconds"], row["annotator"]) == ("language", "Czech", 4.0, "id-of-ada")
    assert said[other["id"]]["reason"] is None
    progress = (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]
    assert progress["skips"] == {"language": 1, "no_reason": 1}
    back = (await ada.post(f"/v1/tasks/{task['id']}/unskip")).json()["task"]
    assert back["id"] == task["id"] and back["responses"] == task["responses"]
    problem(await ada.post(f"/v1/tasks/{task['id']}/unskip"), 409, "conflict")
    assert (await answer(ada, back, "unsure")).status_code == 201
    assert (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]["skips"] == {"no_reason": 1}
    problem(await ada.get(f"/v1/projects/{id}/skips"), 403, "forbidden")


async def test_a_skip_that_others_made_up_for_is_not_taken_back(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = await project(api, 1)
    task = await leased(ada, id)
    await skipped(ada, task, reason="cannot_judge")
    held = await leased(grace, id)
    document = problem(await ada.post(f"/v1/tasks/{task['id']}/unskip"), 409, "conflict")
    assert "others have the task" in document["detail"]
    await let_run_out(api, held)
    assert (await ada.post(f"/v1/tasks/{task['id']}/unskip")).status_code == 200
    assert await next_task(grace, id) is None


async def test_flags_are_found(api: Api) -> None:
    ada = await api.labeller("Ada")
    id = await project(api, 2)
    flagged = (await sent(ada, await leased(ada, id), "unsure", flag={"note": "Look."})).json()["id"]
    await answer(ada, await leased(ada, id), "first")
    rows = (await api.admin.get("/v1/feedback", params={"flagged": True})).json()["items"]
    assert [(row["id"], row["flag"]) for row in rows] == [(flagged, {"note": "Look."})]
    assert len((await api.admin.get("/v1/feedback", params={"flagged": False})).json()["items"]) == 1


@pytest.mark.parametrize("seconds", [-1, 86_401, "long"])
async def test_times_are_bounded(api: Api, seconds: Any) -> None:
    problem(await api.admin.post("/v1/feedback", json=comparison(seconds=seconds)), 422, "invalid")


async def test_principles_are_turned_back_and_are_the_constitutions(api: Api) -> None:
    people = [await api.labeller(f"Ada {number}") for number in range(20)]  # one order for all: 1 of 500,000 times
    id = await project(api, 1, labels_per_item=20, constitution=CONSTITUTION.name, by_principle=True)
    seen = set()
    for person in people:
        task = await leased(person, id)
        assert [field["name"] for field in task["form"]] == ["choice", "by_principle", "deciding"]
        good, bad = prefers(task, "Good"), prefers(task, "Bad")
        seen.add(good)
        label = {"choice": good, "by_principle": {FIRST: good, SECOND: bad}, "deciding": [FIRST]}
        assert (await answer(person, task, label)).status_code == 201
    assert seen == {"first", "second"}  # some were shown the other way round
    for row in (await api.admin.get("/v1/feedback", params={"project": id})).json()["items"]:
        said = row["label"]
        assert (said["choice"], said["by_principle"]) == ("first", {FIRST: "first", SECOND: "second"})
        assert said["deciding"] == [FIRST]
    unknown = comparison(label={"choice": "first", "deciding": ["nobody"]}, constitution=CONSTITUTION.name)
    document = problem(await api.admin.post("/v1/feedback", json=unknown), 422, "invalid")
    assert "no principle 'nobody'" in document["detail"]


async def test_principles_need_a_constitution(api: Api) -> None:
    asked = {"name": "rivers", "kind": "comparison", "by_principle": True}
    document = problem(await api.admin.post("/v1/projects", json=asked), 422, "invalid")
    assert document["faults"][0]["where"] == "/constitution"
    thumbs = await api.admin.post("/v1/projects", json=asked | {"kind": "thumbs"})
    assert "only a comparison or a rating has by_principle" in problem(thumbs, 422, "invalid")["detail"]


@pytest.mark.parametrize("note", ["a\0b", "\ud800", "x" * 2001])
def test_a_note_can_be_stored(note: str) -> None:
    with pytest.raises(ValidationError):
        SkipRequest(note=note)
