"""Readiness: told within a second, of a database that hangs too; and how long ago workers were heard of."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store import pulse
from service.store.database import Database
from service.store.pulse import Pulse
from service.store.tables import now, workers
from tests.service.calls import Api, problem


async def test_a_server_says_that_it_is_ready_and_that_nobody_does_jobs(api: Api) -> None:
    answer = await api.with_key(None).get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "workers": 0, "heartbeat_age": None})


async def test_a_database_that_hangs_is_told_of_at_once_and_asked_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, goes_on = 0, asyncio.Event()
    read = Database.read

    @asynccontextmanager
    async def hanging(self: Database) -> AsyncIterator[AsyncConnection]:
        nonlocal asked
        asked += 1
        await goes_on.wait()
        async with read(self) as connection:
            yield connection

    await _first_look(api)
    monkeypatch.setattr(Database, "read", hanging)
    monkeypatch.setattr(pulse, "ANSWER_SECONDS", 0.01)
    for _ in range(3):
        told = problem(await api.with_key(None).get("/readyz"), 503, "database_unavailable")
        assert told["detail"] == "the database does not answer"
    assert asked == 1
    assert (await api.with_key(None).get("/healthz")).status_code == 200
    goes_on.set()
    monkeypatch.setattr(pulse, "ANSWER_SECONDS", 30)
    assert (await api.with_key(None).get("/readyz")).status_code == 200


def test_a_hanging_database_is_told_of_within_a_second() -> None:
    assert pulse.ANSWER_SECONDS < 1


async def test_a_database_that_is_away_is_told_of(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def away(self: Database) -> AsyncIterator[AsyncConnection]:
        raise OSError("no route")
        yield

    await _first_look(api)
    monkeypatch.setattr(Database, "read", away)
    problem(await api.with_key(None).get("/readyz"), 503, "database_unavailable")


async def test_how_long_a_worker_was_silent_counts_from_its_last_beat(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "ANSWER_SECONDS", 30)
    at, clock = 1000.0, now()
    monkeypatch.setattr(time, "monotonic", lambda: at)
    row = {"id": "one", "host": "h", "started_at": clock, "seen_at": clock}
    async with Database(migrated_url) as database:
        await database.insert({workers: [row, row | {"id": "two"}]})
        looks = Pulse(database, 5.0)
        assert looks.age() is None
        assert await looks.answers() and (looks.workers, looks.age()) == (2, 0)
        at += 7
        await _beats(database, "two", clock - timedelta(days=1))  # its clock went back, and it lives
        assert await looks.answers() and (looks.workers, looks.age()) == (2, 7)
        await _beats(database, "one", clock + timedelta(seconds=1))
        at += 2
        assert await looks.answers()
        assert looks.age() == 2


async def test_figures_say_how_old_the_heartbeat_is(api: Api) -> None:
    row = {"id": "one", "host": "h", "started_at": now(), "seen_at": now()}
    await api.service.database.insert({workers: [row]})
    while api.service.pulse.workers == 0:  # a look may be under way that began before
        assert await api.service.pulse.answers()
    before = await _figure(api, "cai_worker_heartbeat_age_seconds")
    await asyncio.sleep(0.02)
    assert await _figure(api, "cai_worker_heartbeat_age_seconds") >= before + 0.02
    assert await _figure(api, "cai_workers") == 1
    ready = (await api.with_key(None).get("/readyz")).json()
    assert ready["workers"] == 1 and ready["heartbeat_age"] > 0


async def _first_look(api: Api) -> None:
    """Return when the look that every server begins with is over."""
    while (await api.with_key(None).get("/readyz")).status_code != 200:
        pass


async def _figure(api: Api, name: str) -> float:
    text = (await api.with_key(None).get("/metrics")).text
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def _beats(database: Database, id: str, seen_at: object) -> None:
    async with database.transaction() as connection:
        await connection.execute(update(workers).where(workers.c.id == id).values(seen_at=seen_at))
