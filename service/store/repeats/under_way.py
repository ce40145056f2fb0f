"""Equal requests at once: the first is worked on, the others wait for it, and are answered as it was.

So what costs an engine's calls is paid once, however quickly a client repeats itself. Within one server an equal
request waits. Of several servers with one database the second hears 409 with ``Retry-After``: the first holds a lock of
the database's, or of the file system's beside SQLite, which ends with its process.
"""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.refusals import Conflict
from service.store.database import Database

RETRY_SECONDS = 1
SUFFIX = "-under-way"  # of the file of locks, beside SQLite's own


class Locks(Protocol):
    """Locks by number that no other server has."""

    async def take(self, number: int) -> bool:
        """Take a lock, or return False where another server has it."""

    async def free(self, number: int) -> None:
        """Give a lock back."""

    async def close(self) -> None:
        """Give all back."""


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class RequestsUnderWay:
    """The named requests that this server works on now."""

    def __init__(self, database: Database) -> None:
        self._locks: Locks = FileLocks(database) if database.is_sqlite else PostgresLocks(database)
        self._turns: dict[int, _Turn] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._locks.close()

    @asynccontextmanager
    async def alone(self, key: str, name: str) -> AsyncIterator[None]:
        """Nobody else works on the request ``name`` of the API key ``key``. Raises `Conflict`."""
        number = _number(key, name)
        turn = self._turns.setdefault(number, _Turn())
        turn.users += 1
        try:
            async with turn.lock, self._claimed(number, name):
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[number]

    @asynccontextmanager
    async def _claimed(self, number: int, name: str) -> AsyncIterator[None]:
        if not await self._locks.take(number):
            detail = f"the request with the Idempotency-Key {name!r} is under way at another server"
            fix = "Send it again in a moment: it is answered as that is."
            raise Conflict(detail, fix, slug="under_way", retry_after=RETRY_SECONDS)
        try:
            yield
        finally:
            await self._locks.free(number)


class FileLocks:
    """Locks of one byte each in a file beside SQLite's; servers that share it are on one machine."""

    def __init__(self, database: Database) -> None:
        self._path = f"{database.url.database}{SUFFIX}"
        self._file: int | None = None

    async def take(self, number: int) -> bool:
        """See `Locks.take`."""
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):
            return False
        return True

    async def free(self, number: int) -> None:
        """See `Locks.free`."""
        assert self._file is not None
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    async def close(self) -> None:
        """See `Locks.close`."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class PostgresLocks:
    """PostgreSQL's advisory locks, all held by one connection: they end with it.

    Where it broke, what is under way goes on without its locks. Then an equal request may be worked on twice; stored
    and answered it still is once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def take(self, number: int) -> bool:
        """See `Locks.take`."""
        async with self._turn:
            return bool(await self._ask("pg_try_advisory_lock", number))

    async def free(self, number: int) -> None:
        """See `Locks.free`."""
        async with self._turn:
            await self._ask("pg_advisory_unlock", number)

    async def close(self) -> None:
        """See `Locks.close`."""
        if self._connection is not None:
            await self._connection.invalidate()  # not into the pool, with its locks
            await self._connection.close()
            self._connection = None

    async def _ask(self, function: str, number: int) -> object:
        if self._connection is None:
            connection = await self._database.engine.connect()
            self._connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            return (await self._connection.execute(text(f"SELECT {function}(:n)"), {"n": number})).scalar_one()
        except DBAPIError:
            await self.close()
            raise


def _number(key: str, name: str) -> int:
    """A place in a file, and the number of an advisory lock: 62 bits."""
    return int.from_bytes(hashlib.sha256(f"{key}\n{name}".encode()).digest()[:8], "big") >> 2
