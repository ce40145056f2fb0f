"""Whether the database answers, and how long ago each worker was heard of: looked at every few seconds, and when asked.

A look that hangs is not asked again beside it: who wants to know meanwhile hears, within the time that he has, that
there is no answer. Ages are measured by this server's running time from when it saw a worker's row change, so that
clocks of machines need not agree.
"""

import asyncio
import logging
import time
from datetime import datetime
from typing import Self

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service.outward import metrics
from service.store.database import Database
from service.store.tables import workers

ANSWER_SECONDS = 0.8  # in which a database answers that works: whoever asks is told within a second

log = logging.getLogger("cai.service")


class Pulse:
    """One server's looks at database and workers."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database, self._seconds = database, seconds
        self._seen: dict[str, tuple[datetime, float]] = {}
        self._look: asyncio.Task[bool] | None = None
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._go_on(), name="pulse")
        metrics.WORKERS.set_function(lambda: len(self._seen))
        metrics.HEARTBEAT.set_function(lambda: self.age() or 0.0)
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._looking, self._look) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=ANSWER_SECONDS)  # one that hangs is left

    @property
    def workers(self) -> int:
        """How many workers the last look found."""
        return len(self._seen)

    def age(self) -> float | None:
        """Seconds since the worker was heard of that was silent for the longest; None without workers.

        A worker that ends takes its row away, and of one that died others do.
        """
        at = time.monotonic()
        return max((at - since for _, since in list(self._seen.values())), default=None)

    async def answers(self) -> bool:
        """Whether the database answers within `ANSWER_SECONDS`. Looks at the workers, too."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._ask(), name="look at the database")
        done, _ = await asyncio.wait([self._look], timeout=ANSWER_SECONDS)
        return bool(done) and not self._look.cancelled() and self._look.result()

    async def _ask(self) -> bool:
        try:
            async with self._database.read() as connection:
                rows = (await connection.execute(select(workers.c.id, workers.c.seen_at))).all()
        except (SQLAlchemyError, OSError) as error:
            log.warning("the database does not answer: %s", str(error).partition("\n")[0])
            return False
        at, seen = time.monotonic(), {}
        for id, beat in rows:
            before = self._seen.get(id)
            seen[id] = before if before is not None and before[0] == beat else (beat, at)
        self._seen = seen
        return True

    async def _go_on(self) -> None:
        while True:
            await self.answers()
            await asyncio.sleep(self._seconds)
