"""There is always an administrator: one key with the scope ``admin`` that is not revoked and never expires.

Whatever takes keys away (revoking one, erasing an annotator, `annotator_days`) does it after `in_turn`, and calls
`one_left` before its transaction ends. A key that expires is no administrator here: when it does, nobody is asked.
"""

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.refusals import Conflict, Unauthorized
from service.store.tables import keys

_TURN = 0x6361695D  # of PostgreSQL's advisory locks

FIX = "Make another first: POST /v1/keys with the scope admin and without expires_at, or `cai keys make`."


async def in_turn(connection: AsyncConnection) -> None:
    """Let nobody else take keys away until the transaction ends: SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _TURN})


async def left(connection: AsyncConnection) -> set[str]:
    """The ids of all administrators' keys."""
    open = select(keys.c.id, keys.c.scopes).where(keys.c.revoked_at.is_(None), keys.c.expires_at.is_(None))
    return {row.id for row in await connection.execute(open) if "admin" in row.scopes}


async def one_left(connection: AsyncConnection, before: set[str]) -> None:
    """Raise `Conflict` where the transaction takes away the last of those that were there ``before``."""
    if before and not await left(connection):
        raise Conflict("that would leave no administrator's key that never expires", FIX)


async def must_still_be(connection: AsyncConnection, key: str) -> None:
    """Raise `Unauthorized` where the caller's key was revoked while this request waited for its turn."""
    query = select(keys.c.id).where(keys.c.id == key, keys.c.revoked_at.is_not(None))
    if (await connection.execute(query)).first() is not None:
        raise Unauthorized("the API key was revoked", "Use another key.")
