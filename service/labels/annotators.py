"""Annotators in the database: made, looked up, changed, erased; and what people are called, by their ids."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.keys import administrators, retention
from service.keys.auth import Caller, audited
from service.labels.labels import new_id
from service.refusals import Conflict, Invalid, not_found
from service.store.database import Database, insert_rows
from service.store.repeats.idempotency import Once
from service.store.tables import annotators, now

LONGEST_QUERY = 200  # names that are looked up at once
MOST_LISTED = 200  # annotators to choose from


def new(values: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the row of a new annotator, of whom ``values`` says name, group and attributes."""
    return {"id": new_id(), **values, "created_at": now(), "erased_at": None}


async def add(once: Once, row: Mapping[str, Any], answer: Any, caller: Caller) -> None:
    """Store a new annotator. Raises `Conflict` where the name is taken."""
    try:
        await once.insert({annotators: [row], **audited(caller, "annotator.made", row["id"])}, answer)
    except IntegrityError:
        raise Conflict(
            f"there is an annotator {row['name']!r} already",
            "GET /v1/annotators?name= finds them; or use another name.",
        ) from None


async def page(database: Database, after: str, limit: int, called: Iterable[str] | None = None) -> Sequence[RowMapping]:
    """Return annotators behind the id ``after``, by id; only those ``called`` so, where that is given."""
    query = select(annotators).order_by(annotators.c.id).limit(limit).where(annotators.c.id > after)
    if called is not None:
        query = query.where(annotators.c.name.in_(sorted(called)))
    async with database.read() as connection:
        return (await connection.execute(query)).mappings().all()


async def get(database: Database, id: str) -> RowMapping:
    """Return one annotator. Raises `NotFound`."""
    async with database.read() as connection:
        return await _one(connection, id)


async def change(database: Database, id: str, changes: Mapping[str, Any], caller: Caller) -> RowMapping:
    """Change an annotator, and return what they are then. Raises `NotFound`, and `Conflict` for one that was erased."""
    async with database.transaction() as connection:
        before = await _one(connection, id)
        if before["erased_at"] is not None:
            raise Conflict("the annotator was erased", "Make a new one: POST /v1/annotators.")
        if changes:
            await connection.execute(update(annotators).where(annotators.c.id == id).values(**changes))
            rows = audited(caller, "annotator.changed", id, changed=sorted(changes))
            await connection.run_sync(insert_rows, rows)
        return await _one(connection, id)


async def erase(database: Database, id: str, caller: Caller) -> tuple[RowMapping, Sequence[str]]:
    """Erase who an annotator is, and return what is left with the ids of their keys, which are revoked.

    Raises `NotFound`, `Unauthorized`, and `Conflict` for the last administrator.
    """
    async with database.transaction() as connection:
        await administrators.in_turn(connection)
        await administrators.must_still_be(connection, caller.key)
        administrating = await administrators.left(connection)
        before = await _one(connection, id)
        revoked: Sequence[str] = []
        if before["erased_at"] is None:
            revoked = await retention.erase(connection, id)
            await administrators.one_left(connection, administrating)
            await connection.run_sync(insert_rows, audited(caller, "annotator.erased", id))
        return await _one(connection, id), revoked


async def must_be_there(connection: AsyncConnection, ids: Sequence[str], where: str) -> None:
    """Raise `Invalid` for an id that is no annotator's, or was erased."""
    query = select(annotators.c.id).where(annotators.c.id.in_(ids), annotators.c.erased_at.is_(None))
    known = set((await connection.execute(query)).scalars()) if ids else set()
    if unknown := [id for id in ids if id not in known]:
        raise Invalid(f"there is no annotator {unknown[0]!r}", "POST /v1/annotators makes one.", where=where)


async def must_hold_key(database: Database, id: str) -> None:
    """Raise `NotFound` where nobody of this id is there who may have a key."""
    there = (annotators.c.id == id, annotators.c.erased_at.is_(None))
    async with database.read() as connection:
        if (await connection.execute(select(annotators.c.id).where(*there))).first() is None:
            raise not_found("annotator", id, "POST /v1/annotators makes one.")


async def names(database: Database, ids: Iterable[str | None]) -> dict[str, str]:
    """What people are called, by their ids. Who was erased, or is a judge, is not among them."""
    wanted = sorted({id for id in ids if id is not None})
    named: dict[str, str] = {}
    async with database.read() as connection:
        for start in range(0, len(wanted), LONGEST_QUERY):
            part = wanted[start : start + LONGEST_QUERY]
            query = select(annotators.c.id, annotators.c.name).where(annotators.c.id.in_(part))
            named |= {row.id: row.name for row in await connection.execute(query) if row.name is not None}
    return named


async def name(database: Database, id: str) -> str | None:
    """What the annotator of a key is called; None once they were erased."""
    async with database.read() as connection:
        query = select(annotators.c.name).where(annotators.c.id == id)
        called: str | None = (await connection.execute(query)).scalar_one()
        return called


async def choices(database: Database, chosen: Sequence[str] = ()) -> Sequence[Any]:
    """Return annotators to choose from, by group and name, and all that are ``chosen`` already."""
    known = select(annotators.c.id).where(annotators.c.erased_at.is_(None))
    listed = known.order_by(annotators.c.group, annotators.c.name).limit(MOST_LISTED)
    query = select(annotators.c.id, annotators.c.name, annotators.c.group)
    query = query.where(or_(annotators.c.id.in_(listed), annotators.c.id.in_(chosen)))
    async with database.read() as connection:
        return (await connection.execute(query.order_by(annotators.c.group, annotators.c.name))).all()


async def _one(connection: AsyncConnection, id: str) -> RowMapping:
    row = (await connection.execute(select(annotators).where(annotators.c.id == id))).mappings().one_or_none()
    if row is None:
        raise not_found("annotator", id, "GET /v1/annotators lists them.")
    return row
