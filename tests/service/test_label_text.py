"""Labels as text: what the database puts together is what the records say, on both databases."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from service.bounds.text_bounds import TextBounds
from service.keys.auth import Caller
from service.labels import label_text
from service.labels.label_query import FeedbackFilter, StoredFeedback, selected, stored
from service.labels.labels import Labels, Origin, rows
from service.store.constitutions import Constitutions
from service.store.database import Database
from service.store.tables import annotators, feedback, now, retractions

ODD = 'Quotes " and \\ slashes,\nlines\u2028, tabs\t, é, 河, 🌊 and {braces}: 100 %'
BOUNDS = TextBounds(2**20, 2**21)


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    async with Database(migrated_url) as opened:
        yield opened


async def give(database: Database, *asked: dict[str, Any], origin: Origin | None = None) -> list[str]:
    """Store labels; return their ids."""
    async with Constitutions(database) as constitutions:
        labels, caller = Labels(database, constitutions, BOUNDS), Caller("k", "k", frozenset({"admin"}))
        given = [await labels.read(one, caller) for one in asked]
    ids, by_table = rows(given, origin or Origin())
    await database.insert(by_table)
    return ids


def label(text: str, **more: Any) -> dict[str, Any]:
    return {"kind": "comparison", "prompt": text, "responses": ["The Po.", ODD], "label": "first"} | more


async def records(database: Database) -> list[dict[str, Any]]:
    """All labels as records write them, without the defaults that are not stored."""
    async with database.read() as connection:
        selected_rows = (await connection.execute(selected().order_by(feedback.c.seq))).mappings().all()
    models = [stored(row) for row in selected_rows]
    short = [model.label.model_dump(mode="json", exclude_defaults=True) for model in models]
    return [model.model_dump(mode="json") | {"label": one} for model, one in zip(models, short, strict=True)]


async def test_the_text_says_what_the_records_say(database: Database) -> None:
    ada = {"id": "ada", "name": "Ada", "group": ODD, "attributes": {}, "created_at": now(), "erased_at": None}
    await database.insert({annotators: [ada]})
    origin = Origin("k", project="p", task="t", job=None, shown=[1, 0])
    await give(database, label(ODD, annotator="ada"), label("plain", source="ai", annotator=ODD), origin=origin)
    ids = await give(database, label("second"), {"kind": "critique", "prompt": "a", "responses": ["b"], "label": ODD})
    withdrawn = {"seq": 3, "reason": ODD, "key": None, "at": datetime(2026, 11, 28, 1, 2, 3, 4, UTC)}
    await database.insert({retractions: [withdrawn]})
    async with database.transaction() as connection:
        whole = datetime(2026, 1, 2, 3, 4, 5, 0, UTC)
        await connection.execute(update(feedback).where(feedback.c.seq == 4).values(created_at=whole))
    async with database.read() as connection:
        page = await connection.run_sync(label_text.page, [], after=0, limit=500)
        one = await connection.run_sync(label_text.one, ids[0])
        assert await connection.run_sync(label_text.one, "nobody") is None
    texts, expected = json.loads(page.items), await records(database)
    assert page.last is None and len(texts) == 4
    for text, record in zip(texts, expected, strict=True):
        assert _times_apart(text) == _times_apart(record)
        assert StoredFeedback.model_validate({k: v for k, v in text.items() if k != "item"}).item == text["item"]
    assert set(texts[0]) == {*StoredFeedback.model_fields, *StoredFeedback.model_computed_fields}
    assert one is not None and json.loads(one) == texts[2]
    at = "2026-11-28T01:02:03.000004Z"
    assert texts[2]["retracted"] == {"reason": ODD, "replaced_by": None, "at": at}
    assert texts[3]["created_at"] == "2026-01-02T03:04:05.000000Z"


def _times_apart(record: dict[str, Any]) -> tuple[dict[str, Any], datetime]:
    """A time may be written with or without a fraction of zero."""
    return {k: v for k, v in record.items() if k != "created_at"}, datetime.fromisoformat(record["created_at"])


async def test_a_page_ends_by_number_and_the_next_begins_there(database: Database) -> None:
    await give(database, *(label(str(number)) for number in range(5)))
    seen: list[str] = []
    after, pages = 0, 0
    async with database.read() as connection:
        while True:
            page = await connection.run_sync(label_text.page, [], after=after, limit=2)
            seen += [one["prompt"]["messages"][0]["content"] for one in json.loads(page.items)]
            pages += 1
            if page.last is None:
                break
            after = page.last
        assert (await connection.run_sync(label_text.page, [], after=5, limit=2)) == label_text.LabelPage("[]", None)
        exact = await connection.run_sync(label_text.page, [], after=0, limit=5)
    assert (seen, pages) == (["0", "1", "2", "3", "4"], 3)
    assert exact.last is None


async def test_a_page_ends_by_bytes_and_has_one_label_at_least(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "河" * 1000  # 3,000 bytes, and 1,000 characters
    await give(database, label("a" + long), label("b" + long), label("c" + long), label("d"))
    monkeypatch.setattr(label_text, "PAGE_BYTES", 7500)
    sizes, after = [], 0
    async with database.read() as connection:
        while True:
            page = await connection.run_sync(label_text.page, [], after=after, limit=500)
            sizes.append(len(json.loads(page.items)))
            if page.last is None:
                break
            after = page.last
        assert sizes == [2, 2]
        monkeypatch.setattr(label_text, "PAGE_BYTES", 10)
        assert len(json.loads((await connection.run_sync(label_text.page, [], after=0, limit=500)).items)) == 1


async def test_filters_and_retracted_labels(database: Database) -> None:
    await give(database, label("a"), label("b", group="g"), label("c"), label("d", group="g"))
    await database.insert({retractions: [{"seq": n, "reason": "r", "key": None, "at": now()} for n in (2, 3)]})
    wanted = [
        ({}, None, 0, "abcd"),
        ({}, True, 0, "bc"),
        ({}, False, 0, "ad"),
        ({"group": "g"}, None, 0, "bd"),
        ({"group": "g"}, True, 0, "b"),
        ({}, True, 2, "c"),
    ]
    async with database.read() as connection:
        for filters, retracted, after, expected in wanted:
            conditions = FeedbackFilter.model_validate(filters).conditions()
            page = await connection.run_sync(label_text.page, conditions, after=after, limit=9, retracted=retracted)
            contents = [one["prompt"]["messages"][0]["content"] for one in json.loads(page.items)]
            assert contents == list(expected), (filters, retracted)
