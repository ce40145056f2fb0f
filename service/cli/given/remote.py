"""A server and the key to it, for commands that speak to one."""

from typing import Annotated

import typer

from base.errors import InputError
from service.cli.given.options import SERVER
from service.client import Client

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
        help="An API key; better in the environment, for command lines are seen by others.",
        rich_help_panel=SERVER,
    ),
]


def connected(server: str, key: str) -> Client:
    """Return a client of the server. Raises `InputError` where there is no key, or what is given can't be one."""
    text = key.strip()
    if not text:
        raise InputError(
            "no key", where="CAI_KEY", fix="Set it to an API key: `cai keys make NAME --scope ...` makes one."
        )
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise InputError("it holds no API key", where="CAI_KEY", fix="Expected one word, as in cai_...")
    if not server.startswith(("http://", "https://")):
        raise InputError(f"{server!r} is no address of a server", where="--server", fix=f"Expected one like {HERE}")
    return Client(server, text)
