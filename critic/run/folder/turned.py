"""What changed when a run was extended: judgements that turned, and the exports of before, beside the new ones."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from critic.records import Judgement, Row
from critic.run.folder.weighing import Change, change_of

BEFORE = "before"
"""The folder of a run's directory that holds what was exported before the last change of its config."""

# All that a run writes into its directory, in either format.
_EXPORTED = (
    *(f"{table}.{format}" for table in ("pairs", "sft", "feedback") for format in ("jsonl", "parquet")),
    "quarantine.jsonl",
    "README.md",
    "manifest.json",
    "report.html",
)

_STAY: tuple[Change, ...] = ("kept_side", "stayed_tie", "stayed_unreadable")


@dataclass(frozen=True, slots=True)
class TurnedJudgement:
    """A judgement that is another one now. Probabilities are that the first is better, None where there is none."""

    row: int
    where: str
    first: int
    second: int
    group: str | None
    change: Change
    before: float | None
    after: float | None


@dataclass(slots=True)
class Turned:
    """What became of the rows that were done again. ``lost`` counts those that have no result any more."""

    rows: int = 0
    lost: int = 0
    pairs_before: int = 0
    pairs_after: int = 0
    judgements: Counter[Change] = field(default_factory=Counter)
    turns: list[TurnedJudgement] = field(default_factory=list)


def changed(replaced: Iterable[tuple[Row, Row | None]], *, turns: bool, rows: int) -> Turned | None:
    """Return what changed, where the run was extended and this start had a part in it.

    ``turns`` says that this start changed the plan, ``rows`` how many it did.
    """
    if not turns and not rows:
        return None
    turned = compare(replaced)
    return turned if turns or turned.rows else None


def compare(replaced: Iterable[tuple[Row, Row | None]]) -> Turned:
    """Compare results of before with what is there now.

    Judgements are matched by the answers that they compare: where those were written again, none is the other's.
    """
    turned = Turned()
    for old, new in replaced:
        turned.rows += 1
        turned.pairs_before += len(old.pairs)
        if new is None:
            turned.lost += 1
            continue
        turned.pairs_after += len(new.pairs)
        _add(turned, old, new)
    return turned


def _add(turned: Turned, old: Row, new: Row) -> None:
    before, after = _by_answers(old), _by_answers(new)
    for key in before.keys() & after.keys():
        one, other = before[key], after[key]
        change = change_of(one, other)
        turned.judgements[change] += 1
        if change not in _STAY:
            place = (new.row, new.where, other.first, other.second, other.group)
            turned.turns.append(TurnedJudgement(*place, change, one.probability, other.probability))
    turned.judgements["group_is_gone"] += len(before.keys() - after.keys())
    turned.judgements["group_is_new"] += len(after.keys() - before.keys())


def _by_answers(row: Row) -> dict[tuple[str, str, str | None], Judgement]:
    texts = [candidate.text for candidate in row.candidates]
    return {(texts[j.first], texts[j.second], j.group): j for j in row.judgements}


def keep_exports(directory: Path) -> None:
    """Keep the files that a run has exported in `BEFORE`, in place of those that were kept there.

    Exports are replaced, never written into: so a second name of the same file is enough, where the file system has
    such names. Killed in between, it is done again by the next start.
    """
    part, kept = directory / f".{BEFORE}.part", directory / BEFORE
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name in _EXPORTED:
        if (directory / name).is_file():
            second_name(directory / name, part / name)
    shutil.rmtree(kept, ignore_errors=True)
    part.rename(kept)


def second_name(file: Path, target: Path) -> None:
    """Give a file that is replaced, and never written into, another name, where its contents then stay."""
    try:
        os.link(file, target)
    except OSError:  # a file system without hard links
        shutil.copy2(file, target)
