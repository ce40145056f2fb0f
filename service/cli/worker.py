"""`cai worker`: a process that does jobs. Any number of them may share a PostgreSQL database and a data folder."""

import asyncio
import logging

from service.cli.service_options import Data, SettingsFile, Url, read_existing


def worker(database: Url = None, config: SettingsFile = None, data: Data = None) -> None:
    """Do the jobs that servers put into the queue. Kill it at any moment: its jobs go on elsewhere."""
    from service.jobs.worker import work

    settings = read_existing(config, database=database, data=data)
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(work(settings))
