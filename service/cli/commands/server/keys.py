"""`cai keys`: API keys on the database itself, the way back in where no administrator's key is known."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from service.cli.given.options import Json
from service.cli.given.service_options import Data, SettingsFile, Url
from service.cli.given.service_settings import read_existing
from service.cli.shown.voice import Quiet, say
from service.keys import key_store

app = typer.Typer(help="Make, list and revoke API keys on the database itself.", no_args_is_help=True)


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="What the key is called; not unique.")],
    scope: Annotated[list[str], typer.Option(help="read, feedback, label, jobs or admin; repeatable.")],
    annotator: Annotated[str | None, typer.Option(help="The id of the annotator whose key it is.")] = None,
    database: Url = None,
    config: SettingsFile = None,
    data: Data = None,
) -> None:
    """Make a key and print its text, which is shown only once."""
    made = asyncio.run(key_store.make(read_existing(config, database=database, data=data).url, name, scope, annotator))
    typer.echo(made.text)


@app.command("list")
def listed(
    database: Url = None, config: SettingsFile = None, data: Data = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """List all keys, one per line, the oldest first."""
    rows = asyncio.run(key_store.listed(read_existing(config, database=database, data=data).url))
    if as_json:
        typer.echo(json.dumps([_plain(row) for row in rows], indent=2))
        return
    for row in rows:
        say(_line(row))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in ("id", "name", "scopes", "annotator")}
    times = ("created_at", "expires_at", "revoked_at")
    return told | {name: None if row[name] is None else row[name].isoformat() for name in times}


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")],
    database: Url = None,
    config: SettingsFile = None,
    data: Data = None,
    quiet: Quiet = False,
) -> None:
    """Revoke a key; the last administrator's can't be revoked."""
    asyncio.run(key_store.revoke(read_existing(config, database=database, data=data).url, id))
    say(f"{id} is revoked; every server refuses it within two seconds")


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
