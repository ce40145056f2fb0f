"""A run (`critic.run.run`) as a job: in chunks, a step each; rows are in the database."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import update

from base.errors import InputError
from constitution import Constitution
from critic.calls.faults import Streak
from critic.calls.ledger import Budget, RecordedEngine
from critic.calls.wrappers import Wrapper, load
from critic.engine import Completion, Engine, Lane, Node, Request, Score, Usage
from critic.engines import Spec, parse_spec
from critic.pipeline import Pipeline
from critic.records import Line, Quarantined
from critic.run.execute import Progress, SeenPrompts, execute_rows
from critic.run.opening import Capabilities, learnt, settle
from critic.run.request import Checked, RunRequest, check, check_priced
from critic.run.retest import Retest, retested
from critic.run.run import described, sha256_and_rows, write_results
from service.bounds.portions import portions
from service.bounds.text_bounds import TextBounds
from service.engines import TRAINED
from service.jobs.requests import Judging
from service.jobs.running import feedback, poison
from service.jobs.work.work import Failed, Work
from service.outward.public import public
from service.store.tables import jobs

CHUNK, CHUNK_BYTES = 100, 64 * 2**20  # rows and bytes of one step, whichever comes first
TELL_SECONDS = 1.0

Entry = Line | Quarantined


class JobEngine(Wrapper):
    """An engine that others use, too; ``usage`` counts what is asked through this one alone.

    Tokens of scores are estimated, as in a plan.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        theirs = engine.usage
        self._usage = Usage(input_price=theirs.input_price, output_price=theirs.output_price)

    @property
    def usage(self) -> Usage:
        """What was asked through this one."""
        self._usage.room = self._engine.usage.room
        return self._usage

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """See `Engine.complete`."""
        answer = await super().complete(request, lane)
        self._count(answer.prompt_tokens, answer.completion_tokens)
        return answer

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """See `Engine.score`."""
        scores = await super().score(tree, lane)
        tokens = load(tree)
        self._count(tokens.prompt, tokens.written)
        return scores

    def _count(self, prompt: int, written: int) -> None:
        self._usage.calls += 1
        self._usage.prompt_tokens += prompt
        self._usage.completion_tokens += written


@dataclass(slots=True)
class RowsJob:
    """What is made once of a job, before its first chunk."""

    work: Work
    request: RunRequest
    pipeline: Pipeline
    capabilities: Capabilities
    engines: Mapping[Spec, Engine]
    checked: Checked
    plan: str
    budget: Budget
    total: int | None
    asked: Judging
    streak: Streak = field(default_factory=Streak)
    began: float = field(default_factory=time.monotonic)
    before: dict[str, int] = field(default_factory=lambda: {"rows": 0, "quarantined": 0, "pairs": 0})
    fresh: int = 0
    """Rows that came to their end in this worker's hands: what its pace is taken of."""

    def chunk(self, entries: list[Entry]) -> dict[str, int]:
        """Run some rows, and return the counts of all of them. Raises `Failed` where the run can't go on."""
        progress = Progress()
        self.work.call(self._run(entries, progress))
        if progress.stopped:
            self.work.store.set(progress=self.standing(progress))
            raise Failed(progress.stopped)
        self.fresh += progress.rows + progress.quarantined
        first, last = entries[0].row, entries[-1].row
        counts = self.work.store.counts(first, last)
        self.work.store.tell("chunk", first=first, last=last, **counts)
        return counts

    def count(self, counts: Mapping[str, int]) -> None:
        """Add a finished chunk to what progress tells."""
        self.before = {name: value + counts[name] for name, value in self.before.items()}

    def results(self) -> dict[str, Any]:
        """Write all files, and put them where they stay."""
        folder, store = self.work.folder / "results", self.work.store
        folder.mkdir(exist_ok=True)
        asked_twice = self.retest()
        capabilities = learnt(self.capabilities, self.engines.values())
        written = write_results(store, folder, self.asked.format, capabilities, self.asked.with_reasoning, asked_twice)
        self.work.leave(folder)
        store.set(progress=self.standing(Progress()))
        files = {name: asdict(file) for name, file in written.exported.files.items()}
        written_now = {"files": files, "warnings": written.warnings(), "feedback": self._kept_feedback()}
        return {**self.standing(Progress()), **written_now}

    def _kept_feedback(self) -> dict[str, Any]:
        return feedback.keep(self.work.store, self.work.store, self.work.parts.settings.texts)

    def retest(self) -> Retest | None:
        """Ask some votes a second time. Where a limit or the engines don't let it, the job's events say so."""
        recorded = {
            spec: RecordedEngine(engine, self.work.store, self.budget, apart="retest")
            for spec, engine in self.engines.items()
        }
        progress = Progress()
        retest = self.work.call(retested(self.checked.pipeline(recorded), self.work.store, self.asked.retest, progress))
        if progress.stopped:
            self.work.store.tell("retest", stopped=public(progress.stopped))
        return retest

    async def _run(self, entries: list[Entry], progress: Progress) -> None:
        async def execute(some: Sequence[Entry]) -> None:
            await execute_rows(self.pipeline, some, self.work.store, self.plan, progress, self.streak)

        async with _every(TELL_SECONDS, lambda: self._tell(progress)):
            await poison.guarded(entries, self.work.store, self.plan, execute)

    def standing(self, progress: Progress) -> dict[str, Any]:
        """Where the job stands, for people."""
        rows = self.before["rows"] + progress.rows + progress.skipped
        quarantined = self.before["quarantined"] + progress.quarantined
        fresh, left = self.fresh + progress.rows + progress.quarantined, None
        if self.total is not None and fresh:
            pace = fresh / (time.monotonic() - self.began)
            left = round(max(0, self.total - rows - quarantined) / pace, 1)
        return {
            "rows": rows,
            "quarantined": quarantined,
            "pairs": self.before["pairs"] + progress.pairs,
            "calls": self.budget.spent,
            "cost": self.budget.cost,
            "total": self.total,
            "seconds_left": left,
        }

    async def _tell(self, progress: Progress) -> None:
        change = update(jobs).where(jobs.c.id == self.work.id).values(progress=self.standing(progress))
        await self.work.store.write(lambda connection: connection.execute(change))


def run(work: Work, asked: Judging) -> dict[str, Any]:
    """Run the rows that a job was given."""
    job = prepared(work, asked)
    with closing(SeenPrompts()) as seen:
        entries = (seen.check(entry) for entry in job.request.lines())
        for number, chunk in enumerate(_chunks(entries)):
            job.count(work.step(f"chunk {number}", partial(job.chunk, chunk), by_row=True))
    return work.step("results", job.results)


def prepared(work: Work, asked: Judging) -> RowsJob:
    """Open what the job needs, and check that it is what it was when it began."""
    [source] = work.inputs()
    constitution = work.call(work.parts.constitutions.get(asked.constitution))
    request = run_request(work, asked, str(source), constitution)
    checked = check(request)
    if asked.max_cost is not None:
        check_priced(checked)
    engines = work.call(_engines(work, asked, checked))
    input_hash, total = sha256_and_rows(request)
    settled = work.call(settle(checked.seats, engines))
    checked = replace(checked, seats=settled.seats)
    config, provenance = described(request, checked, engines, input_hash)
    if changed := work.store.agree(config.flat(), provenance):
        raise InputError(
            "this is not the job any more that it was when it began\n  " + "\n  ".join(changed),
            fix="Submit a new job; what was answered already is not asked for again.",
        )
    budget = Budget(asked.max_calls, spent=work.store.calls(), max_cost=asked.max_cost, cost=work.store.cost())
    recorded = {spec: RecordedEngine(engine, work.store, budget) for spec, engine in engines.items()}
    pipeline = checked.pipeline(recorded)
    return RowsJob(work, request, pipeline, settled.capabilities, engines, checked, config.plan, budget, total, asked)


def run_request(work: Work, asked: Judging, source: str, constitution: Constitution) -> RunRequest:
    """What `critic.run.run` is asked for, with the engines' specs in place of their names."""
    names = asked.judges or [work.parts.settings.engine]
    policy = asked.writer(work.parts.settings.engine)
    return RunRequest(
        principles=constitution,
        source=source,
        judges=tuple(str(spec_of(work, name)) for name in names),
        policy=None if policy is None else str(spec_of(work, policy)),
        modes=mode_texts(work, names, asked.modes),
        settings=asked.settings.model_dump(),
        limit=asked.limit,
        max_chars=asked.max_chars,
        truncate=asked.truncate,
        columns=asked.input.columns,
    )


def spec_of(work: Work, name: str) -> Spec:
    """The spec of a named engine, as far as it can be told without its folder."""
    if name.startswith(TRAINED):
        return Spec("rm", name, ())
    return parse_spec(work.parts.settings.engines[name].spec)


def mode_texts(work: Work, names: list[str], asked: list[str]) -> tuple[str, ...]:
    """The mode of each judge, as text: what was asked for, else what is configured, else the engine's default."""
    texts: list[str | None] = [*asked] * (len(names) // len(asked)) if asked else [None] * len(names)
    own = [work.parts.settings.engines[name].mode if name in work.parts.settings.engines else None for name in names]
    return tuple(
        text or mode or work.parts.engines.mode(name).name for name, text, mode in zip(names, texts, own, strict=True)
    )


async def _engines(work: Work, asked: Judging, checked: Checked) -> dict[Spec, Engine]:
    names = {*(asked.judges or [work.parts.settings.engine])}
    if (writer := asked.writer(work.parts.settings.engine)) is not None:
        names.add(writer)
    opened = {spec_of(work, name): JobEngine(await work.parts.engines.get(name)) for name in sorted(names)}
    return {spec: engine for spec, engine in opened.items() if spec in checked.specs}


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    return portions(entries, CHUNK, TextBounds.size, CHUNK_BYTES)


@asynccontextmanager
async def _every(seconds: float, tell: Any) -> AsyncIterator[None]:
    """Await ``tell()`` every now and then."""

    async def forever() -> None:
        while True:
            await asyncio.sleep(seconds)
            await tell()

    telling = asyncio.create_task(forever())
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
