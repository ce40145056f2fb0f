"""How long annotators take for a label, as those who run a project are told it."""

from typing import Any

from sqlalchemy import BigInteger, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from service.labels.tasks.tasking import ANSWERED
from service.store.tables import feedback, leases, tasks

SECOND = 1_000_000  # in the database's microseconds


async def speeds(connection: AsyncConnection, project: str) -> dict[str, float | None]:
    """The mean seconds of each annotator's labels: as measured, or since the lease; None where neither is known."""
    return {row.annotator: _seconds(row.n, row.spent) for row in await connection.execute(_speed(project))}


def _speed(project: str) -> Any:
    """For each annotator the labels, and the time that they took in microseconds."""
    leased = type_coerce(leases.c.until, BigInteger) - type_coerce(leases.c.since, BigInteger)
    spent = func.coalesce(feedback.c.seconds * SECOND, leased)
    query = select(leases.c.annotator, func.count().label("n"), func.sum(spent).label("spent"))
    query = query.join(tasks, leases.c.task == tasks.c.id).join(feedback, feedback.c.id == leases.c.feedback)
    query = query.where(tasks.c.project == project)
    return query.where(leases.c.state == ANSWERED).group_by(leases.c.annotator)


def _seconds(labels: int, spent: Any) -> float | None:
    return float(spent) / SECOND / labels if spent else None
