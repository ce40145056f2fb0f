"""A whole run: constitution, engines, input and directory in; exports, manifest, card and report out.

`cai generate`, `cai judge` and the service's jobs are this function with different callers.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from base.digest import digest
from base.errors import InputError
from critic import prompts
from critic.calls.ledger import Budget, RecordedEngine
from critic.engine import Engine
from critic.engines import Spec, expect, open_engine
from critic.files.sources import source_name
from critic.judging import offered
from critic.judging.jury import Jury
from critic.local.rewards import heads_of
from critic.records import Provenance, Quarantined, Row
from critic.run.config import RunConfig, Seat
from critic.run.execute import Progress, SeenPrompts, execute
from critic.run.folder.manifest import write_manifest
from critic.run.folder.reading import is_begun, open_rows
from critic.run.folder.results import Results, gather
from critic.run.folder.store import RunStore
from critic.run.folder.turned import Turned, changed, keep_exports
from critic.run.opening import learnt, settle
from critic.run.pages.card import write_card
from critic.run.pages.report import write_report
from critic.run.plan import CountingEngine, Plan, plan
from critic.run.request import Checked, RunRequest, check, check_priced, heads_needed
from critic.run.retest import Retest, retested
from critic.settings.run import RETEST, Format

TELL_EVERY = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one start of a run did: ``calls`` is how many were answered and committed in it.

    ``turned`` says what became of earlier results, where the run was extended and this start had a part in it.
    """

    progress: Progress
    calls: int
    seconds: float
    results: Results
    turned: Turned | None = None


async def run(
    request: RunRequest,
    out: Path,
    *,
    extend: bool = False,
    max_calls: int | None = None,
    max_cost: float | None = None,
    format: Format = "jsonl",
    with_reasoning: bool = False,
    retest_share: float = RETEST,
    on_progress: Callable[[Progress, int, int | None], None] = lambda progress, calls, total: None,
) -> Outcome:
    """Do the run, or what is left of it, in the directory ``out``, and write its results there.

    ``with_reasoning`` exports what models thought, too. ``retest_share``: see `critic.run.retest`. ``on_progress`` is
    told a few times a second where it stands: the rows, the calls answered in this start, and the number of rows to
    come where the input's kind tells it beforehand.
    Raises `InputError` for what a person gave wrong, and `StoreError` where ``out`` can't be written.
    """
    checked = check(request)
    if max_cost is not None:
        check_priced(checked)
    _check_folder(out)
    unread = request.unread()  # opened before any model is loaded: a missing file is told at once
    input_hash, total = sha256_and_rows(request)
    async with opened(checked.specs) as engines:
        settled = await settle(checked.seats, engines)
        checked = replace(checked, seats=settled.seats)
        config, provenance = described(request, checked, engines, input_hash)
        with closing(RunStore.open(out, config.flat(), extend=extend)) as store:
            turns = store.turns_to(config.plan)
            if turns:
                keep_exports(out)
            store.set_provenance(provenance, config.plan)
            before = store.calls()
            budget = Budget(max_calls, spent=before, max_cost=max_cost, cost=store.cost())
            called = {spec: f"{spec.kind}:{spec.target}".rstrip(":") for spec in engines}
            recorded = {spec: RecordedEngine(engine, store, budget, called[spec]) for spec, engine in engines.items()}
            began = time.monotonic()
            progress = Progress()

            def tell() -> None:
                progress.engines = budget.under_way.told()
                on_progress(progress, budget.answered, total)

            async with _told(tell):
                known = store.known() if input_hash is not None else iter(())
                await execute(checked.pipeline(recorded), unread, known, store, config.plan, progress)
                again = {
                    spec: RecordedEngine(engine, store, budget, called[spec], apart="retest")
                    for spec, engine in engines.items()
                }
                asked_twice = await retested(checked.pipeline(again), store, retest_share, progress)
            seconds = time.monotonic() - began
            store.add_pace(progress.rows, seconds)
            capabilities = learnt(settled.capabilities, engines.values())
            results = write_results(store, out, format, capabilities, with_reasoning, asked_twice)
            turned = changed(store.replaced(), turns=turns, rows=progress.rows)
            return Outcome(progress, store.calls() - before, seconds, results, turned)


def _check_folder(out: Path) -> None:
    """Raise `InputError` where a run's folder can't be: before any engine is opened for it."""
    if out.exists() and not out.is_dir():
        raise InputError("this is a file", where=str(out), fix="Name a folder for the run.")


async def dry_run(request: RunRequest, max_cost: float | None = None, out: Path | None = None) -> Plan:
    """Count what `run` would ask its engines for, without opening them. Raises `InputError` as it does before that.

    Which path a model takes is known where a run in ``out`` has begun with it.
    """
    checked = check(request)
    for spec in checked.specs:
        expect(spec, there=False)
    if max_cost is not None:
        check_priced(checked)
    if out is not None:
        _check_folder(out)
    total = Plan()
    heads, paths = heads_needed(checked.constitution), _paths(out)
    engines = {spec: CountingEngine(spec, total, heads, paths.get(spec.target)) for spec in checked.specs}
    with closing(SeenPrompts()) as seen:
        await plan(checked.pipeline(engines), map(seen.check, request.lines()), total)
    return total


def _paths(out: Path | None) -> dict[str, bool]:
    """Whether the models of the run that has begun in ``out`` are computed plainly, by name."""
    if out is None or not is_begun(out):
        return {}
    with closing(open_rows(out)) as store:
        config = store.config()
    engines = [*(seat["judge"] for seat in config.get("jury", ())), config.get("policy"), config.get("critic")]
    return {one["name"]: dict(one["settings"]).get("scoring", "packed") != "packed" for one in engines if one}


def described(
    request: RunRequest, checked: Checked, engines: Mapping[Spec, Engine], input_hash: str | None
) -> tuple[RunConfig, Provenance]:
    """Say what the run is, now that its engines are open. Raises `InputError` where a judge can't do its part."""
    _check_judges(checked, engines)
    config = _config(request, checked, engines, input_hash)
    return config, _provenance(config, _told_apart(checked.pipeline(engines).jury))


def _check_judges(checked: Checked, engines: Mapping[Spec, Engine]) -> None:
    """Refuse a judge that was found not to offer what its mode reads, before anything is paid for."""
    for spec, mode in checked.seats:
        offered(mode, engines[spec])
        heads = heads_of(engines[spec].capabilities)
        if mode.reads == "rewards" and (
            lacking := [head for head in heads_needed(checked.constitution) if head not in heads]
        ):
            raise InputError(
                f"the reward model has no head for {', '.join(lacking)}; its heads: {', '.join(heads)}",
                where=str(spec),
                fix="A head named reward serves principles without a group; each group needs one of its own.",
            )


class Finished(Protocol):
    """What results are written from: `RunStore`, and the service's database."""

    def rows(self) -> Iterator[Row]:
        """Every result, in the order of the input."""
        ...

    def quarantined(self) -> Iterator[Quarantined]:
        """Every row without a result, in the order of the input."""
        ...

    def provenance(self) -> Provenance:
        """What every label of the run comes from."""
        ...

    def config(self) -> dict[str, Any]:
        """The run's config, flat."""
        ...

    def calls(self) -> int:
        """How many answers are committed."""
        ...


def write_results(
    store: Finished,
    out: Path,
    format: Format,
    engines: Mapping[str, Mapping[str, str]],
    with_reasoning: bool = False,
    retest: Retest | None = None,
) -> Results:
    """Write exports, card, manifest and report of the rows in ``store`` into the directory ``out``."""
    results = gather(
        store.rows,
        store.quarantined,
        store.provenance(),
        out,
        format,
        config=store.config(),
        calls=store.calls(),
        engines=engines,
        reasoning=with_reasoning,
        retest=retest,
    )
    write_card(results, out)
    write_manifest(results, out)
    write_report(results, out)
    return results


@asynccontextmanager
async def _told(tell: Callable[[], None]) -> AsyncIterator[None]:
    """Call ``tell`` every now and then, and a last time at the end."""

    async def forever() -> None:
        while True:
            tell()
            await asyncio.sleep(TELL_EVERY)

    telling = asyncio.create_task(forever())
    try:
        yield
    finally:
        telling.cancel()
        tell()


@asynccontextmanager
async def opened(specs: set[Spec]) -> AsyncIterator[dict[Spec, Engine]]:
    """Open the engines that a run needs, and close them again. None is loaded while another one can't be opened."""
    engines: dict[Spec, Engine] = {}
    if len(specs) > 1:
        for spec in specs:
            expect(spec)
    try:
        for spec in specs:
            engines[spec] = open_engine(spec)
        yield engines
    finally:
        for engine in engines.values():
            await engine.close()


def _config(request: RunRequest, checked: Checked, engines: Mapping[Spec, Engine], input_hash: str | None) -> RunConfig:
    return RunConfig(
        kind=request.kind,
        settings=checked.settings,
        constitution=checked.constitution.ref,
        constitution_hash=checked.constitution.digest,
        templates=prompts.template_digests(),
        policy=engines[checked.policy].identity if checked.policy else None,
        critic=engines[checked.critic].identity if checked.policy else None,
        jury=tuple(
            Seat(judge=engines[spec].identity, mode={"name": mode.name} | mode.model_dump(mode="json"))
            for spec, mode in checked.seats
        ),
        input=Path(request.source).name if input_hash else source_name(request.source),
        input_hash=input_hash,
        limit=request.limit,
        max_chars=request.max_chars,
        truncate=request.truncate,
        columns=request.columns,
    )


def _told_apart(jury: Jury) -> Jury:
    """Refuse two jurors of one name and mode: their votes could not be told apart."""
    seen = [(juror.engine.identity.name, juror.mode.name) for juror in jury.jurors]
    for name, mode in seen:
        if seen.count((name, mode)) > 1:
            raise InputError(
                f"two judges are called {name!r} and vote in mode {mode}, so their votes can't be told apart",
                where="--judge",
                fix="Serve or store one of them under another name",
            )
    return jury


def _provenance(config: RunConfig, jury: Jury) -> Provenance:
    return Provenance(
        constitution=config.constitution,
        constitution_hash=config.constitution_hash,
        policy=config.policy.name if config.policy else "given",
        judge=jury.judge,
        mode=jury.mode,
        strategy=config.settings.strategy if config.policy else "given",
        templates=digest(config.templates),
        seed=config.settings.seed,
    )


def sha256_and_rows(request: RunRequest) -> tuple[str | None, int | None]:
    """Hash the input and count its lines, in one pass; None for what is no file, or holds more than a row a line."""
    path = Path(request.source)
    if request.source == "-" or not path.is_file():
        return None, None
    lines, last, hashed = 0, b"\n", hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            hashed.update(block)
            lines += block.count(b"\n")
            last = block[-1:]
    lines += last != b"\n"  # many files end without one
    total = lines if path.suffix in (".jsonl", ".ndjson", ".txt") else None
    return hashed.hexdigest(), min(total, request.limit) if total is not None and request.limit else total
