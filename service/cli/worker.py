"""`cai worker`: a process that does jobs. Any number of them may share a PostgreSQL database and a data folder."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer


def worker(
    database: Annotated[
        str | None,
        typer.Option(envvar="CAI_DATABASE", help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings: those of `cai serve`.")] = None,
    data: Annotated[Path | None, typer.Option(help="The folder of data sets, runs and models.")] = None,
) -> None:
    """Do the jobs that servers put into the queue. Kill it at any moment: its jobs go on elsewhere."""
    from service.jobs.worker import work
    from service.quiet import quieten
    from service.settings import Settings

    settings = Settings.read(config, database=database, data=data)
    quieten(settings.log_level)
    asyncio.run(work(settings))
