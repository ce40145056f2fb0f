"""The ledger in the service's database, on both kinds: the contract of all ledgers, and the fence around a job."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from critic.records import Quarantined
from service.jobs.work.ledger import JobStore, Moved, connect, patiently, transact
from service.store import migrations
from service.store.database import database_url as parsed
from service.store.tables import job_events, jobs, now
from tests.contracts.test_ledger import (
    KEY,
    OTHER,
    test_a_cancelled_wait_leaves_the_claim_alone,
    test_many_commits_at_once,
    test_one_claim_a_key_until_it_is_settled,
    test_the_first_answer_stands,
    test_what_was_committed_is_there,
)
from tests.factories import judgement, row

__all__ = [
    "test_a_cancelled_wait_leaves_the_claim_alone",
    "test_many_commits_at_once",
    "test_one_claim_a_key_until_it_is_settled",
    "test_the_first_answer_stands",
    "test_what_was_committed_is_there",
]

JOB = "job-1"


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    engine = connect(parsed(migrated_url))
    values = {"id": JOB, "kind": "generate", "request": {}, "state": "running", "attempt": 1, "epoch": 3}
    values |= {"progress": {}, "created_at": now()}
    transact(engine, lambda connection: connection.execute(insert(jobs).values(values)))
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Iterator[JobStore]:
    store = JobStore(engine, JOB, 3)
    yield store
    store.close()


async def test_costs_add_up_and_are_there_for_the_next_worker(ledger: JobStore, engine: Engine) -> None:
    await ledger.commit(KEY, ["answer"], 0.5)
    await ledger.commit(OTHER, ["answer"], 0.25)
    await ledger.commit(OTHER, ["the same, paid again"], 0.25)
    next_one = JobStore(engine, JOB, 3)
    assert (next_one.cost(), next_one.calls(), next_one.get(OTHER)) == (1.0, 2, ["answer"])
    next_one.close()


async def test_rows_come_back_in_order_whatever_order_they_ended_in(ledger: JobStore) -> None:
    preferred = row(1, judgements=[judgement((), 0.9)])
    await ledger.finish(row(450), "item-450", "plan")
    await ledger.finish(preferred, "item-1", "plan")
    await ledger.finish(Quarantined(row=2, where="w", reason="too_long", detail="d"), "item-2", "plan")
    await asyncio.gather(*(ledger.finish(row(number), f"item-{number}", "plan") for number in range(3, 450)))
    rows = list(ledger.rows())
    assert [one.row for one in rows] == [1, *range(3, 451)] and rows[0] == preferred
    assert [one.row for one in ledger.quarantined()] == [2]
    assert ledger.counts(0, 1000) == {"rows": 449, "quarantined": 1, "pairs": 1}
    assert ledger.counts(2, 3) == {"rows": 1, "quarantined": 1, "pairs": 0}
    assert ledger.is_done(1, "item-1", "plan") and not ledger.is_done(2, "item-2", "plan")
    assert not ledger.is_done(1, "item-1", "another plan") and not ledger.is_done(1, "another item", "plan")
    await ledger.finish(row(2), "item-2", "plan")
    await ledger.trim(3)
    assert [one.row for one in ledger.rows()] == [1, 2] and not list(ledger.quarantined())


async def test_a_worker_that_lost_its_job_can_store_nothing(ledger: JobStore, engine: Engine) -> None:
    await ledger.commit(KEY, ["answer"], 0.0)
    transact(engine, lambda connection: connection.execute(update(jobs).values(epoch=jobs.c.epoch + 1)))
    with pytest.raises(Moved):
        await ledger.commit(OTHER, ["late"], 0.0)
    with pytest.raises(Moved):
        await ledger.finish(row(0), "item", "plan")
    with pytest.raises(Moved):
        ledger.set(state="done")
    with pytest.raises(Moved):
        ledger.tell("done")
    assert ledger.get(OTHER) is None and not list(ledger.rows())
    with engine.connect() as connection:
        assert connection.execute(select(jobs.c.state)).scalar_one() == "running"
        assert not connection.execute(select(job_events.c.seq)).all()


async def test_a_batch_is_stored_whole_or_not_at_all(ledger: JobStore, engine: Engine) -> None:
    def broken(connection: object) -> None:
        raise IntegrityError("on purpose", {}, Exception())

    good = asyncio.create_task(ledger.commit(KEY, ["answer"], 0.0))
    bad = asyncio.create_task(ledger.write(broken))
    outcomes = await asyncio.gather(good, bad, return_exceptions=True)
    assert isinstance(outcomes[1], IntegrityError)
    assert (ledger.get(KEY) is None) == isinstance(outcomes[0], IntegrityError)


async def test_what_a_job_is_can_not_change_under_it(ledger: JobStore, engine: Engine) -> None:
    from tests.factories import provenance

    assert ledger.agree({"seed": 1, "judge": {"name": "a"}}, provenance()) == []
    again = JobStore(engine, JOB, 3)
    assert again.agree({"seed": 1, "judge": {"name": "a"}}, provenance()) == []
    assert again.agree({"seed": 2, "judge": {"name": "a"}}, provenance()) == ["seed: 1 before, 2 now"]
    assert again.config()["seed"] == 2 and again.provenance() == provenance()
    again.close()


async def test_answers_wait_while_another_process_writes(tmp_path: Path) -> None:
    """The database is away for a while: here, somebody else has all of it."""
    url = parsed(f"sqlite:///{tmp_path / 'cai.db'}")
    migrations._upgrade(url, "head")
    engine = connect(url)
    values = {"id": JOB, "kind": "generate", "request": {}, "state": "running", "attempt": 1, "epoch": 3}
    transact(engine, lambda c: c.execute(insert(jobs).values(values | {"progress": {}, "created_at": now()})))
    store = JobStore(engine, JOB, 3)
    with engine.begin():  # takes the only writer's place
        waiting = asyncio.create_task(store.commit(KEY, ["answer"], 0.0))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 600)
    assert store.get(KEY) == ["answer"]
    store.close()
    engine.dispose()


def test_patience_ends_where_nobody_wants_to_know() -> None:
    asked = 0

    def away() -> None:
        nonlocal asked
        asked += 1
        raise OperationalError("SELECT 1", {}, Exception("the server is gone"))

    given_up = threading.Event()
    threading.Timer(0.2, given_up.set).start()
    with pytest.raises(OperationalError):
        patiently(away, given_up)
    assert asked > 2


def test_a_fault_of_ours_is_not_waited_for() -> None:
    def broken() -> None:
        raise IntegrityError("INSERT", {}, Exception("twice"))

    with pytest.raises(IntegrityError):
        patiently(broken)
