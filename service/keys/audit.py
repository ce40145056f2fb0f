"""The audit in the database: who did what, in the order in which it was done."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import RowMapping, func, select

from service.store.database import Database
from service.store.tables import audit


async def page(
    database: Database,
    after: int,
    limit: int,
    *,
    action: str | None = None,
    target: str | None = None,
    key: str | None = None,
    since: datetime | None = None,
) -> Sequence[RowMapping]:
    """Return entries behind the number ``after``: those of which all that is given holds."""
    query = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
    for column, value in ((audit.c.action, action), (audit.c.target, target), (audit.c.key, key)):
        query = query if value is None else query.where(column == value)
    if since is not None:
        other = audit.alias()  # by the order of the rows, as `FeedbackFilter.since`: clocks may have been wrong
        first = select(func.min(other.c.seq)).where(other.c.at >= since).scalar_subquery()
        query = query.where(audit.c.seq >= first)
    async with database.read() as connection:
        return (await connection.execute(query)).mappings().all()
