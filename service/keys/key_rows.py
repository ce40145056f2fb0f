"""API keys in the database, and links that sign in by them, as administrators have them through the service."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import RowMapping, select, update

from service.keys import administrators
from service.keys.auth import Caller, NewKey, audited
from service.keys.sessions import SignInLink
from service.refusals import not_found
from service.store.database import Database, insert_rows
from service.store.repeats.idempotency import Once
from service.store.tables import keys, links, now


async def add(once: Once, made: NewKey, answer: Any, caller: Caller) -> None:
    """Store a new key. ``answer`` is what a repeated request is told."""
    await once.insert({keys: [made.row], **audited(caller, "key.made", made.id, name=made.row["name"])}, answer)


async def add_link(once: Once, key: str, made: SignInLink, answer: Any, caller: Caller) -> None:
    """Store a new link of a key. ``answer`` is what a repeated request is told."""
    await once.insert({links: [made.row], **audited(caller, "link.made", key)}, answer)


async def page(database: Database, after: str, limit: int) -> Sequence[RowMapping]:
    """Return keys behind the id ``after``, by id."""
    query = select(keys).order_by(keys.c.id).limit(limit).where(keys.c.id > after)
    async with database.read() as connection:
        return (await connection.execute(query)).mappings().all()


async def must_be_open(database: Database, id: str) -> None:
    """Raise `NotFound` where there is no such key, or it was revoked."""
    async with database.read() as connection:
        query = select(keys.c.id).where(keys.c.id == id, keys.c.revoked_at.is_(None))
        if (await connection.execute(query)).first() is None:
            raise not_found("key", id, "GET /v1/keys lists them.")


async def revoke(database: Database, id: str, caller: Caller) -> RowMapping:
    """Revoke a key, and return it. Raises `NotFound`, `Unauthorized`, and `Conflict` for the last administrator's."""
    async with database.transaction() as connection:
        await administrators.in_turn(connection)
        await administrators.must_still_be(connection, caller.key)
        before = await administrators.left(connection)
        change = update(keys).where(keys.c.id == id, keys.c.revoked_at.is_(None)).values(revoked_at=now())
        changed = (await connection.execute(change)).rowcount
        row = (await connection.execute(select(keys).where(keys.c.id == id))).mappings().one_or_none()
        if row is None:
            raise not_found("key", id)
        if changed:
            await administrators.one_left(connection, before)
            await connection.run_sync(insert_rows, audited(caller, "key.revoked", id))
        return row


async def names(database: Database, ids: Iterable[str | None]) -> dict[str, str]:
    """What keys are called, by their ids."""
    wanted = sorted({id for id in ids if id is not None})
    async with database.read() as connection:
        rows = await connection.execute(select(keys.c.id, keys.c.name).where(keys.c.id.in_(wanted)))
    return {row.id: row.name for row in rows}


async def for_labelling(database: Database, annotator: str) -> str | None:
    """Return the id of the annotator's newest key that may label and nothing else, if one is valid."""
    async with database.read() as connection:
        query = select(keys).where(keys.c.annotator == annotator, keys.c.revoked_at.is_(None))
        rows = (await connection.execute(query.order_by(keys.c.created_at.desc()))).mappings().all()
    for row in rows:
        if row["scopes"] == ["label"] and (row["expires_at"] is None or row["expires_at"] > now()):
            return str(row["id"])
    return None
