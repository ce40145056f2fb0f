"""Tasks: leased, answered, skipped and given back by several annotators at once. On both databases."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from critic.feedback import ComparisonLabel, RankingLabel, RatingLabel
from critic.feedback.kinds.critique import CritiqueLabel, Span
from service.labels.tasks.shown import order, turned_back
from service.store.tables import leases, now, tasks
from tests.service.calls import Api, one_database, problem

Task = dict[str, Any]


def items(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"Name river {i}.", "responses": [f"Good {i}", f"Bad answer {i}"]} for i in range(count)]


async def project(api: Api, count: int = 3, **more: Any) -> str:
    asked = {"name": "rivers", "kind": "comparison", "items": items(count), **more}
    response = await api.admin.post("/v1/projects", json=asked)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def next_task(client: httpx2.AsyncClient, project: str) -> Task | None:
    response = await client.post(f"/v1/projects/{project}/tasks/next")
    assert response.status_code == 200, response.text
    task: Task | None = response.json()["task"]
    return task


async def leased(client: httpx2.AsyncClient, project: str) -> Task:
    task = await next_task(client, project)
    assert task is not None
    return task


async def answer(client: httpx2.AsyncClient, task: Task, label: Any, **headers: str) -> httpx2.Response:
    return await client.post(f"/v1/tasks/{task['id']}/answer", json={"label": label}, headers=headers)


def prefers(task: Task, word: str) -> str:
    """The label that prefers the response with this word, wherever it is shown."""
    return "first" if word in task["responses"][0] else "second"


async def let_run_out(api: Api, task: Task) -> None:
    async with api.service.database.transaction() as connection:
        change = update(leases).where(leases.c.task == task["id"], leases.c.state == "leased")
        await connection.execute(change.values(until=now() - timedelta(seconds=1)))


async def test_an_answer_is_feedback_in_the_items_own_order(api: Api) -> None:
    ada = await api.labeller("Ada", "nurses")
    id = await project(api, 20, guidelines="Prefer the good.", constitution="harmlessness")
    for _ in range(20):
        task = await leased(ada, id)
        assert task["guidelines"] == "Prefer the good." and task["kind"] == "comparison"
        assert set(task) & {"models", "model"} == set()
        assert (await answer(ada, task, prefers(task, "Good"))).status_code == 201
    assert await next_task(ada, id) is None
    rows = (await api.admin.get("/v1/feedback", params={"project": id})).json()["items"]
    assert len(rows) == 20
    for row in rows:
        assert [response["text"][:4] for response in row["responses"]] == ["Good", "Bad "]
        assert row["label"]["choice"] == "first"
        assert (row["annotator"], row["group"], row["source"]) == ("id-of-ada", "nurses", "human")
        assert row["constitution"].startswith("harmlessness@") and row["constitution_hash"]
    assert {tuple(row["shown"]) for row in rows} == {(0, 1), (1, 0)}  # one order for all: 1 of 500,000 times
    progress = (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]
    assert progress == {"items": 20, "done": 20, "labels": 20, "leased": 0, "skips": {}}


def test_the_order_is_the_annotators_own_and_stays() -> None:
    orders = {order(f"task {i}", "ada", 3) for i in range(60)}
    assert len(orders) == 6
    assert order("task", "ada", 3) == order("task", "ada", 3)
    assert any(order(f"task {i}", "ada", 2) != order(f"task {i}", "grace", 2) for i in range(20))


@given(st.permutations(range(4)))
def test_what_was_said_of_what_was_shown_is_turned_back(shown: list[int]) -> None:
    texts = ["a", "b", "c", "d"]
    seen = [texts[position] for position in shown]
    ranks = turned_back(RankingLabel(ranks=tuple(texts.index(text) + 1 for text in seen)), tuple(shown))
    assert isinstance(ranks, RankingLabel) and ranks.ranks == (1, 2, 3, 4)
    rating = RatingLabel.model_validate({"value": 1, "scale": {"min": 0, "max": 1}, "response": seen.index("c")})
    assert turned_back(rating, tuple(shown)).model_dump()["response"] == 2
    spans = CritiqueLabel(text="no", spans=(Span(start=0, end=1, response=seen.index("b")),))
    turned = turned_back(spans, tuple(shown))
    assert isinstance(turned, CritiqueLabel) and turned.spans[0].response == 1
    first = turned_back(ComparisonLabel(choice="first", outcome="preference"), (1, 0))
    assert isinstance(first, ComparisonLabel) and first.choice == "second"


async def test_no_task_is_given_to_more_annotators_than_labels_are_wanted(api: Api) -> None:
    people = [await api.labeller(name) for name in ("Ada", "Grace", "Mary", "Jean")]
    id = await project(api, 3, labels_per_item=2)
    got = await asyncio.gather(*(next_task(person, id) for person in people))
    counts = Counter(task["id"] for task in got if task is not None)
    assert sum(counts.values()) == 4 and max(counts.values()) <= 2
    again = await asyncio.gather(*(next_task(person, id) for person in people))
    expected = [task and task["id"] for task in got]
    assert [task and task["id"] for task in again] == expected
    assert (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]["leased"] == 4


async def test_many_annotators_at_once_give_each_item_exactly_the_labels_that_are_wanted(api: Api) -> None:
    people = [await api.labeller(f"P{i}") for i in range(6)]
    id = await project(api, 8, labels_per_item=3)

    async def work(person: httpx2.AsyncClient) -> None:
        for _ in range(100):
            if (task := await next_task(person, id)) is not None:
                response = await answer(person, task, prefers(task, "Good"))
                assert response.status_code == 201, response.text
            else:
                progress = (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]
                if progress["done"] == 8:
                    return
        raise AssertionError("never done")

    await asyncio.gather(*(work(person) for person in people))
    async with api.service.database.read() as connection:
        assert set((await connection.execute(select(tasks.c.answers))).scalars()) == {3}
    rows = (await api.admin.get("/v1/feedback", params={"project": id, "limit": 500})).json()["items"]
    assert len({(row["item"], row["annotator"]) for row in rows}) == len(rows) == 24


async def test_the_task_with_the_fewest_labels_comes_first(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = await project(api, 3, labels_per_item=2)
    task = await leased(ada, id)
    await answer(ada, task, "first")
    other = await leased(grace, id)
    assert other["id"] != task["id"]


async def test_a_task_of_another_or_of_nobody_is_refused(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = await project(api, 1)
    task = await leased(ada, id)
    assert await next_task(grace, id) is None
    for call in ("answer", "skip", "release"):
        body = {"label": "first"} if call == "answer" else None
        document = problem(await grace.post(f"/v1/tasks/{task['id']}/{call}", json=body), 409, "conflict")
        assert "not leased to you" in document["detail"] and f"/v1/projects/{id}/tasks/next" in document["fix"]
        problem(await grace.post(f"/v1/tasks/nothing/{call}", json=body), 404, "not_found")
    assert (await answer(ada, task, "first")).status_code == 201
    document = problem(await answer(ada, task, "second"), 409, "conflict")
    assert "have answered" in document["detail"] and "/retract" in document["fix"]


async def test_a_lease_that_ran_out_is_free_and_its_late_answer_counts_only_while_it_is_wanted(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = await project(api, 2)
    task = await leased(ada, id)
    await let_run_out(api, task)
    assert (await answer(ada, task, "first")).status_code == 201  # nobody else has it
    late = await leased(ada, id)
    await let_run_out(api, late)
    assert (await leased(grace, id))["id"] == late["id"]
    document = problem(await answer(ada, late, "first"), 409, "conflict")
    assert "given to others" in document["detail"] and "tasks/next" in document["fix"]
    assert (await answer(grace, late, "first")).status_code == 201
    assert await next_task(ada, id) is None


async def test_skipped_tasks_do_not_come_back_and_released_ones_do(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = await project(api, 1)
    task = await leased(ada, id)
    assert (await ada.post(f"/v1/tasks/{task['id']}/release")).json() == {"id": task["id"]}
    assert (await leased(ada, id))["id"] == task["id"]
    assert (await ada.post(f"/v1/tasks/{task['id']}/skip")).status_code == 200
    assert await next_task(ada, id) is None
    problem(await answer(ada, task, "first"), 409, "conflict")
    assert (await leased(grace, id))["id"] == task["id"]


async def test_a_withdrawn_answer_opens_the_task_again(api: Api) -> None:
    ada = await api.labeller("Ada")
    id = await project(api, 1)
    task = await leased(ada, id)
    label = (await answer(ada, task, "first")).json()["id"]
    for _ in range(2):
        await ada.post(f"/v1/feedback/{label}/retract", json={"reason": "wrong button"})
    again = await leased(ada, id)
    assert again["id"] == task["id"]
    assert (await answer(ada, again, "second")).status_code == 201
    progress = (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]
    assert progress == {"items": 1, "done": 1, "labels": 1, "leased": 0, "skips": {}}


async def test_the_same_answer_sent_twice_is_one_label(api: Api) -> None:
    ada = await api.labeller("Ada")
    id = await project(api, 1)
    task = await leased(ada, id)
    named = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(answer(ada, task, "first", **named) for _ in range(5)))
    assert {response.status_code for response in answers} == {201}
    assert len({response.json()["id"] for response in answers}) == 1
    assert len((await api.admin.get("/v1/feedback")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("asked", "responses", "label", "stored"),
    [
        ({"kind": "rating"}, 1, 4, {"value": 4, "scale": {"min": 1, "max": 5}}),
        ({"kind": "rating", "scale": {"min": 0, "max": 1}}, 1, {"value": 0.5}, {"value": 0.5}),
        ({"kind": "thumbs"}, 1, "down", {"value": "down"}),
        ({"kind": "critique"}, 1, "Too short.", {"text": "Too short."}),
        ({"kind": "demonstration"}, 0, "The Danube.", {"text": "The Danube."}),
        ({"kind": "correction"}, 1, "The Po, in Italy.", {"text": "The Po, in Italy."}),
        ({"kind": "comparison", "levels": 3}, 2, {"choice": "tie"}, {"choice": "tie"}),
        ({"kind": "comparison", "levels": 3}, 2, {"choice": "first", "strength": 2}, {"strength": 2, "levels": 3}),
    ],
)
async def test_every_kind_is_answered_in_its_projects_form(
    api: Api, asked: dict[str, Any], responses: int, label: Any, stored: dict[str, Any]
) -> None:
    ada = await api.labeller("Ada")
    item = {"prompt": "Name a river.", "responses": ["The Po.", "Paris."][:responses]}
    id = await project(api, 0, **asked, items=[item])
    response = await answer(ada, await leased(ada, id), label)
    assert response.status_code == 201, response.text
    kept = (await api.admin.get(f"/v1/feedback/{response.json()['id']}")).json()["label"]
    scale = stored.pop("scale", {})
    assert kept.items() >= stored.items() and kept.get("scale", {}).items() >= scale.items()


@one_database
@pytest.mark.parametrize(
    ("asked", "label", "word"),
    [
        ({}, "third", "first"),
        ({}, {"choice": "first", "strength": 1}, "levels"),
        ({}, {"choice": "first", "strength": 1, "levels": 2}, "not the project's"),
        ({"levels": 2}, {"choice": "first", "strength": 3}, "off its scale"),
        ({}, [1, 2], "choice"),
        ({"kind": "ranking"}, [1], "at least 2"),
        ({"kind": "ranking"}, [1, 3], "without a gap"),
        ({"kind": "ranking"}, [1, 2, 3], "3 ranks"),
        ({"kind": "rating"}, 6, "off its scale"),
        ({"kind": "rating"}, "good", "value"),
        ({"kind": "rating"}, {"value": 6, "scale": {"min": 0, "max": 10}}, "not the project's"),
        ({"kind": "rating"}, {"value": 3, "response": 2}, "no response 2"),
        ({"kind": "thumbs"}, 1, "label"),
    ],
)
async def test_an_answer_off_the_form_is_refused_and_the_task_stays(
    api: Api, asked: dict[str, Any], label: Any, word: str
) -> None:
    ada = await api.labeller("Ada")
    id = await project(api, 1, **asked)
    task = await leased(ada, id)
    document = problem(await answer(ada, task, label), 422, "invalid")
    assert word in str(document), document
    assert (await leased(ada, id))["id"] == task["id"]
    assert (await api.admin.get("/v1/feedback")).json()["items"] == []


async def test_who_may_not_label_gets_no_task(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = await project(api, 1, assigned=["id-of-ada"])
    assert (
        "assigned to others" in problem(await grace.post(f"/v1/projects/{id}/tasks/next"), 403, "forbidden")["detail"]
    )
    task = await leased(ada, id)
    problem(await api.admin.post(f"/v1/projects/{id}/tasks/next"), 403, "forbidden")  # belongs to no annotator
    problem(await (await api.client("read")).post(f"/v1/projects/{id}/tasks/next"), 403, "forbidden")
    problem(await ada.post("/v1/projects/nothing/tasks/next"), 404, "not_found")
    await api.admin.patch(f"/v1/projects/{id}", json={"closed": True})
    problem(await ada.post(f"/v1/projects/{id}/tasks/next"), 409, "conflict")
    assert "closed" in problem(await answer(ada, task, "first"), 409, "conflict")["detail"]
