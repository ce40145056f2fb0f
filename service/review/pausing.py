"""Pausing an annotator in a project: they get no tasks for now, and what they hold goes back to the others.

Their labels stay, unless those are to be put back too: then each is withdrawn, and its item asks for one more label.
"""

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.keys.auth import Caller, audited
from service.labels.tasks import tasking
from service.labels.tasks.tasking import LEASED
from service.refusals import not_found
from service.store.tables import annotators, feedback, leases, now, projects, retractions, tasks


class PauseRequest(BaseModel):
    """Who is paused (or goes on, where ``paused`` is false), why, and whether their labels are withdrawn."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"annotator": "3f2a", "paused": True, "reason": "gold below 60 %"}]},
    )

    annotator: str = Field(max_length=64)
    paused: bool = Field(strict=True)
    reason: str = Field(default="", max_length=2000)
    put_back_labels: bool = Field(default=False, strict=True)


class Paused(BaseModel):
    """What came of it: tasks that went back to the others, and labels that were withdrawn."""

    annotator: str
    paused: bool
    released: int
    withdrawn: int


async def pause(connection: AsyncConnection, caller: Caller, project: str, asked: PauseRequest) -> Paused:
    """Pause an annotator in a project, or let them go on. Raises `NotFound`."""
    row = await connection.run_sync(tasking.lock, project)
    known = select(annotators.c.id).where(annotators.c.id == asked.annotator)
    if (await connection.execute(known)).first() is None:
        raise not_found("annotator", asked.annotator, "GET /v1/annotators lists them.")
    others = [id for id in row["paused"] if id != asked.annotator]
    paused = [*others, asked.annotator] if asked.paused else others
    await connection.execute(update(projects).where(projects.c.id == project).values(paused=paused))
    released = await _release(connection, project, asked.annotator) if asked.paused else 0
    withdrawn = await _withdraw(connection, project, asked, caller) if asked.put_back_labels else 0
    action = "annotator.paused" if asked.paused else "annotator.resumed"
    detail = {"annotator": asked.annotator, "reason": asked.reason, "released": released, "withdrawn": withdrawn}
    for table, rows in audited(caller, action, project, **detail).items():
        await connection.execute(insert(table), rows)
    return Paused(annotator=asked.annotator, paused=asked.paused, released=released, withdrawn=withdrawn)


async def _release(connection: AsyncConnection, project: str, annotator: str) -> int:
    """Give back what the annotator holds."""
    mine = select(tasks.c.id).where(tasks.c.project == project)
    held = delete(leases).where(leases.c.annotator == annotator, leases.c.state == LEASED, leases.c.task.in_(mine))
    return (await connection.execute(held)).rowcount


async def _withdraw(connection: AsyncConnection, project: str, asked: PauseRequest, caller: Caller) -> int:
    """Withdraw what the annotator has labelled: each item asks for one more label."""
    query = (
        select(feedback.c.seq, feedback.c.id, feedback.c.task)
        .join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
        .where(feedback.c.project == project, feedback.c.annotator == asked.annotator, retractions.c.seq.is_(None))
        .where(feedback.c.task.is_not(None))
    )
    given = (await connection.execute(query)).all()
    if given:
        reason = asked.reason or "the annotator was paused"
        rows = [{"seq": row.seq, "reason": reason, "key": caller.key, "at": now()} for row in given]
        await connection.execute(insert(retractions), rows)
    for row in given:
        await connection.run_sync(tasking.reopen, row.task, row.id)
    return len(given)
