"""`cai serve`: the HTTP service, with nothing else running."""

import asyncio
import socket
import sys
from typing import Annotated

import typer

from base.errors import InputError
from service.cli.given.options import SERVER
from service.cli.given.service_options import Data, SettingsFile, Url
from service.cli.given.service_settings import read_reachable
from service.cli.shown.missing import tell_missing
from service.engines import checked_engines
from service.keys.first_key import tell_first_key
from service.serving.accepting import QUEUE
from service.serving.server import configured, run
from service.settings import Settings


def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on. Default: 127.0.0.1.", rich_help_panel=SERVER)
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port. Default: 8300; 0 takes any free port.", rich_help_panel=SERVER)
    ] = None,
    database: Url = None,
    config: SettingsFile = None,
    data: Data = None,
) -> None:
    """Serve the HTTP API. The first start prints a key that may do everything."""
    settings = read_reachable(config, host=host, port=port, database=database, data=data)
    checked_engines(settings)
    config_of_server = configured(settings)
    with _listening(settings) as listener:  # before anything is written, and before a key is told
        asyncio.run(tell_first_key(settings, _tell))
        typer.echo(f"http://{settings.host}:{listener.getsockname()[1]}/docs")
        tell_missing(settings)
        run(config_of_server, settings, listener)


def _listening(settings: Settings) -> socket.socket:
    """Take the address. Raises `InputError` where it can't be had: it is in use, it is not of this machine ..."""
    try:
        [family, kind, protocol, _, address], *_ = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(
            f"there is no such address: {error.strerror or error}", where=f"--host {settings.host}"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(QUEUE)
    except OSError as error:
        listener.close()
        raise InputError(
            f"it can't be listened at: {error.strerror}",
            where=f"{settings.host}:{settings.port}",
            fix="Name another with --port or --host; port 0 takes any that is free.",
        ) from None
    return listener


def _tell(key: str) -> None:
    try:
        typer.echo(f"The first key, which may do everything. It is told only now:\n\n  {key}\n")
        sys.stdout.flush()
    except OSError as error:
        raise InputError(
            f"the first key can't be told: {error.strerror}",
            where="standard output",
            fix="It was taken back. Make room and start again, or make a key by `cai keys make NAME --scope admin`.",
        ) from None
