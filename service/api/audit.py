"""Who did what, and when. Feedback is its own record: it names the key that sent it, and is not repeated here."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.answers.keys import AuditEntry
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, encode, number
from service.context import Parts, allowed
from service.keys import audit
from service.keys.auth import Caller
from service.labels.label_query import Time
from service.problems import responses

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
    after = number(cursor) or 0
    rows = await audit.page(parts.database, after, limit + 1, action=action, target=target, key=key, since=since)
    entries = [AuditEntry.model_validate(dict(row)) for row in rows[:limit]]
    return Page(items=entries, next=encode(rows[limit - 1]["seq"]) if len(rows) > limit else None)
