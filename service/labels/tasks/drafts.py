"""What somebody began to say of a task: kept on the server, too, so that no closed browser loses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.labels.tasks import tasking
from service.refusals import not_found
from service.store.tables import drafts, now

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Draft:
    """The fields of a task's page, as they were at ``saved_at``."""

    fields: Fields
    saved_at: datetime


async def save(connection: AsyncConnection, task: str, annotator: str, fields: Fields) -> None:
    """Keep a draft in the place of the one before. Raises `NotFound` for a task that the annotator never got."""
    if await tasking.lease(connection, task, annotator) is None:
        raise not_found("task", task)
    await drop(connection, task, annotator)
    row = {"task": task, "annotator": annotator, "fields": [list(field) for field in fields], "saved_at": now()}
    await connection.execute(drafts.insert(), row)


async def read(connection: AsyncConnection, task: str, annotator: str) -> Draft | None:
    """The draft of a task, if there is one."""
    query = select(drafts).where(drafts.c.task == task, drafts.c.annotator == annotator)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Draft([(name, value) for name, value in row.fields], row.saved_at)


async def drop(connection: AsyncConnection, task: str, annotator: str) -> None:
    """Forget a draft: the task was answered or skipped."""
    await connection.execute(delete(drafts).where(drafts.c.task == task, drafts.c.annotator == annotator))
