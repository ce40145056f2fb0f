"""Rows that take their worker down with them: found, and quarantined instead of going round for ever.

A life of a worker that committed no call in a chunk counts against the chunk. After `LIVES` of these in a row its rows
are run one at a time, and each death counts against the row that was under way. Workers that die of something else
commit calls meanwhile, so that all counts begin anew.
"""

from collections.abc import Awaitable, Callable

from sqlalchemy import update

from critic.records import Line, Quarantined
from service.jobs.ledger import JobStore
from service.tables import jobs

LIVES = 3

Entry = Line | Quarantined


async def guarded(
    entries: list[Entry], store: JobStore, plan: str, execute: Callable[[list[Entry]], Awaitable[None]]
) -> None:
    """Run ``entries`` by ``execute``: together, or one by one where they were fatal together."""
    chunk, before = entries[0].row, store.trying()
    again = before.get("chunk") == chunk and before["calls"] == store.calls()
    lives = before["lives"] + 1 if again else 1
    deaths: dict[str, int] = before["deaths"] if again else {}
    if again and before["alone"] is not None:
        deaths[str(before["alone"])] = deaths.get(str(before["alone"]), 0) + 1

    async def begin(alone: int | None) -> None:
        trying = {"chunk": chunk, "calls": store.calls(), "lives": lives, "deaths": deaths, "alone": alone}
        change = update(jobs).where(jobs.c.id == store.job).values(trying=trying)
        await store.write(lambda connection: connection.execute(change))

    await begin(None)
    if lives <= LIVES:
        await execute(entries)
        return
    for entry in entries:
        if deaths.get(str(entry.row), 0) >= LIVES:
            detail = f"the worker died {LIVES} times while it ran this row and no other"
            refused = Quarantined(row=entry.row, where=entry.where, reason="poisoned", detail=detail)
            await store.finish(refused, "", plan)
        else:
            await begin(entry.row)
            await execute([entry])
