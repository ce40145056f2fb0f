"""What each principle does to the outcomes: where it speaks, whom it backs, and what leaving it out would change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from constitution import Constitution, Principle
from critic.evaluation.principles.table import Comparison, VoteTable
from critic.judging.aggregate import Verdict, aggregate
from critic.settings.judging import Pooling
from critic.statistics.intervals import Figure, Share

SPEAKS = 0.5  # log-odds (a probability of .62 or .38) from which a vote says something


class ComparisonPlace(NamedTuple):
    """A comparison, for people: the row and its place in the input, the two candidates, the group."""

    row: int
    where: str
    first: int
    second: int
    group: str | None


@dataclass(frozen=True, slots=True)
class Influence:
    """One principle's part. Each figure is a share of the comparisons that it was read in; prompts are the clusters.

    ``speaks``: its mean log-odds are `SPEAKS` or more. ``with_outcome``: it prefers what was preferred, of those that
    both decide. ``decides``: without it
    the outcome is another one; ``flips``: the other answer is preferred then. ``flipped`` names those, ``stale``
    counts votes that were cast under another wording, and say nothing of it.
    """

    principle: str
    read: int
    speaks: Figure | None
    with_outcome: Figure | None
    decides: Figure | None
    flips: Figure | None
    flipped: tuple[ComparisonPlace, ...] = ()
    stale: int = 0


@dataclass(frozen=True, slots=True)
class ConstitutionCoverage:
    """Comparisons that the constitution has nothing to say of: ``silent``, a share of all, with the ``places``.

    ``no_principle`` counts those to which none applies, ``unreadable`` those without a readable vote; in the others no
    principle's log-odds reach `SPEAKS`.
    """

    silent: Figure | None
    no_principle: int
    unreadable: int
    places: tuple[ComparisonPlace, ...]


@dataclass(slots=True)
class _PrincipleCounts:
    read: int = 0
    speaks: Share = field(default_factory=Share)
    with_outcome: Share = field(default_factory=Share)
    decides: Share = field(default_factory=Share)
    flips: Share = field(default_factory=Share)
    flipped: list[ComparisonPlace] = field(default_factory=list)

    def end(self) -> None:
        for share in (self.speaks, self.with_outcome, self.decides, self.flips):
            share.end_cluster()


def influences(table: VoteTable, constitution: Constitution, pooling: Pooling) -> list[Influence]:
    """Return each principle's part in a run made with ``pooling``, in the constitution's order."""
    known = {principle.id: principle for principle in constitution.principles}
    counted = {id: _PrincipleCounts() for id in known}
    for comparisons in by_row(table.comparisons):
        for comparison in comparisons:
            _count(comparison, known, counted, pooling)
        for one in counted.values():
            one.end()
    return [_influence(id, one, table.stale[id]) for id, one in counted.items()]


def coverage(table: VoteTable) -> ConstitutionCoverage:
    """Return the comparisons that no principle speaks to."""
    silent, places = Share(), []
    outcomes = [comparison.judgement.outcome for comparison in table.comparisons]
    for comparisons in by_row(table.comparisons):
        for comparison in comparisons:
            if comparison.votes and not comparison.voted:  # a reward model, say, which reads no principle
                continue
            spoken = any(abs(x) >= SPEAKS for x in comparison.odds.values())
            silent.count(not spoken)
            if not spoken:
                places.append(place_of(comparison))
        silent.end_cluster()
    return ConstitutionCoverage(
        silent.figure(), outcomes.count("no_principle"), outcomes.count("unreadable"), tuple(places)
    )


def by_row(comparisons: Iterable[Comparison]) -> Iterable[list[Comparison]]:
    """The comparisons of each prompt together: they are a cluster."""
    return (list(one) for _, one in groupby(comparisons, key=lambda comparison: comparison.row))


def place_of(comparison: Comparison) -> ComparisonPlace:
    """Where a comparison stands."""
    judgement = comparison.judgement
    return ComparisonPlace(comparison.row, comparison.where, judgement.first, judgement.second, judgement.group)


def _count(
    comparison: Comparison,
    known: Mapping[str, Principle],
    counted: Mapping[str, _PrincipleCounts],
    pooling: Pooling,
) -> None:
    principles = [known[id] for id in comparison.voted]
    whole = aggregate(comparison.votes, principles, pooling)
    for id, odds in comparison.odds.items():
        one = counted[id]
        one.read += 1
        one.speaks.count(abs(odds) >= SPEAKS)
        side = _side(whole)
        if side and odds:
            one.with_outcome.count((odds > 0) == (side > 0))
        others = [principle for principle in principles if principle.id != id]
        without = _side(aggregate(comparison.votes, others, pooling)) if others else None
        flips = bool(side and without and side != without)
        one.decides.count(side != without)
        one.flips.count(flips)
        if flips:
            one.flipped.append(place_of(comparison))


def _side(verdict: Verdict) -> int | None:
    """1 and -1 for the first and the second answer, 0 for a tie, None where nothing is read."""
    if verdict.probability is None:
        return None
    if verdict.outcome == "tie":
        return 0
    return 1 if verdict.probability > 0.5 else -1


def _influence(id: str, counted: _PrincipleCounts, stale: int) -> Influence:
    return Influence(
        principle=id,
        read=counted.read,
        speaks=counted.speaks.figure(),
        with_outcome=counted.with_outcome.figure(),
        decides=counted.decides.figure(),
        flips=counted.flips.figure(),
        flipped=tuple(counted.flipped),
        stale=stale,
    )
