"""`cai worker`: a process that does jobs. Any number of them may share a PostgreSQL database and a data folder."""

import asyncio

from service.bounds.quiet import quieten
from service.cli.given.service_options import Data, SettingsFile, Url
from service.cli.given.service_settings import read_existing
from service.cli.shown.missing import tell_missing
from service.engines import checked_engines
from service.jobs.worker.worker import work


def worker(database: Url = None, config: SettingsFile = None, data: Data = None) -> None:
    """Carry out the jobs in the queue of a service. It can be killed at any moment: its jobs continue elsewhere."""
    settings = read_existing(config, database=database, data=data)
    checked_engines(settings)
    quieten(settings.log_level)
    tell_missing(settings)
    asyncio.run(work(settings))
