"""Jobs in lists, and what a page lets somebody choose from them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from service.jobs.job import Job, State
from service.jobs.queue import COLUMNS
from service.store.database import Database
from service.store.tables import job_events, jobs


async def page(
    database: Database, before: int | None, limit: int, *, state: State | None = None, kind: str | None = None
) -> tuple[list[Job], int | None]:
    """Return jobs before a number, the newest first, and the number before which more follow, if any do."""
    query = select(*COLUMNS, jobs.c.seq).order_by(jobs.c.seq.desc()).limit(limit + 1)
    wanted = [column == value for column, value in ((jobs.c.state, state), (jobs.c.kind, kind)) if value is not None]
    wanted += [jobs.c.seq < before] if before is not None else []
    async with database.read() as connection:
        rows = (await connection.execute(query.where(*wanted))).mappings().all()
    listed = [Job.model_validate(dict(row)) for row in rows[:limit]]
    return listed, rows[limit - 1]["seq"] if len(rows) > limit else None


async def done(database: Database, limit: int, kinds: Sequence[str] = ()) -> Sequence[Any]:
    """Return id, kind and time of the newest jobs that are done; only of these kinds, where any are given."""
    query = select(jobs.c.id, jobs.c.kind, jobs.c.created_at).where(jobs.c.state == "done")
    if kinds:
        query = query.where(jobs.c.kind.in_(kinds))
    async with database.read() as connection:
        return (await connection.execute(query.order_by(jobs.c.seq.desc()).limit(limit))).all()


async def sources(database: Database, job: str | None) -> list[str]:
    """What a job was given, as it was named each time that it was submitted."""
    query = select(job_events.c.body).where(job_events.c.job == job, job_events.c.kind == "queued")
    async with database.read() as connection:
        bodies = (await connection.execute(query.order_by(job_events.c.seq))).scalars().all()
    return list(dict.fromkeys(source for body in bodies for source in body.get("sources", ())))
