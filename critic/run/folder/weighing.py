"""Rows weighed again: other judgements, pairs and drops from the votes that are there. Pure.

A vote counts for the principle of its id and digest, whatever group that is in now. A vote that reads no principle (a
reward model's) counts in the group it was cast for. Nothing stands in for a vote that is missing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from constitution import Constitution, Principle
from critic.judging.aggregate import Verdict, aggregate
from critic.pairing import Pairing, pair
from critic.pipeline import principles_by_group
from critic.records import Judgement, Row, Vote
from critic.run.config import RunSettings

Change = Literal[
    "kept_side",
    "changed_side",
    "stayed_tie",
    "became_tie",
    "stopped_being_tie",
    "became_readable",
    "became_unreadable",
    "stayed_unreadable",
    "group_is_new",
    "group_is_gone",
]


@dataclass(slots=True)
class Changes:
    """What came of it. Judgements without a readable vote, or without a principle, are ``unreadable`` here.

    ``stale`` counts votes of principles that are worded otherwise now, ``left_out`` those of principles that the
    constitution doesn't have or that don't apply, both by principle. ``voted`` are the principles whose votes count.
    """

    judgements: Counter[Change] = field(default_factory=Counter)
    pairs_before: int = 0
    pairs_after: int = 0
    stale: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    voted: set[str] = field(default_factory=set)


class Weighing:
    """Weighs rows, one after the other, and keeps count of what changes."""

    def __init__(
        self,
        constitution: Constitution,
        settings: RunSettings,
        kind: Literal["generate", "judge"],
        mended: Callable[[float], float] | None = None,
    ) -> None:
        best_of_n = settings.strategy == "best-of-n" and kind == "generate"
        self.changes = Changes()
        self._constitution, self._settings, self._mended = constitution, settings, mended
        self._pairing = Pairing(best_of_n, settings.ranking, settings)
        self._digests = {principle.id: principle.digest for principle in constitution.principles}

    def row(self, row: Row) -> Row:
        """Return the row with other judgements, pairs and drops."""
        groups = principles_by_group(self._constitution, row.prompt)
        judgements = tuple(
            self._judgement(comparison, group, principles)
            for comparison in _comparisons(row.judgements)
            for group, principles in groups.items()
        )
        paired = pair(row.candidates, judgements, self._pairing)
        kept = [drop for drop in row.drops if drop.what not in ("ranking", "pair") or drop.reason == "equal_sides"]
        update = {"judgements": judgements, "rankings": paired.rankings, "pairs": paired.pairs}
        weighed = row.model_copy(update=update | {"drops": (*kept, *paired.drops)})
        self._count(row, weighed)
        return weighed

    def _judgement(self, comparison: Sequence[Judgement], group: str | None, principles: list[Principle]) -> Judgement:
        votes = _votes(comparison, group, principles)
        verdict = self._verdict(aggregate(votes, principles, self._settings))
        return Judgement(
            first=comparison[0].first,
            second=comparison[0].second,
            mode=comparison[0].mode,
            judge=comparison[0].judge,
            group=group,
            votes=votes,
            outcome=verdict.outcome,
            probability=verdict.probability,
        )

    def _verdict(self, verdict: Verdict) -> Verdict:
        """The verdict with its probability as a certificate's map mends it, if there is one."""
        if self._mended is None or verdict.probability is None:
            return verdict
        probability = self._mended(verdict.probability)
        return Verdict("tie" if self._settings.is_tie(probability) else "preference", probability)

    def _count(self, before: Row, after: Row) -> None:
        changes = self.changes
        changes.pairs_before += len(before.pairs)
        changes.pairs_after += len(after.pairs)
        old = {(j.first, j.second, j.group): j for j in before.judgements}
        new = {(j.first, j.second, j.group): j for j in after.judgements}
        changes.judgements.update(change_of(old.get(place), new.get(place)) for place in old | new)
        counting = {id(vote) for vote in after.votes()}
        for vote in before.votes():
            name = vote.principle or f"{vote.judge} ({vote.mode})"
            if id(vote) in counting:
                changes.voted.add(name)
            elif self._digests.get(name) in (None, vote.principle_digest):
                changes.left_out[name] += 1
            else:
                changes.stale[name] += 1


def _comparisons(judgements: Iterable[Judgement]) -> list[list[Judgement]]:
    """Judgements of the same two candidates together: one for each of the run's groups."""
    by_pair: dict[tuple[int, int], list[Judgement]] = {}
    for judgement in judgements:
        by_pair.setdefault((judgement.first, judgement.second), []).append(judgement)
    return list(by_pair.values())


def _votes(comparison: Sequence[Judgement], group: str | None, principles: Sequence[Principle]) -> tuple[Vote, ...]:
    """The votes that count in a group, in the order that a jury gives them: by juror, then by principle."""
    places = {(principle.id, principle.digest): place for place, principle in enumerate(principles)}
    jurors: dict[tuple[str, str], int] = {}
    placed: list[tuple[int, int, Vote]] = []
    for judgement in comparison:
        for vote in judgement.votes:
            juror = jurors.setdefault((vote.judge, vote.mode), len(jurors))
            if vote.principle is not None and vote.principle_digest is not None:
                place = places.get((vote.principle, vote.principle_digest))
            else:
                place = 0 if principles and judgement.group == group else None
            if place is not None:
                placed.append((juror, place, vote))
    return tuple(vote for _, _, vote in sorted(placed, key=lambda one: one[:2]))


class ComparisonOutcome(Protocol):
    """What a comparison came to: a `critic.records.Judgement`, or a `critic.judging.aggregate.Verdict`."""

    @property
    def outcome(self) -> str:
        """A preference, a tie, or why it is neither."""
        ...

    @property
    def probability(self) -> float | None:
        """That the first is better; None where nothing was read."""
        ...


def change_of(before: ComparisonOutcome | None, after: ComparisonOutcome | None) -> Change:
    """Say how one outcome became another; None stands for a group that is not there."""
    if before is None or after is None:
        return "group_is_new" if before is None else "group_is_gone"
    if before.probability is None or after.probability is None:
        if before.probability is after.probability:
            return "stayed_unreadable"
        return "became_readable" if before.probability is None else "became_unreadable"
    match before.outcome, after.outcome:
        case "preference", "preference":
            return "kept_side" if (before.probability > 0.5) == (after.probability > 0.5) else "changed_side"
        case "tie", "tie":
            return "stayed_tie"
        case "tie", _:
            return "stopped_being_tie"
        case _:
            return "became_tie"
