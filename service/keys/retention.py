"""What is not kept for ever: who annotators are, and the answers to repeated requests. Labels, groups and ids stay."""

import asyncio
import contextlib
import logging
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.keys import administrators
from service.settings import Settings
from service.store.clock import Clock
from service.store.database import Database
from service.store.tables import annotators, audit, feedback, idempotency, keys, links, now, sessions

ERASED = "(erased)"
EVERY_SECONDS = 3600.0
KEPT_AFTER = timedelta(days=7)  # a link that ran out says so for a while, instead of that there is none

log = logging.getLogger("cai.service")


async def erase(connection: AsyncConnection, id: str) -> list[str]:
    """Erase who an annotator is: name and attributes go, keys are revoked. Return the keys' ids."""
    at = now()
    gone: dict[str, Any] = {"name": None, "attributes": {}, "erased_at": at}
    mine = list((await connection.execute(select(keys.c.id).where(keys.c.annotator == id))).scalars())
    await connection.execute(update(annotators).where(annotators.c.id == id).values(**gone))
    await connection.execute(update(keys).where(keys.c.id.in_(mine), keys.c.revoked_at.is_(None)).values(revoked_at=at))
    await connection.execute(update(keys).where(keys.c.id.in_(mine)).values(name=ERASED))
    # A key's name may be its owner's, and so may what was answered when key and annotator were made.
    await connection.execute(update(audit).where(audit.c.target.in_([id, *mine])).values(detail={}))
    await connection.execute(delete(idempotency).where(idempotency.c.body["id"].as_string().in_([id, *mine])))
    return mine


class Retention:
    """Looks every hour for what has been kept long enough. Several servers may: it is done once."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._clock = Clock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._go_on(), name="retention")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def once(self) -> list[str]:
        """Erase what has been kept long enough; return the annotators' ids.

        Whoever has the last administrator's key stays.
        """
        settings = self._settings
        async with self._database.transaction() as connection:
            await administrators.in_turn(connection)
            at = await self._clock.believed(connection)
            old = idempotency.c.at < at - timedelta(days=settings.idempotency_days)
            await connection.execute(delete(idempotency).where(old))
            for table in (sessions, links):
                await connection.execute(delete(table).where(table.c.expires_at < at - KEPT_AFTER))
            if settings.annotator_days is None:
                return []
            removed = []
            for id in await self._idle(connection, at - timedelta(days=settings.annotator_days)):
                if await _is_needed(connection, id):
                    log.warning("the annotator %s has the last administrator's key, and is not erased", id)
                    continue
                await erase(connection, id)
                entry = {"at": now(), "key": None, "action": "annotator.erased", "target": id}
                await connection.execute(audit.insert(), {**entry, "detail": {"days": settings.annotator_days}})
                removed.append(id)
        return removed

    async def _idle(self, connection: AsyncConnection, since: datetime) -> list[str]:
        """The annotators without a label since then."""
        labelled = exists().where(feedback.c.annotator == annotators.c.id, feedback.c.created_at >= since)
        idle = (annotators.c.erased_at.is_(None), annotators.c.created_at < since, ~labelled)
        return list((await connection.execute(select(annotators.c.id).where(*idle))).scalars())

    async def _go_on(self) -> None:
        while True:
            with contextlib.suppress(DBAPIError):  # the database is away for a while: an hour later will do
                if erased := await self.once():
                    log.info("erased %d annotators after %s days", len(erased), self._settings.annotator_days)
            await asyncio.sleep(EVERY_SECONDS)


async def _is_needed(connection: AsyncConnection, annotator: str) -> bool:
    """Whether all administrators' keys are this annotator's."""
    left = await administrators.left(connection)
    mine = set((await connection.execute(select(keys.c.id).where(keys.c.annotator == annotator))).scalars())
    return bool(left) and left <= mine
