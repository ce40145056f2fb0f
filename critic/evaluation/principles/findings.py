"""A constitution's test as one record, what it amounts to in sentences, and the limits that it can be held to."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from constitution import Constitution
from critic.evaluation.principles.ambiguity import Ambiguity, ambiguities
from critic.evaluation.principles.influence import ConstitutionCoverage, Influence, coverage, influences
from critic.evaluation.principles.redundancy import Relation, relations
from critic.evaluation.principles.table import VoteTable
from critic.settings.judging import Pooling
from critic.statistics.intervals import few


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a run's votes say of its constitution."""

    constitution: str
    comparisons: int
    prompts: int
    influences: tuple[Influence, ...]
    coverage: ConstitutionCoverage
    relations: tuple[Relation, ...]
    ambiguities: tuple[Ambiguity, ...]
    no_ambiguity: str

    @property
    def duplicates(self) -> tuple[Relation, ...]:
        """Pairs that say the same."""
        return tuple(relation for relation in self.relations if relation.is_duplicate)

    @property
    def contradictions(self) -> tuple[Relation, ...]:
        """Pairs that pull apart."""
        return tuple(relation for relation in self.relations if relation.is_contradiction)

    @property
    def ambiguous(self) -> tuple[Ambiguity, ...]:
        """Clauses that are read in different ways."""
        return tuple(one for one in self.ambiguities if one.is_ambiguous)

    @property
    def idle(self) -> tuple[Influence, ...]:
        """Principles that were read and decide nothing, as far as these comparisons tell."""
        return tuple(one for one in self.influences if one.decides is not None and one.decides.estimate == 0)


@dataclass(frozen=True, slots=True)
class FindingLimits:
    """What a constitution may show at most; None holds it to nothing. ``silent`` and ``flips`` are shares."""

    duplicates: int | None = None
    contradictions: int | None = None
    ambiguous: int | None = None
    silent: float | None = None
    flips: float | None = None

    def broken(self, tested: Findings, flips: float | None = None) -> list[str]:
        """Return a sentence for each limit that isn't held. ``flips``: the share of judgements that a change flips.

        What can't be told, of few prompts among it, is no pass: it breaks its limit, with the reason.
        """
        counts = {
            "duplicates": (self.duplicates, len(tested.duplicates)),
            "contradictions": (self.contradictions, len(tested.contradictions)),
            "ambiguous clauses": (self.ambiguous, len(tested.ambiguous)),
        }
        unknown = {what: few(tested.prompts, "prompt") for what in counts}
        unknown["ambiguous clauses"] = unknown["ambiguous clauses"] or tested.no_ambiguity
        said = []
        for what, (most, count) in counts.items():
            if most is not None and unknown[what]:
                said.append(f"{what}: not known. {unknown[what]}")
            elif most is not None and count > most:
                said.append(f"{what}: {count}, and the limit is {most}")
        known = tested.coverage.silent
        silent = None if known is None or known.is_of_few else known.estimate
        for what, limit, share in (("silent comparisons", self.silent, silent), ("flips", self.flips, flips)):
            if limit is not None and (share is None or share > limit):
                told = "not known" if share is None else f"{100 * share:.1f} %"
                said.append(f"{what}: {told}, and the limit is {100 * limit:g} %")
        return said


def examine(table: VoteTable, constitution: Constitution, pooling: Pooling) -> Findings:
    """Return what the votes of ``table`` say of ``constitution``."""
    ambiguous, sentence = ambiguities(table)
    return Findings(
        constitution.ref,
        len(table.comparisons),
        len({comparison.row for comparison in table.comparisons}),
        tuple(influences(table, constitution, pooling)),
        coverage(table),
        tuple(relations(table)),
        tuple(ambiguous),
        sentence,
    )


def sentences(tested: Findings) -> list[str]:
    """Return what a constitution's author must know, the worst first."""
    if note := few(tested.prompts, "prompt"):
        return [note]
    said = [
        f"{r.one} and {r.other} contradict each other: they prefer the same answer in {_percent(r.alike.estimate)} of "
        f"{r.alike.n} comparisons."
        for r in tested.contradictions
    ]
    said += [
        f"{r.one} and {r.other} say the same: beyond what all others say, their votes correlate by {r.correlation:.2f} "
        f"({r.low:.2f} to {r.high:.2f})."
        for r in tested.duplicates
    ]
    said += [
        f"{one.principle} is ambiguous: its readers differ {one.times:.1f} times as much as on the others."
        for one in tested.ambiguous
    ]
    if unread := [one.principle for one in tested.influences if not one.read]:
        said.append(
            f"No vote counts for {', '.join(unread)}: not asked of these prompts, new, worded otherwise since, or "
            "never readable."
        )
    if idle := [one.principle for one in tested.idle]:
        said.append(f"Leaving any one of these out changes no outcome: {', '.join(idle)}.")
    silent = tested.coverage.silent
    if silent is not None and silent.estimate > 0:
        said.append(f"No principle speaks to {_percent(silent.estimate)} of the comparisons.")
    if tested.no_ambiguity:
        said.append(tested.no_ambiguity)
    return said


def plain(tested: Findings) -> dict[str, Any]:
    """Return the record as plain data, with what the properties tell."""
    names = ("duplicates", "contradictions", "ambiguous")
    data = asdict(tested)
    for name in names:
        data[name] = [asdict(one) for one in getattr(tested, name)]
    data |= {"idle": [one.principle for one in tested.idle], "sentences": sentences(tested)}
    finite: dict[str, Any] = _finite(data)
    return finite


def _finite(value: Any) -> Any:
    """As JSON, which has no infinity: what has no bounds has None."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
