"""Equal requests at once: one at a time within a server, 409 where another server is at it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.problems import STATUS
from service.refusals import Refusal
from service.store.database import Database
from service.store.repeats.under_way import SUFFIX, RequestsUnderWay, _number
from tests.service.conftest import Postgres

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


async def test_equal_requests_follow_each_other_and_others_do_not_wait(migrated_url: str) -> None:
    seen: list[str] = []
    async with Database(migrated_url) as database, RequestsUnderWay(database) as under_way:
        begun = asyncio.Event()

        async def first() -> None:
            async with under_way.alone("key", "name"):
                begun.set()
                async with under_way.alone("key", "another"), under_way.alone("another", "name"):
                    seen.append("others")
                await asyncio.sleep(0.05)
                seen.append("first")

        async def second() -> None:
            await begun.wait()
            async with under_way.alone("key", "name"):
                seen.append("second")

        await asyncio.gather(first(), second())
    assert seen == ["others", "first", "second"]


async def test_of_two_servers_on_postgres_the_second_hears_when_to_come_again(postgres_url: str) -> None:
    async with (
        Database(postgres_url) as database,
        Database(postgres_url) as other,
        RequestsUnderWay(database) as here,
        RequestsUnderWay(other) as there,
    ):
        async with here.alone("key", "name"):
            await _is_refused(there)
        async with there.alone("key", "name"):
            pass


async def test_beside_sqlite_a_lock_is_its_process_s_and_ends_with_it(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'cai.db'}") as database, RequestsUnderWay(database) as under_way:
        async with under_way.alone("key", "name"):
            pass
        file = tmp_path / f"cai.db{SUFFIX}"
        assert file.stat().st_mode & 0o777 == 0o600
        command = [sys.executable, "-c", HOLDER, str(file), str(_number("key", "name"))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
            await _is_refused(under_way)
            async with under_way.alone("key", "another"):
                pass
            holder.kill()
        async with under_way.alone("key", "name"):
            pass


async def test_a_request_that_failed_leaves_the_next_its_turn(migrated_url: str) -> None:
    async with Database(migrated_url) as database, RequestsUnderWay(database) as under_way:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                async with under_way.alone("key", "name"):
                    raise RuntimeError("no")


async def test_a_connection_that_broke_is_made_anew(postgres_url: str) -> None:
    async with Database(postgres_url) as database, RequestsUnderWay(database) as under_way:
        async with under_way.alone("key", "name"):
            pass
        async with database.transaction() as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            await connection.execute(text(f"{others} AND datname = current_database()"))
        with pytest.raises(DBAPIError):
            async with under_way.alone("key", "name"):
                pytest.fail("without its lock")
        async with under_way.alone("key", "name"):
            pass


async def _is_refused(under_way: RequestsUnderWay) -> None:
    with pytest.raises(Refusal) as problem:
        async with under_way.alone("key", "name"):
            pytest.fail("both are at it")
    assert STATUS[type(problem.value)] == 409
    assert problem.value.retry_after == 1
