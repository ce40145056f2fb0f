"""How the database is opened, whoever opens it: a server, a worker, a migration, a snapshot.

SQLite's settings belong to each connection, and Python's driver would begin transactions by rules of its own: none
before a CREATE TABLE, and a reader's before it writes. So both are said here, and nowhere else.
"""

import contextlib
import os
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_SECONDS = 30  # how long SQLite waits for another process's write
FILES = ("", "-wal", "-shm")  # of one SQLite database, by their ends


@dataclass(frozen=True, slots=True)
class Manner:
    """How SQLite is used: what each connection is set to, and whether a transaction ``writes`` if it says nothing.

    A transaction says so with the execution option ``write``.
    """

    pragmas: tuple[str, ...]
    writes: bool


_DURABLE = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")

SERVES = Manner(_DURABLE, writes=False)
WRITES = Manner(_DURABLE, writes=True)
READS = Manner(("query_only = ON",), writes=False)
MIGRATES = Manner(("journal_mode = WAL",), writes=True)  # foreign keys are off: SQLite changes a table by copying it


def thread_engine(url: URL, manner: Manner, **postgres: Any) -> Engine:
    """An engine for threads. ``postgres`` is what `create_engine` is told beside, where it is PostgreSQL."""
    if url.get_backend_name() != "sqlite":
        return create_engine(url, json_serializer=_json, **postgres)
    url = url.set(drivername="sqlite")
    return _in_manner(create_engine(url, connect_args={"timeout": BUSY_SECONDS}, json_serializer=_json), manner)


def reading_engine(url: URL) -> Engine:
    """An engine for threads that only read; each transaction sees one state."""
    only = {"postgresql_readonly": True}
    return thread_engine(url, READS, isolation_level="REPEATABLE READ", pool_pre_ping=True, execution_options=only)


def async_engine(url: URL) -> AsyncEngine:
    """The engine of a server's event loop."""
    sizes = {"pool_size": 10, "max_overflow": 20}
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True, json_serializer=_json, **sizes)
    serving = create_async_engine(url, connect_args={"timeout": BUSY_SECONDS}, json_serializer=_json, **sizes)
    _in_manner(serving.sync_engine, SERVES)
    return serving


def _in_manner(engine: Engine, manner: Manner) -> Engine:
    file = str(engine.url.database)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        if manner is not READS:
            _keep_private(file)  # first, since SQLite's other files get the mode of this one
        cursor = connection.cursor()
        for pragma in manner.pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        if manner is not READS:
            _keep_private(file)  # where it is new

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A writer takes its place at once: one that began as a reader could not become a writer any more.
        write = connection.get_execution_options().get("write", manner.writes)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _keep_private(file: str) -> None:
    """Labels are private until someone exports them."""
    for end in FILES:
        with contextlib.suppress(FileNotFoundError):
            os.chmod(file + end, 0o600)


def _json(value: Any) -> str:
    return to_json(value).decode()
