"""What runs on the nodes of a Ray cluster: the reader that cuts the input into shards, and the actors that run them.

A shard's way: `Cut` reads it -> an actor's `ShardWorker` runs it with its own engines -> its file's bytes go back to
the driver (`critic.cluster.cluster`), which alone writes. So no file system needs to be shared, and no row is there
twice.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from itertools import islice
from platform import node
from typing import Any

import pyarrow as pa
import ray
from pydantic import TypeAdapter
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from base.digest import digest
from base.errors import InputError
from critic.calls.faults import Streak
from critic.calls.ledger import Budget, MemoryLedger, RecordedEngine
from critic.engine import Engine
from critic.engines import Spec, open_engine
from critic.records import Line, Quarantined, Row
from critic.run.config import RunConfig
from critic.run.execute import Progress, SeenPrompts, execute_rows, item_key
from critic.run.folder.shards import About, pack, pack_answers, unpack_answers
from critic.run.request import Checked, RunRequest
from critic.run.retest import AskedAgain, Tally, asked_again
from critic.run.run import described

SHARDS_AT_ONCE = 2  # of an actor: while the last rows of one end, its engine works on the other's
LIVES = 3  # of a shard's actors, before its rows are run one by one; and of each row then

Part = list[tuple[AskedAgain, Row]]

_ENTRY: TypeAdapter[Line | Quarantined] = TypeAdapter(Line | Quarantined)


class Cut(Datasource):
    """The input in shards of ``size`` rows, without those that are ``finished`` under ``plan``.

    One task reads it as a stream, as a run on one machine does, so that rows have the same positions and duplicates
    the same names. After the last shard comes one without rows: its number says how many there are.
    """

    def __init__(self, request: RunRequest, finished: Mapping[int, About], plan: str, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's has no types
        self._request, self._finished, self._plan, self._size = request, finished, plan, size

    def estimate_inmemory_data_size(self) -> None:
        """Unknown before it is read."""

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """One task, whatever ``parallelism``."""
        return [ReadTask(self._read, BlockMetadata(None, None, None, None))]

    def _read(self) -> Iterator[pa.Table]:
        with closing(SeenPrompts()) as seen:
            lines = map(seen.check, self._request.lines())
            number = 0
            while entries := list(islice(lines, self._size)):
                items = digest([_identity(entry) for entry in entries])
                before = self._finished.get(number)
                same = before is not None and (before.plan, before.items) == (self._plan, items)
                wanted = [entry for entry in entries if before is None or not same or entry.row in before.retry]
                if wanted:
                    yield _block(number, items, wanted, whole=not same)
                number += 1
            yield _block(number, "", [], whole=False)


def _identity(entry: Line | Quarantined) -> str:
    return item_key(entry) if isinstance(entry, Line) else f"{entry.reason}: {entry.detail}"


def _block(shard: int, items: str, entries: Iterable[Line | Quarantined], *, whole: bool) -> pa.Table:
    texts = [entry.model_dump_json() for entry in entries]
    return pa.table(
        {"shard": [shard], "items": [items], "whole": [whole], "entries": pa.array([texts], pa.list_(pa.string()))}
    )


class Attempts:
    """How often each shard was begun, on which rows its actor died, and what was answered before. It outlives actors.

    Its methods have a thread of their own in the actor that it is part of, ``attempts``.
    """

    def __init__(self) -> None:
        self._lives: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self._alone: dict[int, int] = {}
        self._earlier: dict[int, Any] = {}

    @ray.method(concurrency_group="attempts")
    def earlier(self, shard: int) -> list[Any]:
        """Return where the answers lie that an earlier start got for the shard: a list of one, or of none."""
        return [self._earlier[shard]] if shard in self._earlier else []

    @ray.method(concurrency_group="attempts")
    def begin(self, shard: int) -> tuple[int, dict[int, int]]:
        """Count an attempt; return how many there were, and the rows that an actor died on while they ran alone."""
        self._lives[shard] += 1
        if shard in self._alone:
            self._deaths[self._alone.pop(shard)] += 1
        return self._lives[shard], dict(self._deaths)

    @ray.method(concurrency_group="attempts")
    def alone(self, shard: int, row: int) -> None:
        """Remember that of ``shard`` only ``row`` is under way."""
        self._alone[shard] = row

    @ray.method(concurrency_group="attempts")
    def end(self, shard: int) -> None:
        """The shard is done."""
        self._alone.pop(shard, None)


class ShardWorker:
    """An actor: opens the run's engines once, and runs shards, `SHARDS_AT_ONCE` of them.

    Its engines must be those that ``config`` names, whose hashes all labels of the run bear. A shard whose actor died
    `LIVES` times is run row by row, and a row that is fatal alone is quarantined.
    """

    def __init__(self, request: RunRequest, checked: Checked, config: RunConfig, attempts: Any) -> None:
        self._request, self._checked, self._config, self._attempts = request, checked, config, attempts
        self._engines: dict[Spec, Engine] = {}
        self._opening, self._one_by_one = asyncio.Lock(), asyncio.Lock()
        self._room = asyncio.Semaphore(SHARDS_AT_ONCE)
        self._streak = Streak()

    async def __call__(self, batch: pa.Table) -> AsyncIterator[pa.Table]:
        """Take one shard; give back its file, and what came of its rows."""
        [shard] = batch.to_pylist()
        try:
            async with self._opening:
                if not self._engines:
                    self._engines = self._agreeing({spec: open_engine(spec) for spec in self._checked.specs})
        except Exception as error:  # Ray Data passes on that there was one, and not what it was
            stopped = f"its engines can't be used on {node()}: {error}"
            yield pa.Table.from_pylist([{"shard": shard["shard"], "stopped": stopped}], DONE)
        else:
            yield await self._run(shard)

    def _agreeing(self, engines: dict[Spec, Engine]) -> dict[Spec, Engine]:
        """Return ``engines``. Raises `InputError` where they, or this node's templates, are not those of the run."""
        config, _ = described(self._request, self._checked, engines, self._config.input_hash)
        here, run = config.flat(), self._config.flat()
        if changed := [f"{key}: {here[key]!r} here, {run[key]!r} in the run" for key in run if here[key] != run[key]]:
            raise InputError(
                "they are not those that the run began with\n  " + "\n  ".join(changed),
                fix="Every node needs the same models, servers and version of cai.",
            )
        return engines

    async def _run(self, shard: dict[str, Any]) -> pa.Table:
        entries = [_ENTRY.validate_json(text) for text in shard["entries"]]
        results, progress, budget = ShardResults(), Progress(), Budget()
        ledger = MemoryLedger(await self._earlier(shard["shard"])) if entries else MemoryLedger()
        recorded = {spec: RecordedEngine(engine, ledger, budget) for spec, engine in self._engines.items()}
        pipeline = self._checked.pipeline(recorded)

        async def execute(some: Sequence[Line | Quarantined]) -> None:
            await execute_rows(pipeline, some, results, self._config.plan, progress, self._streak)

        if entries:
            await self._guarded(shard["shard"], entries, execute)
        lines = {entry.row for entry in entries if isinstance(entry, Line)}
        retry = [result.row for result in results.results if isinstance(result, Quarantined) and result.row in lines]
        counts = (progress.rows, progress.quarantined)
        calls = ledger.calls() if shard["whole"] else ledger.made()
        about = About(shard["shard"], self._config.plan, shard["items"], *counts, tuple(sorted(retry)), calls)
        is_done = bool(entries) and not progress.stopped
        done = {
            "shard": shard["shard"],
            "rows": progress.rows,
            "pairs": progress.pairs,
            "quarantined": progress.quarantined,
            "calls": ledger.made(),
            "stopped": progress.stopped,
            "whole": shard["whole"],
            "engines": json.dumps({one.identity.name: dict(one.capabilities) for one in self._engines.values()}),
            "data": pack(about, results.results) if is_done else None,
            "answers": pack_answers(ledger.answers()) if is_done else None,
        }
        return pa.Table.from_pylist([done], DONE)

    async def _earlier(self, shard: int) -> dict[str, Any]:
        """Return what was answered for the shard before: what the run still asks is not asked again."""
        kept: dict[str, Any] = {}
        for reference in await self._attempts.earlier.remote(shard):
            kept = unpack_answers(await reference)
        return kept

    async def _guarded(
        self, shard: int, entries: Sequence[Line | Quarantined], execute: Callable[..., Awaitable[None]]
    ) -> None:
        async with self._room:
            lives, deaths = await self._attempts.begin.remote(shard)
            if lives <= LIVES:
                await execute(entries)
                return
        async with self._alone():
            for entry in entries:
                if deaths.get(entry.row, 0) >= LIVES:
                    await execute([_fatal(entry)])
                else:
                    await self._attempts.alone.remote(shard, entry.row)
                    await execute([entry])
            await self._attempts.end.remote(shard)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Wait until nothing else runs in this actor: its death is then that of the row under way."""
        async with self._one_by_one, AsyncExitStack() as all_of_it:
            for _ in range(SHARDS_AT_ONCE):
                await all_of_it.enter_async_context(self._room)
            yield


class Asker:
    """An actor that asks votes a second time, with engines of its own."""

    def __init__(self, checked: Checked) -> None:
        self._checked = checked
        self._engines: dict[Spec, Engine] = {}

    async def ask(self, part: Part) -> Tally:
        """Ask some votes again. Raises `RunStopped` and `InputError` where the engines don't let it."""
        for spec in self._checked.specs - self._engines.keys():
            self._engines[spec] = open_engine(spec)
        recorded = {spec: RecordedEngine(engine, MemoryLedger(), Budget()) for spec, engine in self._engines.items()}
        return await asked_again(part, self._checked.pipeline(recorded))


def _fatal(entry: Line | Quarantined) -> Quarantined:
    detail = f"its actor died {LIVES} times while it ran this row and no other of its shard"
    return Quarantined(row=entry.row, where=entry.where, reason="poisoned", detail=detail)


DONE = pa.schema(
    [
        *((name, pa.int64()) for name in ("shard", "rows", "pairs", "quarantined", "calls")),
        ("stopped", pa.string()),
        ("whole", pa.bool_()),
        ("engines", pa.string()),
        ("data", pa.large_binary()),
        ("answers", pa.large_binary()),
    ]
)


class ShardResults:
    """A shard's results, until all are there: a `critic.run.execute.RowStore`."""

    def __init__(self) -> None:
        self.results: list[Row | Quarantined] = []

    def is_done(self, row: int, item: str, plan: str) -> bool:
        """No row of a shard was done before: the reader left those out."""
        return False

    async def finish(self, result: Row | Quarantined, item: str, plan: str) -> None:
        """Keep what came of a row."""
        self.results.append(result)

    async def trim(self, rows: int) -> None:
        """Nothing: the reader says how many shards there are."""
