"""The store: one SQLAlchemy engine, reads at any time, and writes that are committed in groups.

A write is durable when its caller goes on. While one commit is under way, what arrives waits and goes together into
the next: so that labels a second are not disk syncs a second. Where a row of a group is at fault, only the one whose
row it is hears of it, and the others are committed together. Where the database is at fault, all hear of it at once,
those too who waited behind: it is not asked again for each.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Insert, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection

from base.errors import InputError
from service.store import tables
from service.store.connecting import WRITES, async_engine, reading_engine, thread_engine
from service.store.many import MANY, insert_many

Row = Mapping[Any, Any]
"""A row as a query returned it, by its columns."""

AlreadyThere = IntegrityError
"""Raised where a row that was to be stored is there already, or refers to nothing."""

Rows = Mapping[Table, Sequence[Mapping[str, Any]]]
T = TypeVar("T")

GROUP_AT_MOST = 20_000  # rows of one commit, over all callers
CHANGE_COUNTS = 200  # as so many rows: each asks several questions before it writes
LOOKS_AT_ONCE = 4  # threads: each look takes a moment, most of which a database elsewhere is waited for
CHANGES_AT_ONCE = 8  # on PostgreSQL, where each is a transaction that may wait for another's row
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
    """What one caller wants written: rows, or a change that looks before it writes."""

    done: asyncio.Future[Any]
    rows: Rows = field(default_factory=dict)
    change: Callable[[Connection], Any] | None = None

    @property
    def size(self) -> int:
        return sum(len(rows) for rows in self.rows.values()) if self.change is None else CHANGE_COUNTS


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one caller hears: a value, or a fault of its own."""

    value: Any = None
    fault: Exception | None = None


class Database:
    """The service's database, for one event loop.

    Groups are committed in a thread of their own, each in one go: through the event loop a commit of four statements
    would wait for eight turns of it, each as long as all that is ready then. SQLite has one writer, and so one thread;
    on PostgreSQL each change has a transaction of its own, since one that waits for a row must keep up no other.
    """

    def __init__(self, url: str) -> None:
        self.url = database_url(url)
        self.engine = async_engine(self.url)
        self.writer = thread_engine(self.url, WRITES, pool_size=1 + CHANGES_AT_ONCE, pool_pre_ping=True)
        self.reader = reading_engine(self.url)
        self._lookers = ThreadPoolExecutor(LOOKS_AT_ONCE, "database looks")
        self._thread = ThreadPoolExecutor(1, "database writer")
        self._changers = ThreadPoolExecutor(CHANGES_AT_ONCE, "database changes")
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
        self._lookers.shutdown(wait=False, cancel_futures=True)
        for pool in (self._thread, self._changers):
            await asyncio.to_thread(pool.shutdown)
        self.writer.dispose()
        self.reader.dispose()
        await self.engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the database."""
        async with self.engine.connect() as connection:
            yield connection

    async def look(self, use: Callable[[Connection], T]) -> T:
        """Return what ``use`` makes of one state of the database, in a thread and in one go: for what takes a moment.

        Through `read` each question costs four turns of the event loop, and more processor time than its answer.
        """

        def work() -> T:
            with self.reader.connect() as connection, connection.begin():
                return use(connection)

        return await asyncio.get_running_loop().run_in_executor(self._lookers, work)

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

        What is stored by content already is left as it is. Raises `AlreadyThere` for any other row that is there
        already or refers to nothing; then nothing was stored.
        """
        await self._grouped(_Waiting(asyncio.get_running_loop().create_future(), rows))

    async def change(self, do: Callable[[Connection], T]) -> T:
        """Do in a thread what looks before it writes, all or nothing; return what it returns once that is durable.

        It sees what was changed before it. It may be done again from the start, where its first try was taken back with
        a group's; and where its caller goes away it stands all the same.
        """
        loop = asyncio.get_running_loop()
        if not self.is_sqlite:
            return await loop.run_in_executor(self._changers, self._in_transaction, do)
        entry = _Waiting(loop.create_future(), change=do)
        value: T = await self._grouped(entry)
        return value

    async def _grouped(self, entry: _Waiting) -> Any:
        self._waiting.append(entry)
        self._wake.set()
        return await entry.done

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
            outcomes = await self._written(lambda connection: self._store(connection, group))
        except Exception as error:  # whatever it is, callers must hear of it instead of waiting for ever
            if len(group) > 1 and not is_of_database(error):
                await self._commit_apart(group)
                return
            _refuse(group, error)
            if isinstance(error, Locked):  # nobody is asked to wait for as long again
                behind, self._waiting = self._waiting, []
                _refuse(behind, error)
        else:
            _settle(group, outcomes)

    async def _commit_apart(self, group: Sequence[_Waiting]) -> None:
        """Commit all but those whose rows are at fault."""
        try:
            outcomes = await self._written(lambda connection: [self._try(connection, entry) for entry in group])
        except Exception as error:  # as above
            _refuse(group, error)
        else:
            _settle(group, outcomes)

    async def _written(self, write: Callable[[Connection], T]) -> T:
        """Do ``write`` in a transaction of the writer's thread, and return what it returns once that is durable."""
        async with self._own_turn():
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_transaction, write)

    def _in_transaction(self, write: Callable[[Connection], T]) -> T:
        with self.writer.connect() as connection:
            with _locked():
                transaction = connection.begin()
            with transaction:
                return write(connection)

    def _try(self, connection: Connection, entry: _Waiting) -> _Outcome:
        """Store one caller's rows within a transaction, or nothing of them."""
        if entry.change is not None:
            return _changed(connection, entry.change)
        try:
            with connection.begin_nested():
                self._store(connection, [entry])
        except Exception as error:  # what is wrong with a row may be anything
            if is_of_database(error):
                raise
            return _Outcome(fault=error)
        return _Outcome()

    def _store(self, connection: Connection, group: Sequence[_Waiting]) -> list[_Outcome]:
        if any(tables.feedback in entry.rows for entry in group):
            take_turn(connection)
        for table, rows in _merged(group):
            if self.is_sqlite and len(rows) >= MANY:
                insert_many(connection, self._insert(table), rows)
            else:
                connection.execute(self._insert(table), rows)
        return [_Outcome() if entry.change is None else _changed(connection, entry.change) for entry in group]

    def _insert(self, table: Table) -> Insert:
        if not table.info.get("by_content"):
            return table.insert()
        if self.is_sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()


def insert_rows(connection: Connection, rows: Rows) -> None:
    """Insert rows into several tables, within the transaction that is under way."""
    for table, entries in rows.items():
        connection.execute(table.insert(), entries)


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


def _changed(connection: Connection, change: Callable[[Connection], Any]) -> _Outcome:
    """Do one caller's change within a transaction, or nothing of it."""
    try:
        with connection.begin_nested():
            return _Outcome(change(connection))
    except Exception as error:  # what its caller hears of may be anything: a rule that it breaks, a row that is there
        if is_of_database(error):
            raise
        return _Outcome(fault=error)


def _refuse(group: Sequence[_Waiting], error: Exception) -> None:
    _settle(group, [_Outcome(fault=error)] * len(group))


def _settle(group: Sequence[_Waiting], outcomes: Sequence[_Outcome]) -> None:
    for entry, outcome in zip(group, outcomes, strict=True):
        if entry.done.done():  # its caller was cancelled; what it wanted stands
            continue
        if outcome.fault is None:
            entry.done.set_result(outcome.value)
        else:
            entry.done.set_exception(outcome.fault)


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
