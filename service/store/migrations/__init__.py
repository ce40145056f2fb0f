"""From whatever a database holds to the tables of this version, in place, rows kept, all or nothing.

All steps of one upgrade are one transaction, on SQLite too: a machine that dies in the middle leaves what was there.

``python -m service.store.migrations NAME`` writes a new migration from the difference to `service.store.tables`; read
it before you commit it.
"""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL

from service.store.database import BUSY_SECONDS, database_url

_LOCK = 0x6361695F  # of PostgreSQL's advisory locks: "cai_"


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at ``url`` to ``revision``. Servers that start together take turns."""
    await asyncio.to_thread(_upgrade, database_url(url), revision)


def config(connection: Connection) -> Config:
    """Alembic's settings, for ``connection``."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent))
    found.attributes["connection"] = connection
    return found


@contextmanager
def connected(url: URL, *, reads: bool = False) -> Iterator[Connection]:
    """A connection that no other upgrade has at the same time. One that only ``reads`` keeps no writer waiting."""
    sqlite = url.get_backend_name() == "sqlite"
    engine = _sqlite(url, reads) if sqlite else create_engine(url)
    try:
        if sqlite:
            with _private(f"{url.database}.lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with engine.connect() as connection:
                    yield connection
        else:
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _LOCK})
                connection.commit()
                yield connection
                connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _LOCK})
                connection.commit()
    finally:
        engine.dispose()


@contextmanager
def _private(name: str) -> Iterator[int]:
    """An open file that only its owner can read, made where it is missing."""
    number = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield number
    finally:
        os.close(number)


def _sqlite(url: URL, reads: bool) -> Engine:
    engine = create_engine(url.set(drivername="sqlite"), connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        # Python's driver begins no transaction before a CREATE, ALTER or DROP. So we say BEGIN ourselves, below.
        connection.isolation_level = None
        if not reads:  # here, where no other start is: SQLite doesn't wait for a lock to change this
            connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    with _private(str(url.database)):  # else SQLite would make it readable for everyone until a service opens it
        return engine


def _upgrade(url: URL, revision: str) -> None:
    with connected(url) as connection:
        command.upgrade(config(connection), revision)
        connection.commit()
