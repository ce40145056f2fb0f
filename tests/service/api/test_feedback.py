"""Feedback through the API, on both databases."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from constitution import load
from critic.feedback import KINDS
from service.keys.auth import Caller
from service.labels import labels
from service.labels.label_query import FeedbackFilter, selected
from service.outward.metrics import FEEDBACK
from service.store.database import Database, Rows, take_turn
from service.store.tables import feedback, items, now, retractions
from tests.service.calls import Api, comparison, one_database, problem

RATING = {"value": 4, "scale": {"min": 1, "max": 5}}
LABELS: dict[str, Any] = {
    "comparison": "second",
    "ranking": [2, 1],
    "rating": RATING,
    "thumbs": "up",
    "critique": "The second is no river.",
    "demonstration": "The Danube.",
    "correction": "The Po, in Italy.",
}


async def give(api: Api, row: dict[str, Any]) -> str:
    response = await api.admin.post("/v1/feedback", json=row)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def page(api: Api, **filters: Any) -> list[dict[str, Any]]:
    response = await api.admin.get("/v1/feedback", params=filters)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_stored_and_read_as_it_was_given(api: Api, kind: str) -> None:
    before = FEEDBACK.labels(kind, "human")._value.get()
    id = await give(api, comparison(label=LABELS[kind]) | {"kind": kind, "group": "geographers"})
    stored = (await api.admin.get(f"/v1/feedback/{id}")).json()
    assert stored["kind"] == kind
    assert stored["prompt"]["messages"] == [{"role": "user", "content": "Name a river."}]
    assert [response["text"] for response in stored["responses"]] == ["The Po.", "Paris."]
    assert (stored["source"], stored["group"], stored["retracted"]) == ("human", "geographers", None)
    expected = {"comparison": ("choice", "second"), "ranking": ("ranks", [2, 1]), "rating": ("value", 4.0)}
    name, value = expected.get(kind, ("value" if kind == "thumbs" else "text", LABELS[kind]))
    assert stored["label"][name] == value
    assert FEEDBACK.labels(kind, "human")._value.get() == before + 1


async def test_the_long_form_means_the_same(api: Api) -> None:
    long = {
        "kind": "comparison",
        "prompt": {"messages": [{"role": "user", "content": "Name a river."}], "tags": ["rivers"], "id": "r1"},
        "responses": [{"text": "The Po.", "model": "m-1", "finish": "stop"}, {"text": "Paris."}],
        "label": {"choice": "first", "probability": 0.9},
        "source": "ai",
        "annotator": "a judge",
    }
    stored = (await api.admin.get(f"/v1/feedback/{await give(api, long)}")).json()
    assert stored["prompt"] == long["prompt"]
    assert stored["responses"][0] == {"text": "The Po.", "model": "m-1", "finish": "stop", "reasoning": None}
    assert (stored["source"], stored["annotator"], stored["label"]["probability"]) == ("ai", "a judge", 0.9)


async def test_the_same_responses_in_another_order_are_the_same_item_and_keep_their_own_order(api: Api) -> None:
    await give(api, comparison())
    await give(api, comparison(label="second", responses=["Paris.", "The Po."]))
    first, second = await page(api)
    assert first["item"] == second["item"]
    assert [r["text"] for r in second["responses"]] == ["Paris.", "The Po."]
    assert len(await page(api, item=first["item"])) == 2


@one_database
@pytest.mark.parametrize(
    ("change", "where", "word"),
    [
        ({"label": "third"}, "/label/choice", "first"),
        ({"kind": "ranking", "label": [1]}, "/label/ranks", "at least 2"),
        ({"kind": "ranking", "label": [1, 2, 3]}, "", "3 ranks"),
        ({"kind": "rating", "label": {"value": 6, "scale": {"min": 1, "max": 5}}}, "/label", "off its scale"),
        ({"responses": ["The Po.", "The Po."]}, "", "same text"),
        ({"kind": "critique", "label": {"text": "no", "spans": [{"start": 0, "end": 99}]}}, "", "outside"),
        ({"kind": "demonstration", "label": " "}, "/label", "empty"),
        ({"prompt": ""}, "/prompt", "empty"),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "/prompt", "out of order"),
        ({"labels": 1}, "/labels", "Extra inputs"),
        ({"kind": "opinion"}, "/kind", "'comparison'"),
        ({"source": "god"}, "/source", "'ai'"),
        ({"annotator": "nobody"}, "/annotator", "no annotator"),
        ({"constitution": "nothing@1.0.0"}, "/constitution", "no published constitution"),
        ({"constitution": "../../etc/passwd"}, "/constitution", "names no constitution"),
        ({"constitution_hash": "a" * 64}, "/constitution", "a hash alone"),
    ],
)
async def test_what_is_wrong_is_named_alone_and_in_a_batch(
    api: Api, change: dict[str, Any], where: str, word: str
) -> None:
    document = problem(await api.admin.post("/v1/feedback", json=comparison() | change), 422, "invalid")
    assert any(fault["where"].startswith(where) and word in fault["problem"] for fault in document["faults"]), document
    batch = [comparison(), comparison() | change, comparison("Name a lake.")]
    response = await api.admin.post("/v1/feedback", json=batch)
    assert response.status_code == 207
    answer = response.json()
    assert [id is None for id in answer["ids"]] == [False, True, False]
    assert answer["faults"] and all(fault["where"].startswith("/1") for fault in answer["faults"])
    assert len(await page(api)) == 2


async def test_a_batch_is_answered_in_its_order_and_a_batch_of_nothing_good_stores_nothing(api: Api) -> None:
    response = await api.admin.post("/v1/feedback", json=[comparison(f"Question {i}") for i in range(300)])
    assert response.status_code == 201 and response.json()["faults"] == []
    ids = response.json()["ids"]
    assert [row["id"] for row in await page(api, limit=500)] == ids and len(set(ids)) == 300
    document = problem(await api.admin.post("/v1/feedback", json=[comparison(label=9), {}, 7]), 422, "invalid")
    assert {fault["where"].split("/")[1] for fault in document["faults"]} == {"0", "1", "2"}
    problem(await api.admin.post("/v1/feedback", json=[]), 422, "invalid")
    problem(await api.admin.post("/v1/feedback", json=[7] * 10_001), 422, "invalid")
    assert len(await page(api, limit=500)) == 300


async def test_a_label_is_bound_to_the_constitution_that_it_names(api: Api) -> None:
    published = load("harmlessness")
    principle = published.principles[0].id
    row = comparison(constitution=published.name, principle=principle)
    stored = (await api.admin.get(f"/v1/feedback/{await give(api, row)}")).json()
    assert stored["constitution"] == published.ref
    assert stored["constitution_hash"] == published.digest
    await give(api, comparison(constitution=published.ref, constitution_hash=published.digest))
    wrong = comparison(constitution=published.ref, constitution_hash="0" * 64)
    assert "has the hash" in problem(await api.admin.post("/v1/feedback", json=wrong), 422, "invalid")["detail"]
    unknown = comparison(constitution=published.ref, principle="no-such-principle")
    assert "no principle" in problem(await api.admin.post("/v1/feedback", json=unknown), 422, "invalid")["detail"]
    assert len(await page(api, constitution=published.ref)) == 2


async def test_who_may_only_label_labels_as_themselves(api: Api) -> None:
    ada, grace = await api.labeller("Ada", "nurses"), await api.annotator("Grace")
    id = (await ada.post("/v1/feedback", json=comparison())).json()["id"]
    stored = (await api.admin.get(f"/v1/feedback/{id}")).json()
    assert (stored["annotator"], stored["group"]) == ("id-of-ada", "nurses")
    for change in ({"annotator": grace}, {"source": "ai"}, {"group": "doctors"}):
        problem(await ada.post("/v1/feedback", json=comparison(**change)), 403, "forbidden")
        response = await ada.post("/v1/feedback", json=[comparison(), comparison(**change)])
        assert response.status_code == 207 and response.json()["ids"][1] is None
    nobody = await api.client("label")
    assert "no annotator" in problem(await nobody.post("/v1/feedback", json=comparison()), 403, "forbidden")["detail"]
    reader = await api.client("read")
    problem(await reader.post("/v1/feedback", json=comparison()), 403, "forbidden")
    problem(await ada.get("/v1/feedback"), 403, "forbidden")
    problem(await api.with_key(None).post("/v1/feedback", json=comparison()), 401, "unauthorized")


async def test_whoever_may_give_feedback_gives_it_for_any_annotator_with_that_ones_group(api: Api) -> None:
    ada, importer = await api.annotator("Ada", "nurses"), await api.client("feedback")
    rows = [comparison(annotator=ada), comparison(annotator=ada, group="doctors"), comparison()]
    await importer.post("/v1/feedback", json=rows)
    assert [(row["annotator"], row["group"]) for row in await page(api)] == [
        (ada, "nurses"),
        (ada, "doctors"),
        (None, None),
    ]


async def test_the_same_request_twice_is_one_label(api: Api) -> None:
    named = {"Idempotency-Key": "one"}
    first = await api.admin.post("/v1/feedback", json=comparison(), headers=named)
    again = await api.admin.post("/v1/feedback", json=comparison(), headers=named)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json() and again.headers["Idempotency-Replayed"] == "true"
    at_once = await asyncio.gather(
        *(api.admin.post("/v1/feedback", json=[comparison(), {}], headers={"Idempotency-Key": "two"}) for _ in range(8))
    )
    assert {response.status_code for response in at_once} == {207}
    assert len({str(response.json()) for response in at_once}) == 1
    assert len(await page(api)) == 2
    other = await api.admin.post("/v1/feedback", json=comparison("Another?"), headers=named)
    problem(other, 422, "idempotency_mismatch")


async def test_pages_follow_each_other_in_the_order_of_storing(api: Api) -> None:
    await api.admin.post("/v1/feedback", json=[comparison(f"Question {i}") for i in range(7)])
    seen, cursor = [], None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await api.admin.get("/v1/feedback", params=params)).json()
        seen.append([row["prompt"]["messages"][0]["content"][-1] for row in page["items"]])
        if (cursor := page["next"]) is None:
            break
    assert seen == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    for bad in ("?", "AAAA", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk"):
        problem(await api.admin.get("/v1/feedback", params={"cursor": bad}), 422, "invalid")


async def test_filters_choose(api: Api) -> None:
    ada = await api.annotator("Ada", "nurses")
    await give(api, comparison(annotator=ada))
    await give(api, comparison("Name a lake.", label=[1, 2]) | {"kind": "ranking", "source": "ai", "annotator": "j"})
    middle = now()
    await asyncio.sleep(0.01)
    await give(api, comparison("Name a hill."))

    async def chosen(**filters: Any) -> str:
        return "".join(row["prompt"]["messages"][0]["content"][7] for row in await page(api, **filters))

    assert await chosen() == "rlh"
    assert await chosen(kind="comparison") == "rh"
    assert await chosen(source="ai") == "l"
    assert await chosen(annotator=ada) == await chosen(group="nurses") == "r"
    assert await chosen(kind="comparison", annotator="j") == ""
    assert await chosen(since=middle.isoformat()) == "h"
    assert await chosen(until=middle.isoformat()) == "rl"
    assert await chosen(since=(middle + timedelta(days=400)).isoformat()) == ""
    assert await chosen(since="0001-01-01T00:00:00+14:00", until="9999-12-31T23:59:59-14:00") == "rlh"
    assert await chosen(project="x") == await chosen(job="x") == await chosen(item="x") == ""
    for bad in (
        {"since": "yesterday"},
        {"since": "0.5"},
        {"until": "2026-11-23"},
        {"kind": "x"},
        {"colour": "red"},
        {"limit": 0},
        {"limit": 501},
    ):
        problem(await api.admin.get("/v1/feedback", params=bad), 422, "invalid")


async def test_a_retracted_label_is_kept_and_marked(api: Api) -> None:
    ada, grace = await api.labeller("Ada"), await api.labeller("Grace")
    id = (await ada.post("/v1/feedback", json=comparison())).json()["id"]
    other = await give(api, comparison())
    problem(await grace.post(f"/v1/feedback/{id}/retract", json={"reason": "mine"}), 403, "forbidden")
    problem(await ada.post(f"/v1/feedback/{id}/retract", json={"reason": ""}), 422, "invalid")
    problem(await ada.post("/v1/feedback/nothing/retract", json={"reason": "gone"}), 404, "not_found")
    marked = (await ada.post(f"/v1/feedback/{id}/retract", json={"reason": "too fast"})).json()
    assert marked["retracted"]["reason"] == "too fast" and marked["label"]["choice"] == "first"
    again = (await ada.post(f"/v1/feedback/{id}/retract", json={"reason": "again"})).json()
    assert again == marked
    assert [row["id"] for row in await page(api, retracted=True)] == [id]
    assert [row["id"] for row in await page(api, retracted=False)] == [other]
    assert len(await page(api)) == 2
    entries = (await api.admin.get("/v1/audit", params={"action": "feedback.retracted"})).json()["items"]
    assert [entry["target"] for entry in entries] == [id]


@one_database
@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff", b'{"kind": "thumbs\\u0000"}', b'["\\ud800"]', b'{"kind": NaN}', b"[" * 100_000],
)
async def test_what_is_no_json_that_can_be_stored_is_refused(api: Api, body: bytes) -> None:
    response = await api.admin.post("/v1/feedback", content=body, headers={"Content-Type": "application/json"})
    problem(response, 400, "malformed")


async def test_numbers_beyond_measure_are_refused_by_their_row(api: Api) -> None:
    huge = 10**400
    rows = [
        comparison(label=[huge, 1]) | {"kind": "ranking"},
        comparison(label={"value": huge, "scale": {"min": 0, "max": 1}}) | {"kind": "rating"},
        comparison(label={"value": "up", "response": huge}) | {"kind": "thumbs"},
        comparison(),
    ]
    answer = (await api.admin.post("/v1/feedback", json=rows)).json()
    assert [id is None for id in answer["ids"]] == [True, True, True, False]


NAMES = ("kind", "source", "annotator", "group", "constitution", "project", "item", "job")


@pytest.mark.parametrize("name", [*NAMES, "since", "until", "nothing"])
async def test_every_filter_reads_an_index_from_where_the_page_before_ended(api: Api, name: str) -> None:
    value: Any = {"kind": "thumbs", "source": "ai", "since": now(), "until": now()}.get(name, "x")
    chosen = FeedbackFilter() if name == "nothing" else FeedbackFilter.model_validate({name: value})
    query = selected().where(*chosen.conditions(), feedback.c.seq > 3).order_by(feedback.c.seq).limit(50)
    plan = await _plan(api, query)
    assert "SCAN feedback" not in plan and "Seq Scan on feedback" not in plan, plan
    assert "TEMP B-TREE" not in plan and "Sort" not in plan, plan
    if name in NAMES:
        assert f"ix_feedback_{name}_seq" in plan, plan


async def test_retracted_labels_are_found_without_reading_the_others(api: Api) -> None:
    query = selected().where(retractions.c.seq.is_not(None), retractions.c.seq > 3).order_by(retractions.c.seq)
    plan = await _plan(api, query.limit(50))
    assert "SCAN feedback" not in plan and "Seq Scan on feedback" not in plan, plan
    assert "TEMP B-TREE" not in plan and "Sort" not in plan, plan


async def _plan(api: Api, query: Any) -> str:
    database = api.service.database
    sql = str(query.compile(database.engine.sync_engine, compile_kwargs={"literal_binds": True}))
    async with database.read() as connection:
        if not database.is_sqlite:  # an empty table is always read as a whole, unless that is forbidden
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        rows = (await connection.exec_driver_sql(f"{explain} {sql}")).all()
    return "\n".join(str(row[-1]) for row in rows)


async def test_a_request_that_was_good_is_answered_again_even_where_it_would_be_refused_now(api: Api) -> None:
    ada, named = await api.annotator("Ada"), {"Idempotency-Key": "k"}
    first = await api.admin.post("/v1/feedback", json=comparison(annotator=ada), headers=named)
    await api.admin.delete(f"/v1/annotators/{ada}")
    problem(await api.admin.post("/v1/feedback", json=comparison(annotator=ada)), 422, "invalid")
    again = await api.admin.post("/v1/feedback", json=comparison(annotator=ada), headers=named)
    assert (again.status_code, again.json()) == (201, first.json())


async def test_a_later_number_is_never_seen_before_an_earlier_one(api: Api) -> None:
    """Numbers are given before commits: a reader who saw 2 before 1, and went on from 2, would never see 1."""

    async def stored(text: str) -> Rows:
        one = await api.service.labels.read(comparison(text), Caller("k", "k", frozenset({"feedback"})))
        return labels.rows([one], labels.Origin())[1]

    first, second = await stored("first?"), await stored("second?")
    async with Database(api.service.settings.url) as other:
        async with other.transaction() as connection:
            await connection.run_sync(take_turn)
            for table in (items, feedback):
                await connection.execute(table.insert(), first[table])
            waiting = asyncio.create_task(api.service.database.insert(second))
            await asyncio.wait([waiting], timeout=0.3)
            assert not waiting.done() and await page(api) == []
        await waiting
    assert [row["prompt"]["messages"][0]["content"] for row in await page(api)] == ["first?", "second?"]


async def test_a_label_costs_the_database_nothing_but_its_own_rows(api: Api) -> None:
    ada, published = await api.annotator("Ada"), load("harmlessness").ref
    asked: list[str] = []
    event.listen(
        api.service.database.writer,
        "before_cursor_execute",
        lambda connection, cursor, statement, *_: asked.append(" ".join(statement.split()[:3])),
    )
    for number in range(2):
        asked.clear()
        row = comparison(f"{number}?", annotator=ada, constitution=published)
        response = await api.admin.post("/v1/feedback", json=row, headers={"Idempotency-Key": str(number)})
        assert response.status_code == 201
    order = "BEGIN IMMEDIATE" if api.service.database.is_sqlite else "SELECT pg_advisory_xact_lock(%(n)s::BIGINT)"
    assert asked[0].startswith(order.split("(")[0])
    assert sorted(asked[1:]) == ["INSERT INTO feedback", "INSERT INTO idempotency", "INSERT INTO items"]
