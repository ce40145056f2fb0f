"""Keys: nothing but the key itself opens a door, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import event, select, update

from service.keys import auth
from service.keys.auth import Caller, Keys, new_key, require
from service.problems import STATUS, of
from service.refusals import Refusal
from service.settings import Settings
from service.store.database import Database
from service.store.tables import keys, now


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    async with Database(migrated_url) as opened:
        yield opened


async def refused(looked_up: Keys, text: str | None) -> str:
    with pytest.raises(Refusal) as error:
        await looked_up.caller(text)
    assert STATUS[type(error.value)] == 401
    assert of(error.value).headers == {"WWW-Authenticate": "Bearer"}
    return error.value.detail


async def test_a_key_opens_and_nothing_near_it_does(database: Database) -> None:
    made, other = new_key("ada", ["label"]), new_key("grace", ["admin"])
    await database.insert({keys: [made.row, other.row]})
    looked_up = Keys(database)
    assert await looked_up.caller(made.text) == Caller(made.id, "ada", frozenset({"label"}))
    assert await refused(looked_up, None) == "no API key"
    assert "no API key of this service" in await refused(looked_up, "Bearer")
    assert await refused(looked_up, made.text[:-1]) == "the API key is wrong"
    assert await refused(looked_up, made.text.replace(made.id, other.id)) == "the API key is wrong"
    assert await refused(looked_up, made.text.replace(made.id, "000000000000")) == "the API key is wrong"


async def test_the_database_never_holds_a_key(database: Database) -> None:
    made = new_key("ada", ["label"])
    await database.insert({keys: [made.row]})
    secret = made.text.split("_", 2)[2]
    async with database.read() as connection:
        row = (await connection.execute(select(keys))).one()
    assert secret not in str(tuple(row))


async def test_an_expired_key_is_refused_even_while_it_is_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_key("ada", ["label"], expires_at=now() + timedelta(hours=1))
    await database.insert({keys: [made.row]})
    looked_up = Keys(database)
    assert (await looked_up.caller(made.text)).name == "ada"
    later = now() + timedelta(hours=2)
    monkeypatch.setattr(auth, "now", lambda: later)
    assert "expired at" in await refused(looked_up, made.text)


async def test_a_revoked_key_is_refused_once_it_is_looked_up_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_key("ada", ["label"])
    await database.insert({keys: [made.row]})
    looked_up = Keys(database)
    await looked_up.caller(made.text)
    async with database.transaction() as connection:
        await connection.execute(update(keys).values(revoked_at=now()))
    monkeypatch.setattr("service.keys.auth.time.monotonic", lambda: 1e9)
    assert await refused(looked_up, made.text) == "the API key was revoked"


def test_scopes() -> None:
    labeller = Caller("1", "ada", frozenset({"label"}))
    require(labeller, ["feedback", "label"])
    with pytest.raises(Refusal, match="lacks the scope feedback or jobs") as error:
        require(labeller, ["feedback", "jobs"])
    assert STATUS[type(error.value)] == 403
    require(Caller("2", "root", frozenset({"admin"})), ["jobs"])


async def test_only_a_service_without_keys_tells_its_first_one(database_url: str, tmp_path: object) -> None:
    from service.keys.first_key import first_key

    settings = Settings.read(None, database=database_url, data=tmp_path)
    first = await first_key(settings)
    assert first is not None
    assert await first_key(settings) is None
    async with Database(database_url) as opened:
        assert (await Keys(opened).caller(first)).may("jobs")


def counted_looks(database: Database) -> list[str]:
    """The questions that the database is asked, as they come."""
    asked: list[str] = []
    event.listen(
        database.reader,
        "before_cursor_execute",
        lambda connection, cursor, statement, *_: asked.append(statement) if "FROM keys" in statement else None,
    )
    return asked


async def test_all_who_come_at_once_with_a_key_share_one_look_for_it(database: Database) -> None:
    made = new_key("ada", ["label"])
    await database.insert({keys: [made.row]})
    known, asked = Keys(database), counted_looks(database)
    callers = await asyncio.gather(*(known.caller(made.text) for _ in range(64)))
    assert callers == [Caller(made.id, "ada", frozenset({"label"}))] * 64
    assert len(asked) == 1
    strangers = (known.caller(f"cai_000000000000_{'x' * number}") for number in range(1, 30))
    refusals = await asyncio.gather(*strangers, return_exceptions=True)
    assert len(set(map(id, refusals))) == 29  # what is raised in several places is not one exception
    assert {error.detail for error in refusals if isinstance(error, Refusal)} == {"the API key is wrong"}
    assert len(asked) == 2


async def test_who_goes_away_ends_no_look_that_others_wait_for(database: Database) -> None:
    made = new_key("ada", ["label"])
    await database.insert({keys: [made.row]})
    known = Keys(database)
    gone, stays = asyncio.create_task(known.caller(made.text)), asyncio.create_task(known.caller(made.text))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).name == "ada"


async def test_what_was_looked_up_before_a_key_was_changed_is_not_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_key("ada", ["label"])
    await database.insert({keys: [made.row]})
    known, going = Keys(database), asyncio.Event()
    ask = Keys._ask

    async def slowly(self: Keys, id: str) -> object:
        answer = await ask(self, id)
        await going.wait()
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(Keys, "_ask", slowly)
        early = asyncio.create_task(known.caller(made.text))
        await asyncio.sleep(0.05)
        async with database.transaction() as connection:
            await connection.execute(update(keys).values(revoked_at=now()))
        known.forget(made.id)
        going.set()
        await early
    assert await refused(known, made.text) == "the API key was revoked"
