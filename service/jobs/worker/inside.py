"""The worker that `cai serve` runs beside itself, where nothing else does jobs.

It is a process of its own: batch work takes no turn of the server's event loop, a job that takes its worker down takes
nothing else, and the system shares the cores. Its engines are the server's (`service.jobs.worker.link`). The two are
tied by one socket: where one process is gone, however it went, the other sees the socket's end. Then the worker hands
its jobs back and ends, and the server starts another.
"""

import asyncio
import logging
import os
import socket
import sys
from typing import Self

from service.engines import Engines
from service.jobs.worker.link import BEATS, Patience, serve
from service.settings import Settings

RESTART_SECONDS = 1.0
END_SECONDS = 10.0  # how long a worker may take to hand its jobs back
STARTING_SECONDS = 300.0  # until its first beat: what it imports is large, and may lie on a slow disk
SILENT_SECONDS = 20.0  # at least; a loaded machine gives it its turn in less
CHILD = "service.jobs.worker.beside"  # the program of that process: what it imports, the server needs nothing of

log = logging.getLogger("cai.jobs")


class Inside:
    """Keeps one worker going beside this server."""

    def __init__(self, settings: Settings, engines: Engines) -> None:
        self._settings, self._engines = settings, engines
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._keep(), name="worker beside the server")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            code = await self._run()
            log.warning("the worker beside the server has ended (%s); another is started", code)
            await asyncio.sleep(RESTART_SECONDS)

    async def _run(self) -> int | None:
        """Run one worker until it ends, or until this is cancelled."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", CHILD]
            path = os.pathsep.join(path for path in sys.path if path)
            process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs.fileno(), start_new_session=True, env={**os.environ, "PYTHONPATH": path}
            )
        beats = BEATS * self._settings.heartbeat_seconds
        try:
            await serve(ours, self._settings, self._engines, Patience(STARTING_SECONDS, max(SILENT_SECONDS, beats)))
        except TimeoutError:
            log.warning("the worker beside the server says nothing any more, and is killed")
            process.kill()
        finally:
            try:
                async with asyncio.timeout(END_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        return process.returncode
