"""A judge asked about all that people compared: what `cai certify` and `cai evaluate judge --report` share."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import InputError
from constitution import Constitution, Principle
from critic.calls.ledger import Budget, RecordedEngine
from critic.engine import Engine, Identity
from critic.engines import open_engine, parse_spec
from critic.evaluation.trust.asking import JudgeAnswer, ask
from critic.evaluation.trust.people import People, people
from critic.judging import mode_of, settled
from critic.judging.base import Mode
from critic.rows import Broken
from service.cli.measure.labels import read_labels
from service.cli.measure.measuring import measurement_store


@dataclass(frozen=True, slots=True)
class AskedJudge:
    """A judge's answers: who it was, in which mode as it suited it, and what people said."""

    judge: Identity
    mode: Mode
    answers: Sequence[JudgeAnswer]


def people_of(source: str, column: str | None, limit: int | None = None) -> tuple[People, list[Broken]]:
    """Read people's comparisons, the first ``limit`` items of them. Raises `InputError` where there are none."""
    labels, refused = read_labels(source, column)
    read = people(timed.label for timed in labels)
    if not read.items:
        raise InputError(
            "no row holds a comparison by people",
            where=source,
            fix="Give chosen and rejected, or feedback of the kind comparison.",
        )
    return (replace(read, items=read.items[:limit]) if limit else read), refused


async def ask_judge(
    spec: str,
    mode: str | None,
    principles: Constitution | Principle,
    people: People,
    out: Path | None,
    extend: bool,
    on_done: Callable[[], None],
) -> AskedJudge:
    """Open the judge, and ask it about every item; with ``out`` its answers are kept there, and not asked for again."""
    parsed = parse_spec(spec)
    engine = open_engine(parsed)
    try:
        own, _ = await settled(mode_of(mode, parsed), engine)
        one = principles if isinstance(principles, Principle) else None
        with (
            _kept(out) as folder,
            closing(measurement_store(folder, extend, "certificate", engine.identity, one)) as store,
        ):
            recorded: Engine = RecordedEngine(engine, store, Budget())
            answers = await ask(recorded, own, principles, people.items, on_done)
        return AskedJudge(engine.identity, own, answers)
    finally:
        await engine.close()


@contextmanager
def _kept(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="cai-") as folder:
        yield Path(folder) / "answers"
