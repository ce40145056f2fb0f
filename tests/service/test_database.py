"""Group commits, on both databases."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, event, func, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from base.errors import InputError
from service.store import connecting, migrations
from service.store.database import Database, Locked, is_of_database
from service.store.tables import annotators, items, now


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    async with Database(migrated_url) as opened:
        yield opened


def annotator(id: str, name: str) -> dict[str, object]:
    return {"id": id, "name": name, "group": None, "attributes": {}, "created_at": now(), "erased_at": None}


def item(id: str) -> dict[str, object]:
    return {"id": id, "prompt": {"messages": []}, "responses": []}


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(select(annotators.c.name).order_by(annotators.c.name))).scalars())


async def test_what_arrives_together_is_committed_together_and_its_fault_is_its_own(database: Database) -> None:
    await database.insert({annotators: [annotator("1", "Ada")]})
    asked = [database.insert({annotators: [annotator(f"n{i}", f"name {i}")]}) for i in range(20)]
    twice = database.insert({annotators: [annotator("new", "Grace"), annotator("1", "Ada again")]})
    results = await asyncio.gather(*asked[:10], twice, *asked[10:], return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 10 + [IntegrityError] + [type(None)] * 10
    assert await names(database) == sorted(["Ada", *(f"name {i}" for i in range(20))])  # and no Grace


async def test_content_that_is_there_is_stored_once_by_any_number_of_callers(database: Database) -> None:
    await asyncio.gather(*(database.insert({items: [item("a"), item("b")]}) for _ in range(10)))
    await database.insert({items: [item("b"), item("c")]})
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(items))).scalar_one() == 3


async def test_a_caller_who_goes_away_costs_no_one_else_anything(database: Database) -> None:
    gone = asyncio.create_task(database.insert({annotators: [annotator("1", "gone")]}))
    stays = asyncio.create_task(database.insert({annotators: [annotator("2", "stays")]}))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert await names(database) == ["gone", "stays"]


async def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.transaction() as connection:
            await connection.execute(annotators.insert(), annotator("1", "Ada"))
            raise RuntimeError("no")
    assert await names(database) == []


async def test_many_transactions_that_look_before_they_write_take_turns(database: Database) -> None:
    async def one(number: int) -> None:
        async with database.transaction() as connection:
            if number % 2:
                await connection.execute(select(func.count()).select_from(annotators))
            await connection.execute(annotators.insert(), annotator(str(number), f"{number:02}"))

    await asyncio.gather(*(one(number) for number in range(20)))
    assert len(await names(database)) == 20


async def test_changes_see_those_before_them_and_each_fault_is_its_own(database: Database) -> None:
    def counted(connection: Connection, number: int) -> int:
        before = connection.execute(select(func.count()).select_from(annotators)).scalar_one()
        connection.execute(annotators.insert(), annotator(f"c{number}", f"c{number:02}"))
        if number == 7:
            raise ValueError("a rule")
        return int(before)

    changes = [database.change(partial(counted, number=number)) for number in range(20)]
    seen = await asyncio.gather(*changes, return_exceptions=True)
    assert [type(one) for one in seen] == [int] * 7 + [ValueError] + [int] * 12
    if database.is_sqlite:  # one writer does one after the other; what the eighth had begun was taken back
        assert [one for one in seen if isinstance(one, int)] == list(range(19))
    assert await names(database) == [f"c{number:02}" for number in range(20) if number != 7]


async def test_a_change_whose_group_is_taken_apart_is_stored_once(database: Database) -> None:
    await database.insert({annotators: [annotator("1", "Ada")]})

    def change(connection: Connection) -> str:
        connection.execute(annotators.insert(), annotator("2", "Grace"))
        return "done"

    first = asyncio.create_task(database.insert({annotators: [annotator("3", "Kay")]}))  # keeps the writer at work
    await asyncio.sleep(0)
    together = [database.change(change), database.insert({annotators: [annotator("1", "Ada again")]})]
    results = await asyncio.gather(*together, return_exceptions=True)
    await first
    assert results[0] == "done" and isinstance(results[1], IntegrityError)
    assert await names(database) == ["Ada", "Grace", "Kay"]


async def test_changes_that_wait_are_one_commit_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'cai.db'}"
    await migrations.upgrade(url)
    commits: list[object] = []
    async with Database(url) as database:
        event.listen(database.writer, "commit", commits.append)

        def made(connection: Connection, number: int) -> None:
            connection.execute(annotators.insert(), annotator(f"n{number}", f"n{number}"))

        await asyncio.gather(*(database.change(partial(made, number=number)) for number in range(50)))
    assert len(commits) <= 2


@pytest.mark.parametrize("url", ["", "cai.db", "mysql://host/name", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_can_not_be_used_is_refused(url: str) -> None:
    with pytest.raises(InputError) as error:
        Database(url)
    assert "sqlite:///FILE" in str(error.value)


async def test_a_locked_sqlite_is_waited_for_once_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "BUSY_SECONDS", 0.5)
    asked: list[str] = []
    async with Database(f"sqlite:///{tmp_path / 'cai.db'}") as database:
        await migrations.upgrade(f"sqlite:///{tmp_path / 'cai.db'}")
        for engine in (database.engine.sync_engine, database.writer):
            event.listen(engine, "handle_error", lambda context: asked.append(context.statement))
        await database.insert({annotators: [annotator("0", "before")]})

        async def looks(number: int) -> None:
            async with database.transaction() as connection:
                await connection.execute(annotators.insert(), annotator(f"t{number}", f"t{number}"))

        with sqlite3.connect(tmp_path / "cai.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = [asyncio.create_task(looks(number)) for number in range(5)]
            waiting += [
                asyncio.create_task(database.insert({annotators: [annotator(f"i{number}", f"i{number}")]}))
                for number in range(5)
            ]
            results = await asyncio.gather(*waiting, return_exceptions=True)
            other.execute("ROLLBACK")
        other.close()
        assert {type(result) for result in results} == {Locked}
        assert len(set(map(id, results))) >= 6  # what is raised in several places is not one exception
        assert asked == ["BEGIN IMMEDIATE"]
        await asyncio.gather(looks(6), database.insert({annotators: [annotator("7", "after")]}))
        assert await names(database) == ["after", "before", "t6"]


async def test_a_fault_of_the_database_takes_no_group_apart(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []

    def full(self: Database, connection: object, group: Sequence[object]) -> None:
        groups.append(len(group))
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(Database, "_store", full)
        asked = [database.insert({annotators: [annotator(f"n{i}", f"name {i}")]}) for i in range(20)]
        results = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(result) for result in results} == {OperationalError}
    assert groups == [20]
    assert await names(database) == []


async def test_many_rows_at_fault_cost_two_commits_and_the_others_are_stored(database: Database) -> None:
    await database.insert({annotators: [annotator("1", "Ada")]})
    commits = 0

    def counted(_: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(database.writer, "commit", counted)
    asked = [
        database.insert({annotators: [annotator("1" if i % 3 == 0 else f"n{i}", f"name {i:02}")]}) for i in range(30)
    ]
    results = await asyncio.gather(*asked, return_exceptions=True)
    expected = [i % 3 == 0 for i in range(30)]
    assert [isinstance(result, IntegrityError) for result in results] == expected
    assert len(await names(database)) == 21
    assert commits == 1


@pytest.mark.parametrize(
    ("error", "of_database"),
    [
        (OperationalError("", {}, sqlite3.OperationalError("database is locked")), True),
        (OperationalError("", {}, sqlite3.OperationalError("disk I/O error")), True),
        (NoConnection("the pool has none left"), True),
        (OSError("no route"), True),
        (OperationalError("", {}, psycopg.errors.ProgramLimitExceeded("index row size exceeds")), False),
        (OperationalError("", {}, psycopg.errors.DiskFull("could not extend file")), True),
        (IntegrityError("", {}, sqlite3.IntegrityError("UNIQUE constraint failed")), False),
        (OverflowError("Python int too large to convert to SQLite INTEGER"), False),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), False),
    ],
)
def test_whose_fault_it_is(error: Exception, of_database: bool) -> None:
    assert is_of_database(error) == of_database
