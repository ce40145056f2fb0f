"""What `cai serve`, `worker`, `database` and `keys` are told of a service: its settings, and where its database is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.given.options import INPUT, SERVER
from service.cli.shown.voice import say
from service.settings import Settings
from service.store.there import check_answers, check_there

Url = Annotated[
    str | None,
    typer.Option(
        envvar="CAI_DATABASE",
        help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. Default: cai.db in the data folder.",
        rich_help_panel=SERVER,
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A file of the service's settings (YAML, JSON or TOML). The command line goes before it.",
        rich_help_panel=INPUT,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="The folder of data sets, runs and models. Default: cai-data.", rich_help_panel=SERVER),
]


def read_settings(file: Path | None, **said: Any) -> Settings:
    """Return the service's settings, and tell which of the file's give way to what was ``said``."""
    settings, replaced = Settings.read_told(file, **said)
    for name in replaced:
        say(f"--{name} goes before {name} of {file}", err=True)
    return settings


def read_reachable(file: Path | None, **said: Any) -> Settings:
    """Return the same where the database is to be made or filled. Raises `InputError` where nobody answers for it."""
    settings = read_settings(file, **said)
    check_answers(settings)
    return settings


def read_existing(file: Path | None, **said: Any) -> Settings:
    """Return the same for a service that is there. Raises `InputError` where its database isn't: nothing is made."""
    settings = read_settings(file, **said)
    check_there(settings)
    return settings
