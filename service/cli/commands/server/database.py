"""`cai database`: backup and restore."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from service.cli.given.options import Json
from service.cli.given.service_options import Data, SettingsFile, Url
from service.cli.given.service_settings import read_existing, read_reachable
from service.cli.shown.voice import Quiet, say
from service.store import backup as backups

app = typer.Typer(help="Back up a service's database, and restore it.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


@app.command()
def backup(
    file: File,
    database: Url = None,
    config: SettingsFile = None,
    data: Data = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the whole database to FILE, while the service runs. It does not include the data folder."""
    _tell(backups.backup(read_existing(config, database=database, data=data).url, file), f"are in {file}", as_json)


@app.command()
def restore(
    file: File,
    database: Url = None,
    config: SettingsFile = None,
    data: Data = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Restore a backup into a new database, of either kind."""
    _tell(backups.restore(read_reachable(config, database=database, data=data).url, file), "are restored", as_json)


def _tell(counts: Counter[str], done: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(dict(sorted(counts.items())), indent=2))
        return
    for table, rows in sorted(counts.items()):
        say(f"{rows:>12,} {table}")
    say(f"{counts.total():>12,} rows {done}")
