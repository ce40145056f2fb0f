"""`cai keys`, and the first key: told when it can be used, and taken back where it can't be told. On both databases."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from typer.testing import CliRunner

from base.errors import InputError
from service.cli.commands.server.keys import app
from service.keys import key_store
from service.keys.auth import Keys
from service.keys.first_key import tell_first_key
from service.settings import Settings
from service.store.database import Database
from service.store.database import database_url as parsed
from service.store.tables import keys

DRIVERS = {"sqlite": "sqlite", "postgr": "postgresql+psycopg"}
runner = CliRunner()


def said(url: str, *arguments: str) -> str:
    done = runner.invoke(app, [*arguments, "--database", url], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.strip()


async def scopes(url: str, key: str) -> frozenset[str]:
    async with Database(url) as database:
        return (await Keys(database).caller(key)).scopes


def test_keys_are_made_listed_and_revoked_on_the_database_itself(migrated_url: str) -> None:
    key = said(migrated_url, "make", "the way back in", "--scope", "admin")
    assert asyncio.run(scopes(migrated_url, key)) == {"admin"}
    other = said(migrated_url, "make", "a reader", "--scope", "read", "--scope", "jobs")
    lines = said(migrated_url, "list").splitlines()
    assert [("admin" in line, "jobs,read" in line) for line in lines] == [(True, False), (False, True)]
    assert "is revoked" in said(migrated_url, "revoke", other.split("_")[1])
    assert "revoked 20" in said(migrated_url, "list").splitlines()[1]
    with pytest.raises(Exception, match="revoked"):
        asyncio.run(scopes(migrated_url, other))
    with pytest.raises(InputError, match="no administrator"):
        said(migrated_url, "revoke", key.split("_")[1])
    assert asyncio.run(scopes(migrated_url, key)) == {"admin"}


def test_what_is_not_there_is_refused(migrated_url: str, tmp_path: Path) -> None:
    for arguments in (
        ("make", "x", "--scope", "king"),
        ("make", "", "--scope", "read"),
        ("make", "x", "--scope", "label", "--annotator", "nobody"),
        ("revoke", "nothing"),
    ):
        with pytest.raises(InputError):
            said(migrated_url, *arguments)
    assert said(migrated_url, "list") == ""
    with pytest.raises(InputError, match="there is no such database"):
        said(f"sqlite:///{tmp_path / 'empty.db'}", "list")


async def test_the_first_key_can_be_used_when_it_is_told(database_url: str, tmp_path: Path) -> None:
    settings, told = Settings(database=database_url, data=tmp_path / "data"), list[str]()

    def tell(key: str) -> None:
        engine = create_engine(parsed(database_url).set(drivername=DRIVERS[database_url[:6]]))
        with engine.connect() as connection:  # another one: what it sees is committed
            assert connection.execute(select(keys.c.id)).scalars().all() == [key.split("_")[1]]
        engine.dispose()
        told.append(key)

    for _ in range(2):
        await tell_first_key(settings, tell)
    assert len(told) == 1


async def test_servers_that_start_together_tell_one_first_key(database_url: str, tmp_path: Path) -> None:
    settings, told = Settings(database=database_url, data=tmp_path / "data"), list[str]()
    await asyncio.gather(*(tell_first_key(settings, told.append) for _ in range(4)))
    assert len(told) == 1


@pytest.mark.slow
def test_a_first_key_that_can_not_be_told_is_taken_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'data' / 'cai.db'}"
    command = [sys.executable, "-m", "service.cli", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    assert done.returncode != 0
    assert "can't be told: No space left" in done.stderr and "cai keys make" in done.stderr
    assert "Traceback" not in done.stderr
    assert asyncio.run(key_store.listed(url)) == []
    told: list[str] = []
    asyncio.run(tell_first_key(Settings(data=tmp_path / "data"), told.append))
    assert len(told) == 1
