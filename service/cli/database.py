"""`cai database`: backup and restore."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Back a service's database up, and restore it.", no_args_is_help=True)

Url = Annotated[
    str | None, typer.Option(envvar="CAI_DATABASE", help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.")
]
Config = Annotated[Path | None, typer.Option(help="A YAML file of settings: those of `cai serve`.")]
Data = Annotated[Path | None, typer.Option(help="The data folder, where the database is SQLite's in it.")]


@app.command()
def backup(file: Path, database: Url = None, config: Config = None, data: Data = None) -> None:
    """Write the whole database to FILE, while the service runs. The data folder is not in it."""
    from service.backup import backup
    from service.settings import Settings

    _tell(backup(Settings.read(config, database=database, data=data).url, file), f"are in {file}")


@app.command()
def restore(file: Path, database: Url = None, config: Config = None, data: Data = None) -> None:
    """Put a backup into a new database, of either kind."""
    from service.backup import restore
    from service.settings import Settings

    _tell(restore(Settings.read(config, database=database, data=data).url, file), "are restored")


def _tell(counts: Counter[str], done: str) -> None:
    for table, rows in sorted(counts.items()):
        typer.echo(f"{rows:>12,} {table}")
    typer.echo(f"{counts.total():>12,} rows {done}")
