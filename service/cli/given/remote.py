"""A server and the key to it, for commands that speak to one."""

from typing import Annotated

import typer

from service.cli.given.options import SERVER

HERE = "http://127.0.0.1:8300"

Server = Annotated[
    str, typer.Option(envvar="CAI_SERVER", metavar="URL", help="The server's address.", rich_help_panel=SERVER)
]
Key = Annotated[
    str,
    typer.Option(
        envvar="CAI_KEY",
        show_default=False,
        metavar="KEY",
        help="An API key; better set in the environment, because others can see command lines.",
        rich_help_panel=SERVER,
    ),
]
