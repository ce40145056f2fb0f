"""Whether a service is there: what works on one that exists makes no database of a misspelt name."""

from pathlib import Path

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from base.errors import InputError
from service.settings import Settings
from service.store.database import known_url


def check_there(settings: Settings) -> None:
    """Raise `InputError` where the database of ``settings`` isn't there, can't be reached, or holds no service."""
    url = known_url(settings.url)
    where = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise InputError(
            "there is no such database",
            where=str(url.database),
            fix="Name the one of a service with --database, or its folder with --data; `cai serve` makes one.",
        )
    if "keys" not in _tables(url):
        raise InputError("this database holds no service", where=where, fix="`cai serve` makes one.")


def check_answers(settings: Settings) -> None:
    """Raise `InputError` where nobody answers for the database. SQLite's is made where it isn't there."""
    url = known_url(settings.url)
    if url.get_backend_name() != "sqlite":
        _tables(url)


def _tables(url: URL) -> list[str]:
    try:
        return _read_tables(url)
    except DBAPIError as error:
        told = str(error.orig).strip().splitlines()[0]
        where = url.render_as_string(hide_password=True)
        raise InputError(f"the database can't be read: {told}", where=where) from None


def _read_tables(url: URL) -> list[str]:
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite", database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(url)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()
