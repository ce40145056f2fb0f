"""A whole run: constitution, engines, input and directory in; exports, manifest, card and report out.

`cai generate`, `cai judge` and the service's jobs are this function with different callers.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from constitution import Constitution, load
from constitution.digest import digest
from constitution.errors import InputError
from critic import prompts
from critic.engines import Spec, open_engine, parse_spec
from critic.engines.base import Engine
from critic.engines.ledger import Budget, RecordedEngine
from critic.engines.rewards import head_of, heads_of
from critic.engines.server_options import prices
from critic.files.shapes import naming
from critic.judging import mode_of, offered
from critic.judging.base import Mode
from critic.judging.jury import Juror, Jury
from critic.pipeline import Pipeline
from critic.records import Line, Provenance, Quarantined, Row
from critic.run.card import write_card
from critic.run.config import RunConfig, RunSettings, Seat
from critic.run.execute import Progress, Seen, execute
from critic.run.export import Format
from critic.run.inputs import Unread, open_pairs, open_prompts
from critic.run.manifest import write_manifest
from critic.run.opening import settle
from critic.run.plan import CountingEngine, Plan, plan
from critic.run.report import write_report
from critic.run.results import Results, gather
from critic.run.retest import SHARE, Retest, retested
from critic.run.sources import source_name
from critic.run.store import RunStore
from critic.run.turned import Turned, compare, keep_exports

TELL_EVERY = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a person asks for. ``policy`` None means that the responses are given: `cai judge`.

    ``judges`` are engine specs, and several are a jury; ``modes`` are one for each, one for all, or none for the
    defaults of their engines. The first judge that can write critiques and revises. ``settings`` are those of
    `RunSettings`. ``columns`` maps names, as in ``prompt=question``: see `critic.files.naming.read_mapping`.
    """

    principles: str | Constitution
    source: str
    judges: tuple[str, ...]
    policy: str | None
    modes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    max_chars: int = 32_000
    truncate: bool = False
    columns: str | None = None

    @property
    def kind(self) -> Literal["generate", "judge"]:
        """The command's name."""
        return "judge" if self.policy is None else "generate"

    def unread(self) -> Iterator[Unread]:
        """The input, as far as ``limit``: a function a row that reads it."""
        opened = open_prompts if self.policy is not None else open_pairs
        columns = naming(self.columns)
        rows = opened(self.source, max_chars=self.max_chars, truncate=self.truncate, columns=columns)
        return islice(rows, self.limit)

    def lines(self) -> Iterator[Line | Quarantined]:
        """The input, as far as ``limit``."""
        return (read() for read in self.unread())


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


@dataclass(frozen=True, slots=True)
class Checked:
    """A request whose parts exist and fit together."""

    constitution: Constitution
    settings: RunSettings
    seats: tuple[tuple[Spec, Mode], ...]
    policy: Spec | None
    critic: Spec

    @property
    def specs(self) -> set[Spec]:
        """The engines that the run needs."""
        return {spec for spec, _ in self.seats} | {self.policy or self.critic}

    def pipeline(self, engines: Mapping[Spec, Engine]) -> Pipeline:
        """One prompt's way, with these engines."""
        settings = self.settings
        return Pipeline(
            constitution=self.constitution,
            policy=engines[self.policy or self.critic],
            critic=engines[self.critic],
            jury=Jury(tuple(Juror(engines[spec], mode) for spec, mode in self.seats)),
            policy_sampling=settings.policy_sampling(),
            judge_sampling=settings.judge_sampling(),
            seed=settings.seed,
            samples=settings.samples,
            revisions=settings.revisions,
            strategy=settings.strategy,
            judge_principles=settings.judge_principles,
            tie_band=settings.tie_band,
            pooling=settings.pooling(),
            ranking=settings.ranking,
        )


async def run(
    request: RunRequest,
    out: Path,
    *,
    extend: bool = False,
    max_calls: int | None = None,
    max_cost: float | None = None,
    format: Format = "jsonl",
    with_reasoning: bool = False,
    retest_share: float = SHARE,
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
    unread = request.unread()  # opened before any model is loaded: a missing file is told at once
    input_hash, total = fingerprint(request)
    async with opened(checked.specs) as engines:
        found = await settle(checked.seats, engines)
        checked = replace(checked, seats=found.seats)
        config, provenance = described(request, checked, engines, input_hash)
        with closing(RunStore.open(out, config.flat(), extend=extend)) as store:
            turns = store.turns_to(config.plan)
            if turns:
                keep_exports(out)
            store.set_provenance(provenance, config.plan)
            before = store.calls()
            budget = Budget(max_calls, spent=before, max_cost=max_cost, cost=store.cost())
            recorded = {
                spec: RecordedEngine(engine, store, budget, f"{spec.kind}:{spec.target}".rstrip(":"))
                for spec, engine in engines.items()
            }
            began = time.monotonic()
            progress = Progress()

            def tell() -> None:
                now = time.monotonic()
                progress.asked, progress.waiting = len(budget.under_way), budget.waiting(now)
                progress.slowest = budget.slowest(now)
                on_progress(progress, budget.answered, total)

            async with _told(tell):
                known = store.known() if input_hash is not None else iter(())
                await execute(checked.pipeline(recorded), unread, known, store, config.plan, progress)
                again = {
                    spec: RecordedEngine(engine, store, budget, apart="retest") for spec, engine in engines.items()
                }
                asked_twice = await retested(checked.pipeline(again), store, retest_share, progress)
            seconds = time.monotonic() - began
            store.add_pace(progress.rows, seconds)
            results = write_results(store, out, format, found.capabilities, with_reasoning, asked_twice)
            turned = compare(store.replaced()) if turns or progress.rows else None
            turned = turned if turned is not None and (turns or turned.rows) else None
            return Outcome(progress, store.calls() - before, seconds, results, turned)


async def dry_run(request: RunRequest, max_cost: float | None = None) -> Plan:
    """Count what `run` would ask its engines for, without opening them. Raises `InputError` as it does before that."""
    checked = check(request)
    if max_cost is not None:
        check_priced(checked)
    total = Plan()
    engines = {spec: CountingEngine(spec, total, _heads(checked.constitution)) for spec in checked.specs}
    with closing(Seen()) as seen:
        await plan(checked.pipeline(engines), map(seen.check, request.lines()), total)
    return total


def check(request: RunRequest) -> Checked:
    """Validate all that can be validated before a model is loaded."""
    principles = request.principles
    constitution = load(principles) if isinstance(principles, str) else principles
    policy = parse_spec(request.policy) if request.policy is not None else None
    seats = _seats(request)
    settings = RunSettings.read(request.settings)
    if policy is not None and not policy.writes:
        raise InputError(
            f"the policy {policy} gives {policy.gives} and answers nothing",
            where="--policy",
            fix="Name a language model: openai:MODEL@URL, hf:PATH_OR_ID, vllm:PATH_OR_ID or embedded",
        )
    writers = [spec for spec, _ in seats if spec.writes]
    if not writers and policy is not None and settings.revisions:
        raise InputError(
            "no judge can write critiques and revisions: reward models, rules and typed decisions only judge",
            where="--judge",
            fix="Name a judge that writes first, as in --judge embedded --judge rm:PATH, or pass --revisions 0",
        )
    return Checked(constitution, settings, seats, policy, (writers or [seats[0][0]])[0])


def check_priced(checked: Checked) -> None:
    """Refuse a limit of cost where none can be counted."""
    if not any(prices(dict(spec.options), str(spec)) for spec in checked.specs):
        raise InputError(
            "no engine has prices, so no cost can be counted",
            where="--max-cost",
            fix="Give them in its spec, for a million tokens: openai:MODEL@URL?input_price=2.50&output_price=10",
        )


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
            lacking := [head for head in _heads(checked.constitution) if head not in heads]
        ):
            raise InputError(
                f"the reward model has no head for {', '.join(lacking)}; its heads: {', '.join(heads)}",
                where=str(spec),
                fix="A head named reward serves principles without a group; each group needs one of its own.",
            )


def _heads(constitution: Constitution) -> tuple[str, ...]:
    """The heads that a reward model needs to judge under ``constitution``."""
    return tuple(dict.fromkeys(head_of(p.group.id if p.group else None) for p in constitution.principles))


def _seats(request: RunRequest) -> tuple[tuple[Spec, Mode], ...]:
    judges = [parse_spec(text) for text in request.judges]
    if len(request.modes) not in (0, 1, len(judges)):
        raise InputError(
            f"{len(request.modes)} modes for {len(judges)} judges",
            where="--mode",
            fix="Give one mode for each judge, in their order, or one for all, or none",
        )
    modes: list[str | None] = [*request.modes] if request.modes else [None]
    seats = tuple(
        (judge, mode_of(text, judge)) for judge, text in zip(judges, modes * (len(judges) // len(modes)), strict=True)
    )
    if len({(spec, mode.name) for spec, mode in seats}) < len(seats):
        raise InputError("a judge is named twice in one mode", where="--judge", fix="Each juror has one vote")
    return seats


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
    """Open the engines that a run needs, and close them again."""
    engines: dict[Spec, Engine] = {}
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
        templates=prompts.template_hashes(),
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


def fingerprint(request: RunRequest) -> tuple[str | None, int | None]:
    """Hash the input and count its lines, in one pass; None for what is no file, or holds more than a row a line."""
    path = Path(request.source)
    if request.source == "-" or not path.is_file():
        return None, None
    lines, hashed = 0, hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            hashed.update(block)
            lines += block.count(b"\n")
    total = lines if path.suffix in (".jsonl", ".ndjson", ".txt") else None
    return hashed.hexdigest(), min(total, request.limit) if total is not None and request.limit else total
