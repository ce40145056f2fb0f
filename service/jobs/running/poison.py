"""Rows that take their worker down with them: found, and quarantined instead of going round for ever.

A life of a worker that committed no call in a chunk counts against the chunk. After `LIVES` of these in a row its rows
are run in groups, the first of one row and each next one larger, so that what is fatal soon stands first, and alone.
Each death of a row that was alone counts against it. Workers that die of something else commit calls meanwhile, so that
all counts begin anew.
"""

from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import update

from critic.records import Line, Quarantined
from critic.run.execute import item_key
from service.jobs.work.ledger import JobStore
from service.store.tables import jobs

LIVES = 3
GROWTH = 4  # how many times larger than the group before a group is

Entry = Line | Quarantined


async def guarded(
    entries: Sequence[Entry], store: JobStore, plan: str, execute: Callable[[Sequence[Entry]], Awaitable[None]]
) -> None:
    """Run ``entries`` by ``execute``: together, or in groups where they were fatal together."""
    chunk, before = entries[0].row, store.trying()
    again = before.get("chunk") == chunk and before["calls"] == store.calls()
    lives = before["lives"] + 1 if again else 1
    deaths: dict[str, int] = before["deaths"] if again else {}
    if again and before["alone"] is not None:
        deaths[str(before["alone"])] = deaths.get(str(before["alone"]), 0) + 1

    async def run(group: Sequence[Entry]) -> None:
        alone = group[0].row if len(group) == 1 else None
        trying = {"chunk": chunk, "calls": store.calls(), "lives": lives, "deaths": deaths, "alone": alone}
        change = update(jobs).where(jobs.c.id == store.job).values(trying=trying)
        await store.write(lambda connection: connection.execute(change))
        await execute(group)

    if lives <= LIVES:
        await run(entries)
        return
    left = [entry for entry in entries if not _is_done(entry, store, plan)]
    for entry in left:
        if deaths.get(str(entry.row), 0) >= LIVES:
            await store.finish(_poisoned(entry), "", plan)
    left, size = [entry for entry in left if deaths.get(str(entry.row), 0) < LIVES], 1
    while left:
        group, left, size = left[:size], left[size:], size * GROWTH
        await run(group)


def _is_done(entry: Entry, store: JobStore, plan: str) -> bool:
    return isinstance(entry, Line) and store.is_done(entry.row, item_key(entry), plan)


def _poisoned(entry: Entry) -> Quarantined:
    detail = f"the worker died {LIVES} times while it ran this row and no other"
    return Quarantined(row=entry.row, where=entry.where, reason="poisoned", detail=detail)
