"""What somebody began to say of a task: kept on the server, too, so that no closed browser loses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.labels.tasks import tasking
from service.refusals import not_found
from service.store.tables import drafts, leases, now

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Draft:
    """The fields of a task's page, as they were at ``saved_at``."""

    fields: Fields
    saved_at: datetime


async def save(
    connection: AsyncConnection, task: str, annotator: str, fields: Fields, replaces: str | None = None
) -> None:
    """Keep a draft in the place of the one before. Raises `NotFound` for a task that the annotator never got.

    ``replaces`` is the answer that it began to correct. A draft that comes later than the answer which it led to, or
    than the skip, is of no use any more, and is left out: its page had sent it before.
    """
    # Whoever answers writes this row before they drop the draft: so none is saved between the two.
    mine = select(leases.c.state, leases.c.feedback).where(leases.c.task == task, leases.c.annotator == annotator)
    lease = (await connection.execute(mine.with_for_update())).one_or_none()
    if lease is None:
        raise not_found("task", task)
    if lease.state == tasking.SKIPPED or lease.feedback != replaces:
        return
    await drop(connection, task, annotator)
    row = {"task": task, "annotator": annotator, "fields": [list(field) for field in fields], "saved_at": now()}
    await connection.execute(drafts.insert(), row)


async def read(connection: AsyncConnection, task: str, annotator: str) -> Draft | None:
    """The draft of a task, if there is one."""
    query = select(drafts).where(drafts.c.task == task, drafts.c.annotator == annotator)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Draft([(name, value) for name, value in row.fields], row.saved_at)


async def drop(connection: AsyncConnection, task: str, annotator: str) -> None:
    """Forget a draft, in the transaction that stores the answer or the skip, and after it closed the lease."""
    await connection.execute(delete(drafts).where(drafts.c.task == task, drafts.c.annotator == annotator))
