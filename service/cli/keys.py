"""`cai keys`: API keys on the database itself, the way back in where no administrator's key is known."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.database import Config, Data, Url

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer(help="Make, list and revoke API keys on the database itself.", no_args_is_help=True)


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="What the key is called; not unique.")],
    scope: Annotated[list[str], typer.Option(help="read, feedback, label, jobs or admin; several times.")],
    annotator: Annotated[str | None, typer.Option(help="The id of the annotator whose key it is.")] = None,
    database: Url = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Make a key and print its text, which is told only now."""
    from service import key_store

    made = asyncio.run(key_store.make(_settings(database, config, data).url, name, scope, annotator))
    typer.echo(made.text)


@app.command("list")
def listed(database: Url = None, config: Config = None, data: Data = None) -> None:
    """All keys, a line each, the oldest first."""
    from service import key_store

    for row in asyncio.run(key_store.listed(_settings(database, config, data).url)):
        typer.echo(_line(row))


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")],
    database: Url = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Revoke a key. The last administrator's stays."""
    from service import key_store

    asyncio.run(key_store.revoke(_settings(database, config, data).url, id))
    typer.echo(f"{id} is revoked; every server refuses it within two seconds")


def _settings(database: str | None, config: Path | None, data: Path | None) -> "Settings":
    from service.settings import Settings

    return Settings.read(config, database=database, data=data)


def _line(row: dict[str, Any]) -> str:
    scopes = ",".join(row["scopes"])
    owner = f"  annotator {row['annotator']}" if row["annotator"] else ""
    return f"{row['id']}  {_state(row):30}  {scopes:20}  {row['name']}{owner}"


def _state(row: dict[str, Any]) -> str:
    if row["revoked_at"] is not None:
        return f"revoked {_day(row['revoked_at'])}"
    if row["expires_at"] is None:
        return f"made {_day(row['created_at'])}"
    expired = row["expires_at"] <= datetime.now(UTC)
    return f"{'expired' if expired else 'expires'} {_day(row['expires_at'])}"


def _day(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
