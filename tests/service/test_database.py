"""Group commits, on both databases."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from constitution.errors import InputError
from service import migrations
from service.database import Database
from service.tables import annotators, items, now


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await migrations.upgrade(database_url)
    async with Database(database_url) as opened:
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


@pytest.mark.parametrize("url", ["", "cai.db", "mysql://host/name", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_can_not_be_used_is_refused(url: str) -> None:
    with pytest.raises(InputError) as error:
        Database(url)
    assert "sqlite:///FILE" in str(error.value)
