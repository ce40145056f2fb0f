"""From whatever a database holds to the tables of this version, in place, rows kept.

``python -m service.migrations NAME`` writes a new migration from the difference to `service.tables`; read it before you
commit it.
"""

import asyncio
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL

from service.database import database_url

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
def connected(url: URL) -> Iterator[Connection]:
    """A connection that no other upgrade has at the same time."""
    sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(url.set(drivername="sqlite" if sqlite else url.drivername))
    try:
        if sqlite:
            with open(f"{url.database}.lock", "w") as lock, engine.connect() as connection:
                fcntl.flock(lock, fcntl.LOCK_EX)
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


def _upgrade(url: URL, revision: str) -> None:
    with connected(url) as connection:
        command.upgrade(config(connection), revision)
        connection.commit()
