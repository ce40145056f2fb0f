"""Texts are bounded at every door that they come in by, and what was stored before is still read. On both databases."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from critic.feedback import Feedback, RankingLabel
from critic.records import Prompt, Response
from service.labels.labels import Origin, rows
from service.labels.tasks import task_rows
from service.review import story
from service.settings import Settings
from tests.service.calls import Api, comparison, problem

LONG = "x" * 1001
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database=migrated_url, data=tmp_path / "data", worker=False, max_text_bytes=1000, max_label_bytes=4000
    )


async def refused(response: httpx2.Response, *places: str) -> None:
    document = problem(response, 422, "too_long")
    assert [fault["where"] for fault in document["faults"]] == list(places)
    assert "1,001 bytes; the limit is 1,000 (max_text_bytes)" in document["faults"][0]["problem"]


async def test_a_label_by_itself(api: Api) -> None:
    await refused(await api.admin.post("/v1/feedback", json=comparison(LONG)), "/prompt")
    critique = comparison(label=LONG) | {"kind": "critique"}
    await refused(await api.admin.post("/v1/feedback", json=critique), "/label")
    many = comparison() | {"kind": "ranking", "responses": ["y" * 900 + str(n) for n in range(6)]}
    document = problem(await api.admin.post("/v1/feedback", json=many), 422, "too_long")
    assert "the limit is 4,000 (max_label_bytes)" in document["detail"]
    assert (await api.admin.get("/v1/feedback")).json()["items"] == []
    assert (await api.admin.post("/v1/feedback", json=comparison("x" * 1000))).status_code == 201


async def test_a_label_among_others_costs_itself_only(api: Api) -> None:
    given = await api.admin.post("/v1/feedback", json=[comparison("A?"), comparison(LONG), comparison("B?")])
    assert given.status_code == 207
    body = given.json()
    assert [id is None for id in body["ids"]] == [False, True, False]
    assert [fault["where"] for fault in body["faults"]] == ["/1/prompt"]
    assert "max_text_bytes" in body["faults"][0]["problem"]


async def test_a_record_that_is_wrong_all_through_is_told_in_a_few_words(api: Api) -> None:
    wrong = comparison() | {"responses": [1] * 50}
    document = problem(await api.admin.post("/v1/feedback", json=wrong), 422, "invalid")
    assert len(document["faults"]) == 21 and "and 30 more" in document["faults"][-1]["problem"]


async def test_items_of_projects_and_answers_to_tasks(api: Api) -> None:
    asked: dict[str, Any] = {"name": "p", "kind": "critique", "items": [{"prompt": "A?", "responses": [LONG]}]}
    document = problem(await api.admin.post("/v1/projects", json=asked), 422, "invalid")
    assert document["faults"][0]["where"] == "/items/0/responses/0"
    asked["items"] = [{"prompt": "A?", "responses": ["Because."]}]
    id = (await api.admin.post("/v1/projects", json=asked)).json()["id"]
    more = {"items": [{"prompt": LONG, "responses": ["Because."]}]}
    document = problem(await api.admin.post(f"/v1/projects/{id}/items", json=more), 422, "invalid")
    assert document["faults"][0]["where"] == "/items/0/prompt"
    ada = await api.labeller("Ada")
    task = (await ada.post(f"/v1/projects/{id}/tasks/next")).json()["task"]
    await refused(await ada.post(f"/v1/tasks/{task['id']}/answer", json={"label": {"text": LONG}}), "/label/text")
    assert (await ada.post(f"/v1/tasks/{task['id']}/answer", json={"label": "Too short."})).status_code == 201


async def test_what_engines_are_asked(api: Api) -> None:
    compared = {"prompt": LONG, "responses": ["a", "b"], "constitution": "helpfulness"}
    await refused(await api.admin.post("/v1/comparisons", json=compared), "/prompt/messages/0/content")
    critiqued = {"prompt": "A?", "response": LONG, "constitution": "helpfulness"}
    await refused(await api.admin.post("/v1/critiques", json=critiqued), "/responses/0/text")
    rewarded = {"prompts": ["A?"], "responses": [LONG]}
    await refused(await api.admin.post("/v1/rewards", json=rewarded), "/responses/0")


async def test_what_was_stored_before_the_bound_is_read_everywhere(api: Api) -> None:
    caller = await api.service.keys.caller(api.admin.headers["authorization"].removeprefix("Bearer "))
    object.__setattr__(api.service.labels.texts, "text", 10**6)
    object.__setattr__(api.service.labels.texts, "label", 10**7)
    old = await api.service.labels.read(comparison("x" * 100_000), caller)
    object.__setattr__(api.service.labels.texts, "text", 1000)
    object.__setattr__(api.service.labels.texts, "label", 4000)
    [id], stored = rows([old], Origin())
    await api.service.database.insert(stored)
    assert (await api.admin.get(f"/v1/feedback/{id}")).status_code == 200
    assert len((await api.admin.get("/v1/feedback")).json()["items"]) == 1
    made = await api.admin.post("/v1/datasets", json={"name": "old", "aggregation": "each"})
    assert made.json()["counts"]["tables"]["pairs"]["rows"] == 1
    project = {"name": "p", "kind": "comparison", "from_feedback": {}}
    answer = (await api.admin.post("/v1/projects", json=project)).json()
    assert answer["progress"]["items"] == 1
    ada = await api.labeller("Ada")
    task = (await ada.post(f"/v1/projects/{answer['id']}/tasks/next")).json()["task"]
    assert len(task["prompt"][0]["content"]) == 100_000
    assert (await ada.post(f"/v1/tasks/{task['id']}/answer", json={"label": "first"})).status_code == 201
    agreement = (await api.admin.get(f"/v1/projects/{answer['id']}/agreement")).json()
    assert (agreement["items"], agreement["labels"]) == (1, 1)


async def test_who_has_no_key_can_not_make_the_server_hold_a_body(api: Api) -> None:
    read = 0

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def counted() -> Any:
            nonlocal read
            read += 1
            return await receive()

        await api.app(scope, counted, send)

    for headers in ({}, {"Authorization": "Bearer cai_0123456789ab_" + "x" * 43}):
        transport = httpx2.ASGITransport(application)
        async with httpx2.AsyncClient(transport=transport, base_url="http://cai.test", headers=headers) as client:
            for path in ("/v1/feedback", "/v1/uploads", "/v1/rewards"):
                problem(await client.post(path, content=b"x" * 100_000), 401, "unauthorized")
    assert read == 0


async def test_a_body_of_very_many_values_is_refused_before_it_is_parsed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.body.MOST_VALUES", 1000)
    label = json.dumps(comparison() | {"responses": [[]] * 1000})
    document = problem(await api.admin.post("/v1/feedback", content=label, headers=JSON), 413, "too_large")
    assert "more than 1,000 values" in document["detail"]


async def test_a_list_of_very_many_faults_is_refused_before_each_is_told(api: Api) -> None:
    label = {"kind": "thumbs", "prompt": {"messages": [], "tags": [1] * 50_000}, "label": "up"}
    names = {f"unknown {number}": 1 for number in range(20_000)}
    for path, body in (
        ("/v1/feedback", label),
        ("/v1/feedback", names),
        ("/v1/comparisons", {"prompt": label["prompt"]}),
        ("/v1/rewards", {"prompts": [[1] * 30_000] * 5, "responses": ["a"] * 5}),
        ("/v1/projects", {"name": "p", "kind": "thumbs", "items": [{"prompt": [[]] * 30_000}]}),
        ("/v1/jobs", {"kind": "judge", "settings": names}),
    ):
        detail = problem(await api.admin.post(path, json=body), 413, "too_large")["detail"]
        assert detail in [f"a list or object has more than {most} entries" for most in ("20,000", "2,000")]
    rows = {"kind": "export", "format": "trl", "input": {"rows": [{"prompt": "a", "wide": [1] * 30_000}] * 2}}
    assert (await api.admin.post("/v1/jobs", json=rows)).status_code == 201


def test_a_long_ranking_is_turned_without_looking_for_each_text_from_the_beginning() -> None:
    texts = [f"answer {number}" for number in range(100_000)]
    ranked = Feedback.model_construct(
        kind="ranking",
        prompt=Prompt.model_construct(messages=()),
        responses=tuple(Response.model_construct(text=text, model="m") for text in texts),
        label=RankingLabel.model_construct(ranks=tuple(range(100_000)), strengths=None),
    )
    turned = ranked.in_order_of(texts[::-1]).label
    assert isinstance(turned, RankingLabel) and turned.ranks == tuple(range(100_000))[::-1]


async def test_the_story_of_an_item_ends_by_bytes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 labels of 2 MB were read and sent with each label's own copy of the texts: a gigabyte for one question."""
    monkeypatch.setattr(story, "PAGE_BYTES", 5000)
    for number in range(9):
        critique = comparison("x" * 900, label=f"{number} {'y' * 900}") | {"kind": "critique", "responses": ["The Po."]}
        assert (await api.admin.post("/v1/feedback", json=critique)).status_code == 201
    item = (await api.admin.get("/v1/feedback")).json()["items"][0]["item"]
    told = (await api.admin.get(f"/v1/items/{item}")).json()["labels"]
    assert [label["label"]["text"][0] for label in told] == ["0", "1"], "the first ones, and not all"
    monkeypatch.setattr(story, "PAGE_BYTES", 1)
    assert len((await api.admin.get(f"/v1/items/{item}")).json()["labels"]) == 1


async def test_equal_labels_are_looked_for_a_few_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """All labels of an item were read at once, each with its own copy of the texts, by the event loop itself."""
    row = comparison("x" * 900)
    for nth in range(1, 5):
        assert (await api.admin.post("/v1/feedback", json=[row | {"nth": nth}])).status_code == 201
    again = await api.admin.post("/v1/feedback", json=[row | {"nth": 2}, row | {"nth": 5}])
    assert (again.json()["there"], len((await api.admin.get("/v1/feedback")).json()["items"])) == ([0], 5)
    monkeypatch.setattr(api.service.imports, "_seconds", 0.0)
    late = problem(await api.admin.post("/v1/feedback", json=[row | {"nth": 6}]), 503, "took_too_long")
    assert "given up" in late["detail"]


async def test_of_long_prompts_in_a_list_little_is_kept(api: Api) -> None:
    """A page that tells of 50 tasks had all of their prompts in memory at once, each of up to 2 MB."""
    items = [{"prompt": f"{number} {'x' * 900}", "responses": ["The Po."]} for number in range(9)]
    asked = {"name": "p", "kind": "critique", "items": items}
    project = (await api.admin.post("/v1/projects", json=asked)).json()["id"]
    ids = [task["item"] for task in (await api.admin.get(f"/v1/projects/{project}/tasks")).json()["items"]]
    told = await task_rows.prompts(api.service.database, project, ids)
    beginnings = {text[:2] for text in told.values()}
    assert beginnings == {f"{number} " for number in range(9)}
    assert {len(text) for text in told.values()} == {task_rows.SHOWN_CHARACTERS} and told.keys() == set(ids)
