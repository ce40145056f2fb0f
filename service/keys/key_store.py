"""Keys on the database itself, for whoever may open it: what `cai keys` does, and the first key of a new service."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import insert, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from base.errors import InputError
from service.keys import administrators
from service.keys.auth import SCOPES, NewKey, new_key
from service.keys.names import MOST_CHARACTERS, seen
from service.refusals import Conflict
from service.store.database import Database
from service.store.tables import annotators, audit, keys, now


async def make(url: str, name: str, scopes: Sequence[str], annotator: str | None = None) -> NewKey:
    """Make a key. Raises `InputError` for an unknown scope or annotator."""
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise InputError(f"there is no scope {unknown[0]!r}", where="--scope", fix=f"expected {', '.join(SCOPES)}")
    name = seen(name)
    if not 1 <= len(name) <= MOST_CHARACTERS:
        raise InputError(f"a name has 1 to {MOST_CHARACTERS} characters that can be seen", where="NAME")
    made = new_key(name, scopes, annotator=annotator)
    async with _changed(url) as connection:
        if annotator is not None:
            known = select(annotators.c.id).where(annotators.c.id == annotator, annotators.c.erased_at.is_(None))
            if (await connection.execute(known)).first() is None:
                raise InputError(f"there is no annotator {annotator!r}", where="--annotator")
        await connection.execute(insert(keys), made.row)
        await _audit(connection, "key.made", made.id, {"name": name})
    return made


async def listed(url: str) -> list[dict[str, Any]]:
    """All keys, the oldest first."""
    async with _opened(url) as database, database.read() as connection:
        query = select(keys).order_by(keys.c.created_at, keys.c.id)
        return [dict(row) for row in (await connection.execute(query)).mappings()]


async def revoke(url: str, id: str) -> None:
    """Revoke a key. Raises `InputError` where there is none, or it is the last administrator's."""
    async with _changed(url) as connection:
        await administrators.in_turn(connection)
        before = await administrators.left(connection)
        if (await connection.execute(select(keys.c.id).where(keys.c.id == id))).first() is None:
            raise InputError(f"there is no key {id!r}", where="ID", fix="`cai keys list` shows all.")
        open = update(keys).where(keys.c.id == id, keys.c.revoked_at.is_(None))
        if (await connection.execute(open.values(revoked_at=now()))).rowcount:
            await _audit(connection, "key.revoked", id, {})
        try:
            await administrators.one_left(connection, before)
        except Conflict as refusal:
            raise InputError(refusal.detail, where="ID", fix="Make another first: `cai keys make`.") from None


async def take_back(url: str, id: str) -> None:
    """Remove a key that nobody could be told."""
    async with _changed(url) as connection:
        await connection.execute(keys.delete().where(keys.c.id == id))


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    async with Database(url) as database:
        async with database.read() as connection:
            there = await connection.run_sync(lambda sync: "keys" in inspect(sync).get_table_names())
        if not there:
            raise InputError("this database holds no service", where="--database", fix="`cai serve` makes one.")
        yield database


@asynccontextmanager
async def _changed(url: str) -> AsyncIterator[AsyncConnection]:
    async with _opened(url) as database, database.transaction() as connection:
        yield connection


async def _audit(connection: AsyncConnection, action: str, target: str, detail: dict[str, Any]) -> None:
    entry = {"at": now(), "key": None, "action": action, "target": target, "detail": detail}
    await connection.execute(insert(audit), entry)
