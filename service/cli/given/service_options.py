"""Options by which `cai serve`, `worker`, `database` and `keys` are told of a service, and where its database is."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.given.options import INPUT, SERVER

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
        help="A file of the service's settings (YAML, JSON or TOML). The command line takes precedence.",
        rich_help_panel=INPUT,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="The folder of data sets, runs and models. Default: cai-data.", rich_help_panel=SERVER),
]
