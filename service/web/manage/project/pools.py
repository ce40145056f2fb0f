"""Annotators to choose from, by their groups."""

from collections.abc import Sequence
from typing import Any

from service.context import Service
from service.labels import annotators

Pools = list[tuple[str | None, list[Any]]]


async def pools_of(parts: Service, chosen: Sequence[str] = ()) -> Pools:
    """The annotators by their groups, and all that are ``chosen`` already; those without a group come last."""
    people = await annotators.choices(parts.database, chosen)
    by_group: dict[str | None, list[Any]] = {}
    for one in people:
        by_group.setdefault(one.group, []).append(one)
    return sorted(by_group.items(), key=lambda pool: (pool[0] is None, pool[0] or ""))
