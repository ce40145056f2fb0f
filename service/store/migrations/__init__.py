"""From whatever a database holds to the tables of this version, in place, rows kept, all or nothing.

All steps of one upgrade are one transaction, on SQLite too: a machine that dies in the middle leaves what was there.

``python -m service.store.migrations NAME`` writes a new migration from the difference to `service.store.tables`; read
it before you commit it.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from base.backoff import told
from service.store.connecting import MIGRATES, READS, thread_engine
from service.store.database import database_url

log = logging.getLogger("cai.store")
_BUSY = "another process has the database to itself, to bring it to its version or to read it as it is"
_LOCK = 0x6361695F  # of PostgreSQL's advisory locks: "cai_"


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at ``url`` to ``revision``. Servers that start together take turns."""
    await asyncio.to_thread(_upgrade, database_url(url), revision)


def config(connection: Connection) -> Config:
    """Alembic's settings, for ``connection``."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.attributes["connection"] = connection
    return settings


@contextmanager
def connected(url: URL, *, reads: bool = False) -> Iterator[Connection]:
    """A connection that no other upgrade has at the same time. One that only ``reads`` keeps no writer waiting."""
    sqlite = url.get_backend_name() == "sqlite"
    # SQLite doesn't wait for a lock to change to a write-ahead log: so it is done here, where no other start is.
    opened = thread_engine(url, READS if reads else MIGRATES)
    try:
        if sqlite:
            with _private(str(url.database)), _private(f"{url.database}.lock") as lock:
                with told(log, _BUSY):
                    fcntl.flock(lock, fcntl.LOCK_EX)
                with opened.connect() as connection:
                    yield connection
        else:
            with opened.connect() as connection:
                with told(log, _BUSY):
                    connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _LOCK})
                connection.commit()
                yield connection
                connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _LOCK})
                connection.commit()
    finally:
        opened.dispose()


@contextmanager
def _private(name: str) -> Iterator[int]:
    """An open file that only its owner can read, made where it is missing."""
    number = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield number
    finally:
        os.close(number)


def _upgrade(url: URL, revision: str) -> None:
    with connected(url) as connection:
        command.upgrade(config(connection), revision)
        connection.commit()
