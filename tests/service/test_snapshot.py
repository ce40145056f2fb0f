"""Snapshots: a question to the database ends with who asked it, on both databases."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from service.bounds.lanes import Stop, Stopped
from service.labels.snapshot import Snapshots
from service.refusals import Refusal
from service.store.database import database_url as parsed

LONG = 3600.0  # seconds
ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i > 0) SELECT max(i % 7) FROM n")


@pytest.fixture
def snapshots(migrated_url: str) -> Iterator[Snapshots]:
    with closing(Snapshots(parsed(migrated_url))) as made:
        yield made


def begun(seconds: float) -> Stop:
    stop = Stop(seconds)
    stop.begin()
    return stop


def test_a_question_ends_where_nobody_waits_for_its_answer(snapshots: Snapshots) -> None:
    stop = begun(LONG)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped), snapshots.open(stop) as connection:
        connection.execute(ENDLESS)
    with snapshots.open() as connection:  # the connection is used again, and nothing of it is left
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_question_ends_with_its_time(snapshots: Snapshots) -> None:
    with pytest.raises(Refusal) as error, snapshots.open(begun(0.1)) as connection:
        connection.execute(ENDLESS)
    assert error.value.slug == "took_too_long"


def test_a_fault_of_the_question_stays_what_it_is(snapshots: Snapshots) -> None:
    with pytest.raises((OperationalError, ProgrammingError)), snapshots.open(begun(LONG)) as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))


async def test_what_reads_in_a_moment_does_so_in_a_thread_of_its_own(snapshots: Snapshots) -> None:
    here = threading.get_ident()
    assert await snapshots.read(lambda connection: threading.get_ident()) != here
    with pytest.raises(ZeroDivisionError):
        await snapshots.read(lambda connection: 1 / 0)
