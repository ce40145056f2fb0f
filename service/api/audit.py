"""Who did what, and when. Feedback is its own record: it names the key that sent it, and is not repeated here."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import func, select

from service.answers.keys import AuditEntry
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, encode, number
from service.context import Parts, allowed
from service.keys.auth import Caller
from service.labels.label_query import Time
from service.problems import responses
from service.store.tables import audit

router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=StrictRoute, responses=responses())

Admin = Annotated[Caller, allowed("admin")]
Short = Annotated[str | None, Query(max_length=200)]


@router.get("")
async def listed(
    caller: Admin,
    parts: Parts,
    action: Short = None,
    target: Short = None,
    key: Short = None,
    since: Time | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditEntry]:
    """All changes, in the order in which they were made."""
    query = select(audit).where(audit.c.seq > (number(cursor) or 0)).order_by(audit.c.seq).limit(limit + 1)
    for column, value in ((audit.c.action, action), (audit.c.target, target), (audit.c.key, key)):
        query = query if value is None else query.where(column == value)
    if since is not None:
        other = audit.alias()  # by the order of the rows, as `FeedbackFilter.since`: clocks may have been wrong
        first = select(func.min(other.c.seq)).where(other.c.at >= since).scalar_subquery()
        query = query.where(audit.c.seq >= first)
    async with parts.database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
    found = [AuditEntry.model_validate(dict(row)) for row in rows[:limit]]
    return Page(items=found, next=encode(rows[limit - 1]["seq"]) if len(rows) > limit else None)
