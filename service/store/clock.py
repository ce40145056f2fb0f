"""How late it is, as far as it is believed: what may be erased for good doesn't hang on a clock that jumped.

A clock says 2100 after a flat battery, and the year before last in a virtual machine that was put back. The database
keeps the latest time that was believed. A server moves it on: by the time that it has run itself, and, when it starts,
to its clock, if that is at most `LEAP` later. Where a clock is further ahead (the service was off for long, or the
clock is wrong), believed time catches up at twice the pace of running time; so erasing comes late, and never too early.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.tables import annotators, audit, clock, feedback, now

LEAP = timedelta(days=7)  # as long as services are usually off: over a holiday's week
SLACK = timedelta(minutes=5)  # by which clocks that are set by a network differ from running time

log = logging.getLogger("cai.service")


@dataclass(slots=True)
class Clock:
    """What one server adds to the believed time. ``_looked`` is by a clock that only runs forward."""

    _looked: float | None = None

    async def believed(self, connection: AsyncConnection) -> datetime:
        """Move the believed time on, and return it; never later than the clock. To be called in a transaction."""
        before = await _latest(connection)
        here, running = now(), self._running()
        after = moved(before, here, running)
        await connection.execute(update(clock).values(believed=after))
        if here - after > SLACK:
            log.warning("the clock says %s, of which %s is believed: is it right?", here.isoformat(), after.isoformat())
        return min(here, after)

    def _running(self) -> timedelta | None:
        """How long this server has run since the last look; None at its first."""
        at = time.monotonic()
        before, self._looked = self._looked, at
        return None if before is None else timedelta(seconds=at - before)


def moved(before: datetime, here: datetime, running: timedelta | None) -> datetime:
    """The time that is believed next, where the clock says ``here`` after ``running``. It never goes back."""
    ahead = here - before
    allowed = LEAP if running is None else running + SLACK
    if ahead <= allowed:
        return max(before, here)
    return before + 2 * (running or timedelta())


async def _latest(connection: AsyncConnection) -> datetime:
    """The believed time so far; of a database that has none yet, that of its latest rows."""
    latest: datetime | None = (
        await connection.execute(select(clock.c.believed).with_for_update())
    ).scalar_one_or_none()
    if latest is not None:
        return latest
    latest = await _of_rows(connection)
    await connection.execute(insert(clock), {"id": 1, "believed": latest})
    return latest


async def _of_rows(connection: AsyncConnection) -> datetime:
    """When the newest rows say that they were stored: newest by their numbers. With no rows, what the clock says."""
    said = []
    for table, moment in ((feedback, feedback.c.created_at), (audit, audit.c.at)):
        query = select(moment).order_by(table.c.seq.desc()).limit(1)
        said.append((await connection.execute(query)).scalar_one_or_none())
    said.append((await connection.execute(select(func.max(annotators.c.created_at)))).scalar_one_or_none())
    return max((moment for moment in said if moment is not None), default=now())
