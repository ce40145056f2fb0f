"""The process of the worker that `service.jobs.worker.inside` keeps going; its standard input ties it to the server."""

import asyncio
import os
import socket
from functools import partial

from service.bounds.quiet import quieten
from service.jobs.worker.link import LinkedEngines, WorkerLink
from service.jobs.worker.worker import work

NICE = 5  # batch work lets the server go first


async def _main(connection: socket.socket) -> None:
    link = await WorkerLink.open(connection)
    quieten(link.settings.log_level)
    await work(link.settings, partial(LinkedEngines, link), link.ended)


if __name__ == "__main__":
    os.nice(NICE)
    asyncio.run(_main(socket.socket(fileno=os.dup(0))))
