"""Annotators to choose from, by their groups."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select

from service.context import Service
from service.store.tables import annotators

MOST_LISTED = 200

Pools = list[tuple[str | None, list[Any]]]


async def pools_of(parts: Service, chosen: Sequence[str] = ()) -> Pools:
    """The annotators by their groups, and all that are ``chosen`` already; those without a group come last."""
    known = select(annotators.c.id).where(annotators.c.erased_at.is_(None))
    listed = known.order_by(annotators.c.group, annotators.c.name).limit(MOST_LISTED)
    query = select(annotators.c.id, annotators.c.name, annotators.c.group)
    query = query.where(or_(annotators.c.id.in_(listed), annotators.c.id.in_(chosen)))
    async with parts.database.read() as connection:
        people = (await connection.execute(query.order_by(annotators.c.group, annotators.c.name))).all()
    by_group: dict[str | None, list[Any]] = {}
    for one in people:
        by_group.setdefault(one.group, []).append(one)
    return sorted(by_group.items(), key=lambda pool: (pool[0] is None, pool[0] or ""))
