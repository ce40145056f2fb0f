"""Practice before work, gold among it, and tasks beside those that are being answered."""

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from critic.feedback import KINDS
from critic.records import Response
from service.labels.tasks.roles import is_golds_turn, is_right
from tests.service.calls import Api, problem


def items(count: int, **more: Any) -> list[dict[str, Any]]:
    name = more.get("role", "work")
    return [{"prompt": f"{name} {n}?", "responses": [f"Good {n}", f"Bad answer {n}"], **more} for n in range(count)]


async def project(api: Api, given: Sequence[dict[str, Any]], **more: Any) -> str:
    asked = {"name": "rivers", "kind": "comparison", "items": list(given), **more}
    response = await api.admin.post("/v1/projects", json=asked)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def next_task(client: httpx2.AsyncClient, project: str, *beside: str) -> dict[str, Any] | None:
    response = await client.post(f"/v1/projects/{project}/tasks/next", params={"beside": list(beside)})
    assert response.status_code == 200, response.text
    task: dict[str, Any] | None = response.json()["task"]
    return task


async def test_gold_comes_at_its_turn_to_everyone_and_looks_like_work(api: Api) -> None:
    gold = items(3, role="gold", expected="first")
    id = await project(api, items(9) + gold, settings={"gold_every": 4}, labels_per_item=2)
    seen: dict[str, list[str]] = {}
    for name in ("Ada", "Grace"):
        client = await api.labeller(name)
        seen[name] = []
        while (task := await next_task(client, id)) is not None:
            assert set(task) == {
                *("id", "project", "kind", "guidelines", "constitution", "form", "prompt", "responses"),
                *("skip_reasons", "until"),
            }
            seen[name].append(task["prompt"][0]["content"].split()[0])
            assert (await client.post(f"/v1/tasks/{task['id']}/answer", json={"label": "first"})).status_code == 201
        assert seen[name].count("work") == 9 and seen[name].count("gold") == 3
        for block in range(3):
            assert seen[name][4 * block : 4 * block + 4].count("gold") == 1
    progress = (await api.admin.get(f"/v1/projects/{id}")).json()["progress"]
    assert (progress["items"], progress["done"], progress["labels"]) == (9, 9, 18), "gold is no part of progress"


def test_golds_turn_is_one_of_each_block_and_not_everybodys_the_same() -> None:
    turns = {}
    for name in ("a", "b", "c"):
        turns[name] = [is_golds_turn("p", name, done, 5) for done in range(50)]
    for of_one in turns.values():
        assert [sum(of_one[start : start + 5]) for start in range(0, 50, 5)] == [1] * 10
    assert len({tuple(of_one) for of_one in turns.values()}) == 3
    assert not any(is_golds_turn("p", "a", done, None) for done in range(20))


async def test_a_task_beside_those_being_answered_is_another_and_nobody_hoards(api: Api) -> None:
    id, ada = await project(api, items(20)), await api.labeller("Ada")
    held: list[str] = []
    while (task := await next_task(ada, id, *held)) is not None:
        assert task["id"] not in held
        held.append(task["id"])
    assert len(held) == 8
    again = await next_task(ada, id)
    assert again is not None and again["id"] == held[0], "who has a task gets it again"
    assert (await ada.post(f"/v1/tasks/{held[3]}/answer", json={"label": "second"})).status_code == 201


async def test_practice_comes_first_for_programs_too(api: Api) -> None:
    id = await project(api, items(1) + items(2, role="practice", expected={"choice": "first"}, why="So."))
    ada = await api.labeller("Ada")
    answer = await ada.post(f"/v1/projects/{id}/tasks/next")
    assert f"/label/{id}" in problem(answer, 409, "conflict")["fix"]


@pytest.mark.parametrize(
    "bad", [{"role": "gold"}, {"expected": "first"}, {"role": "practice", "expected": "third"}, {"why": "So."}]
)
async def test_an_expected_label_belongs_to_practice_and_gold_alone_and_has_to_fit(api: Api, bad: Any) -> None:
    response = await api.admin.post(
        "/v1/projects", json={"name": "x", "kind": "comparison", "items": [{**items(1)[0], **bad}]}
    )
    assert problem(response, 422, "invalid")["faults"][0]["where"] == "/items/0/expected"


async def test_settings_change_one_by_one(api: Api) -> None:
    id = await project(api, items(1), settings={"blur": True, "gold_every": 5})
    changed = (await api.admin.patch(f"/v1/projects/{id}", json={"settings": {"gold_every": None}})).json()
    assert changed["settings"] == {"blur": True, "break_minutes": 45, "pass_share": 0.0, "gold_every": None}


@pytest.mark.parametrize(
    ("kind", "given", "expected", "right"),
    [
        ("comparison", {"choice": "first"}, {"choice": "first"}, True),
        ("comparison", {"choice": "both_bad"}, {"choice": "first"}, False),
        ("comparison", {"choice": "unsure"}, {"choice": "first"}, False),
        ("ranking", {"ranks": [1, 2, 3]}, {"ranks": [1, 2, None]}, True),
        ("ranking", {"ranks": [1, None, 2]}, {"ranks": [1, 2, None]}, False),
        ("thumbs", {"value": "up"}, {"value": "down"}, False),
        ("demonstration", {"text": "anything"}, {"text": "an example"}, True),
    ],
)
def test_what_is_right(kind: str, given: Any, expected: Any, right: bool) -> None:
    responses = [Response(text=text, model="m") for text in ("a", "b", "c")[: 3 if kind == "ranking" else 2]]
    label = KINDS[kind].model_validate
    assert is_right(label(given), label(expected), responses) is right
