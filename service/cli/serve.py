"""`cai serve`: the HTTP service, with nothing else running."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from constitution.errors import InputError


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen at. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="The port. Default: 8300.")] = None,
    database: Annotated[
        str | None,
        typer.Option(envvar="CAI_DATABASE", help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    data: Annotated[Path | None, typer.Option(help="The folder of data sets, runs and models.")] = None,
) -> None:
    """Serve the HTTP API. The first start prints a key that may do everything."""
    from service.first_key import tell_first_key
    from service.server import configured, run
    from service.settings import Settings

    settings = Settings.read(config, host=host, port=port, database=database, data=data)
    config_of_server = configured(settings)
    asyncio.run(tell_first_key(settings, _tell))
    typer.echo(f"http://{settings.host}:{settings.port}/docs")
    run(config_of_server, settings)


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
