"""The store: one SQLAlchemy engine, reads at any time, and inserts that are committed in groups.

An insert is durable when its caller goes on. While one commit is under way, what arrives waits and goes together into
the next: so that labels a second are not disk syncs a second. Where a row of a group is at fault, only the one whose
row it is hears of it, and the others are committed together. Where the database is at fault, all hear of it at once,
those too who waited behind: it is not asked again for each.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Insert, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection

from base.errors import InputError
from service.store import tables
from service.store.connecting import WRITES, async_engine, thread_engine

Rows = Mapping[Table, Sequence[Mapping[str, Any]]]
T = TypeVar("T")

GROUP_AT_MOST = 20_000  # rows of one commit, over all callers
FEEDBACK_TURN = 0x6361695E  # of PostgreSQL's advisory locks
ROWS_OWN = frozenset(("54000", "54011", "54023"))  # PostgreSQL's limits of a row, which it calls operational


class Locked(OperationalError):
    """SQLite gave no turn to write: another process kept it."""

    @classmethod
    def of(cls, error: OperationalError) -> Self:
        """The same fault for one of those who waited: an exception can't be raised in several places at once."""
        return cls(error.statement, error.params, error.orig or error)


@dataclass(slots=True)
class _Waiting:
    rows: Rows
    done: asyncio.Future[None]

    @property
    def size(self) -> int:
        return sum(len(rows) for rows in self.rows.values())


class Database:
    """The service's database, for one event loop.

    Groups are committed in a thread of their own, each in one go: through the event loop a commit of four statements
    would wait for eight turns of it, each as long as all that is ready then.
    """

    def __init__(self, url: str) -> None:
        self.url = database_url(url)
        self.engine = async_engine(self.url)
        self.writer = thread_engine(self.url, WRITES, pool_size=1, pool_pre_ping=True)
        self._thread = ThreadPoolExecutor(1, "database writer")
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()  # SQLite has one writer; so that it is ours in turn, and not by time-out
        self._refused: tuple[float, OperationalError] | None = None  # when SQLite last gave no turn, and why
        self._task: asyncio.Task[None] | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file here, which no other machine can share."""
        return self.url.get_backend_name() == "sqlite"

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_on(), name="database writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)
        self.writer.dispose()
        await self.engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the database."""
        async with self.engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """All that is done in it, or nothing; committed at the end. For what has to look before it writes.

        Raises `Locked` where another process keeps SQLite for `BUSY_SECONDS`, to all who waited for their turn
        meanwhile.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._own_turn())
            connection = await stack.enter_async_context(self.engine.connect())
            await connection.execution_options(write=True)
            with _locked():
                await stack.enter_async_context(connection.begin())
            yield connection

    @asynccontextmanager
    async def _own_turn(self) -> AsyncIterator[None]:
        """Our turn among those who write to SQLite; PostgreSQL has several writers. Raises `Locked`."""
        if not self.is_sqlite:
            yield
            return
        since = time.monotonic()
        async with self._turn:
            if self._refused is not None and since <= self._refused[0]:
                raise Locked.of(self._refused[1])
            try:
                yield
            except Locked as error:
                self._refused = time.monotonic(), error
                raise

    async def insert(self, rows: Rows) -> None:
        """Insert rows into several tables, all or none, and return when they are durable.

        What is stored by content already is left as it is. Raises `sqlalchemy.exc.IntegrityError` for any other row
        that is there already or refers to nothing; then nothing was stored.
        """
        entry = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._wake.set()
        await entry.done

    async def _write_on(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._commit(self._group())

    def _group(self) -> list[_Waiting]:
        group, size = [self._waiting.pop(0)], 0
        while self._waiting and size + self._waiting[0].size <= GROUP_AT_MOST:
            size += self._waiting[0].size
            group.append(self._waiting.pop(0))
        return group

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._written(lambda connection: self._store(connection, group))
        except Exception as error:  # whatever it is, callers must hear of it instead of waiting for ever
            if len(group) > 1 and not is_of_database(error):
                await self._commit_apart(group)
                return
            _settle(group, error)
            if isinstance(error, Locked):  # nobody is asked to wait for as long again
                behind, self._waiting = self._waiting, []
                _settle(behind, error)
        else:
            _settle(group, None)

    async def _commit_apart(self, group: Sequence[_Waiting]) -> None:
        """Commit all but those whose rows are at fault."""
        try:
            faults = await self._written(lambda connection: [self._try(connection, entry) for entry in group])
        except Exception as error:  # as above
            _settle(group, error)
            return
        for entry, fault in zip(group, faults, strict=True):
            _settle([entry], fault)

    async def _written(self, write: Callable[[Connection], T]) -> T:
        """Do ``write`` in a transaction of the writer's thread, and return what it returns once that is durable."""

        def work() -> T:
            with self.writer.connect() as connection:
                with _locked():
                    transaction = connection.begin()
                with transaction:
                    return write(connection)

        async with self._own_turn():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _try(self, connection: Connection, entry: _Waiting) -> Exception | None:
        """Store one caller's rows within a transaction, or nothing of them; return their fault."""
        try:
            with connection.begin_nested():
                self._store(connection, [entry])
        except Exception as error:  # what is wrong with a row may be anything
            if is_of_database(error):
                raise
            return error
        return None

    def _store(self, connection: Connection, group: Sequence[_Waiting]) -> None:
        if any(tables.feedback in entry.rows for entry in group):
            take_turn(connection)
        for table, rows in _merged(group):
            connection.execute(self._insert(table), rows)

    def _insert(self, table: Table) -> Insert:
        if not table.info.get("by_content"):
            return table.insert()
        if self.is_sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()


def take_turn(connection: Connection) -> None:
    """Make rows of feedback come in the order of their numbers: who reads on from the last one misses none.

    To be called before feedback is inserted, before anything that another such transaction may wait for.
    """
    if connection.dialect.name == "postgresql":  # numbers are given before the commit; other servers wait until ours
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": FEEDBACK_TURN})


@contextmanager
def _locked() -> Iterator[None]:
    """A transaction begins: what SQLite can't do then is give it a turn."""
    try:
        yield
    except OperationalError as error:
        raise Locked.of(error) from error


def _merged(group: Sequence[_Waiting]) -> list[tuple[Table, list[Mapping[str, Any]]]]:
    """The rows of all callers by table, in an order in which no row refers to a later one."""
    merged: dict[Table, list[Mapping[str, Any]]] = {}
    for entry in group:
        for table, rows in entry.rows.items():
            merged.setdefault(table, []).extend(rows)
    for table, rows in merged.items():
        if table.info.get("by_content"):  # in one order everywhere: two transactions can't wait for each other
            merged[table] = sorted(rows, key=lambda row: str(row["id"]))
    return [(table, merged[table]) for table in tables.metadata.sorted_tables if merged.get(table)]


def _settle(group: Sequence[_Waiting], error: Exception | None) -> None:
    for entry in group:
        if entry.done.done():  # its caller was cancelled; the rows stand
            continue
        if error is None:
            entry.done.set_result(None)
        else:
            entry.done.set_exception(error)


def is_of_database(error: Exception) -> bool:
    """Whether the database failed, whatever was to be stored: it is away, locked, full, or has no connection left."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, NoConnection | OSError)
    if getattr(error.orig, "sqlstate", None) in ROWS_OWN:
        return False
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError | InternalError)


def database_url(text: str) -> URL:
    """The address with the driver that this project uses; SQLite's folder is made. Raises `InputError`."""
    url = known_url(text)
    if url.get_backend_name() == "sqlite":
        Path(url.database or "").parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return url


def known_url(text: str) -> URL:
    """The address with the driver that this project uses, and nothing is made. Raises `InputError`."""
    try:
        url = make_url(text)
    except ArgumentError:
        url = None
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
    if url is None or url.drivername not in drivers:
        raise InputError(
            "this is no address of a database that can be used",
            where="database",
            fix="expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME",
        )
    if url.drivername == "sqlite" and (not url.database or url.database == ":memory:"):
        raise InputError("a database in memory would lose its labels", where="database", fix="sqlite:///FILE")
    return url.set(drivername=drivers[url.drivername])
