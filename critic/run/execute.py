"""A run: many prompts through the pipeline at once, each row committed when it is done, in whatever order they end.

Kill it anywhere and start it again: rows that are done are skipped, and in rows that were under way the ledger answers
what was answered before.
"""

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pydantic import ValidationError

from base.digest import digest
from critic.calls.faults import Streak
from critic.engine import EngineError, HeldBack, RequestTooLong, RunStopped
from critic.files.inputs import Unread
from critic.pipeline import Pipeline
from critic.records import Item, Line, Quarantined, Row

# Enough prompts at once to fill an engine's batches through their serial stages; memory is this many rows.
PROMPTS_IN_FLIGHT = 64
ENGINE_ERROR = "engine_error"
MOST_DOUBTFUL = 256  # rows; more than make a streak of any kind, and little memory
QUESTION_DIGITS = 32  # of its hash: 128 bits tell more questions apart than any input holds
ITEM_DIGITS = QUESTION_DIGITS + 64  # the hash of all of an item comes after that of its question
NAME_DIGITS = 16  # of the hashes of an id and of its prompt: they only say whether a person named two prompts alike


@dataclass(slots=True)
class Progress:
    """Where a run stands. ``skipped`` rows were done before; ``stopped`` says why it ended early, if it did.

    ``engines`` says which is slowest, and how many calls are under way: see `CallsUnderWay.told`.
    """

    rows: int = 0
    skipped: int = 0
    quarantined: int = 0
    pairs: int = 0
    stopped: str = ""
    engines: str = ""


class RowStore(Protocol):
    """Where rows end up: `critic.run.folder.store.RunStore`, and the service's database."""

    def is_done(self, row: int, item: str, plan: str) -> bool:
        """Whether ``row`` has a result for this item (its `item_key`) under this plan (a hash)."""
        ...

    async def finish(self, result: Row | Quarantined, item: str, plan: str) -> None:
        """Store what came of a row, in place of what it had."""
        ...

    async def trim(self, rows: int) -> None:
        """Forget results from position ``rows`` on."""
        ...


class KnownRow(NamedTuple):
    """A row that needs no reading, because it has its result: where it stands, and its `item_key`."""

    row: int
    where: str
    item: str


async def execute(
    pipeline: Pipeline,
    unread: Iterable[Unread],
    known: Iterator[KnownRow],
    store: RowStore,
    plan: str,
    progress: Progress,
) -> None:
    """Run every row of the input that has no result yet, and keep ``progress`` up to date.

    Rows that are ``known``, in the order of the input, are stepped over.
    Raises `StoreError` where the directory can't be written any more.
    """
    count = 0
    with closing(SeenPrompts()) as seen:

        def checked() -> Iterator[Line | Quarantined]:
            nonlocal count
            upcoming = next(known, None)
            for row, read in enumerate(unread):
                count = row + 1
                if upcoming is not None and upcoming.row == row:
                    seen.add(upcoming)
                    progress.skipped += 1
                    upcoming = next(known, None)
                else:
                    yield seen.check(read())

        await execute_rows(pipeline, checked(), store, plan, progress, Streak())
    if not progress.stopped:
        await store.trim(count)


async def execute_rows(
    pipeline: Pipeline,
    entries: Iterable[Line | Quarantined],
    store: RowStore,
    plan: str,
    progress: Progress,
    streak: Streak,
) -> None:
    """Run those of ``entries`` that have no result yet, which `SeenPrompts` has checked.

    A row whose call can't be answered is quarantined, and costs no other row anything. Where the budget is reached, the
    engine is gone or fails every row alike (see `critic.calls.faults.Streak`), no new row is begun, and those under
    way end where their next call would be. Rows that failed as those did that made the engine out are not blamed.
    ``streak`` belongs to all rows that these engines are asked for, in whatever parts they come.
    """
    slots = asyncio.Semaphore(PROMPTS_IN_FLIGHT)
    doubtful = Doubtful(store, plan, progress)

    async def one(line: Line, item: str) -> None:
        try:
            result = await _result(pipeline, line, streak)
            if isinstance(result, Quarantined) and result.reason == ENGINE_ERROR:
                await doubtful.hold(result, item)
            else:
                await store.finish(result, item, plan)
                _count(progress, result)
            if not streak.is_doubtful:
                await doubtful.blame()
        except RunStopped as reason:
            progress.stopped = progress.stopped or str(reason)
        finally:
            slots.release()

    async def begun() -> bool:
        """Wait for a slot, and for any doubt to be settled. False where the run has stopped."""
        await slots.acquire()
        try:
            await streak.clear()
        except RunStopped as reason:
            progress.stopped = progress.stopped or str(reason)
        if progress.stopped:
            slots.release()
        return not progress.stopped

    try:
        async with asyncio.TaskGroup() as tasks:
            for entry in entries:
                if isinstance(entry, Quarantined):
                    await store.finish(entry, "", plan)
                    _count(progress, entry)
                elif store.is_done(entry.row, item := item_key(entry), plan):
                    progress.skipped += 1
                elif await begun():
                    tasks.create_task(one(entry, item))
                else:
                    break
        progress.stopped = progress.stopped or streak.verdict or ""
        if not progress.stopped:
            await doubtful.blame()
    except* Exception as group:
        raise _first(group) from None


class Doubtful:
    """Rows that failed, while it is not known whose fault that is."""

    def __init__(self, store: RowStore, plan: str, progress: Progress) -> None:
        self._store, self._plan, self._progress = store, plan, progress
        self._held: list[tuple[Quarantined, str]] = []

    async def hold(self, result: Quarantined, item: str) -> None:
        """Keep a row back. Failures of so many kinds that none becomes a streak are the rows' own."""
        self._held.append((result, item))
        if len(self._held) > MOST_DOUBTFUL:
            await self.blame()

    async def blame(self) -> None:
        """Quarantine the rows: it was not the engine."""
        held, self._held = self._held, []
        for result, item in held:
            await self._store.finish(result, item, self._plan)
            _count(self._progress, result)


def item_key(line: Line) -> str:
    """What a row's result is of, for `RowStore`: the question, which `SeenPrompts` compares, then all of the item.

    Last, where the prompt has an id, the id and the prompt, which `SeenPrompts` compares, too.
    """
    return _question(line.item) + digest(line.item.model_dump(mode="json")) + _named(line.item)


async def _result(pipeline: Pipeline, line: Line, streak: Streak) -> Row | Quarantined:
    try:
        with streak.attempt():
            return await pipeline.run(line)
    except RequestTooLong as error:
        return Quarantined(row=line.row, where=line.where, reason="too_long", detail=str(error))
    except HeldBack as error:
        return Quarantined(row=line.row, where=line.where, reason="held_back", detail=str(error))
    except EngineError as error:
        return Quarantined(row=line.row, where=line.where, reason=ENGINE_ERROR, detail=str(error))
    except ValidationError as error:
        # An engine's answer that no record can hold, such as text with half a surrogate pair.
        detail = "; ".join(fault["msg"] for fault in error.errors())
        return Quarantined(row=line.row, where=line.where, reason="bad_answer", detail=detail)


class SeenPrompts:
    """Which prompts came before, on disk and not in memory: inputs can be larger than it."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # a private file that SQLite deletes itself
        self._db.execute("PRAGMA cache_size = -32768")  # KiB: some 500,000 questions stay in memory
        self._db.execute("CREATE TABLE seen (question BLOB PRIMARY KEY, row INTEGER, place TEXT) WITHOUT ROWID")
        self._db.execute("CREATE TABLE named (id BLOB PRIMARY KEY, prompt BLOB, row INTEGER, place TEXT) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Delete the file."""
        self._db.close()

    def add(self, row: KnownRow) -> bool:
        """Add a row's question, and its id. Return whether the question is new."""
        if name := row.item[ITEM_DIGITS:]:
            values = bytes.fromhex(name[:NAME_DIGITS]), bytes.fromhex(name[NAME_DIGITS:]), row.row, row.where
            self._db.execute("INSERT OR IGNORE INTO named VALUES (?, ?, ?, ?)", values)
        question = bytes.fromhex(row.item[:QUESTION_DIGITS]), row.row, row.where
        return bool(self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", question).rowcount)

    def check(self, entry: Line | Quarantined) -> Line | Quarantined:
        """Return ``entry``, or its quarantine where an earlier line asks the same, or has its id and asks another."""
        if isinstance(entry, Quarantined):
            return entry
        name = _named(entry.item)
        if name and (earlier := self._other(name)):
            row, place = earlier
            detail = f"the id {entry.item.prompt.id!r} is that of another prompt, in row {row} ({place})"
            fix = "give each prompt an id of its own, or leave the ids out with --column id="
            return Quarantined(row=entry.row, where=entry.where, reason="same_id", detail=f"{detail}; {fix}")
        question = _question(entry.item)
        if self.add(KnownRow(entry.row, entry.where, question.ljust(ITEM_DIGITS, "0") + name)):
            return entry
        key = bytes.fromhex(question)
        row, place = self._db.execute("SELECT row, place FROM seen WHERE question = ?", (key,)).fetchone()
        detail = f"the same prompt as in row {row} ({place}); a prompt is answered once"
        return Quarantined(row=entry.row, where=entry.where, reason="duplicate", detail=detail)

    def _other(self, name: str) -> tuple[int, str] | None:
        """Return the row and place of an earlier prompt of the same id, if it is another prompt."""
        ids = bytes.fromhex(name[:NAME_DIGITS]), bytes.fromhex(name[NAME_DIGITS:])
        row = self._db.execute("SELECT row, place FROM named WHERE id = ? AND prompt != ?", ids).fetchone()
        return None if row is None else (row[0], row[1])


def _named(item: Item) -> str:
    """Return hashes of an item's id and of its prompt; nothing where it has no id."""
    prompt = item.prompt
    return "" if prompt.id is None else digest(["id", prompt.id])[:NAME_DIGITS] + prompt.key[:NAME_DIGITS]


def _question(item: Item) -> str:
    asked = [item.prompt.key, sorted(item.prompt.tags), [response.text for response in item.responses]]
    return digest(asked)[:QUESTION_DIGITS]


def _count(progress: Progress, result: Row | Quarantined) -> None:
    if isinstance(result, Quarantined):
        progress.quarantined += 1
    else:
        progress.rows += 1
        progress.pairs += len(result.pairs)


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: Exception | BaseExceptionGroup[Exception] = group.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
