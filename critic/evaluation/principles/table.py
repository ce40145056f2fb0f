"""A run's votes as a constitution's test reads them: comparison by comparison, principle by principle."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from constitution import Constitution
from critic.judging.aggregate import principle_log_odds
from critic.records import Judgement, Row, Vote

Reader = tuple[str, ...]
"""Who read a principle: the judge, its mode, and where the same judge was asked in another run, that one's name."""


@dataclass(slots=True)
class Comparison:
    """One judgement, with those of its votes that count.

    ``odds`` are each principle's mean log-odds that the first answer is better, where it was read; ``readings`` the
    same by reader. Principles without a readable vote stand in ``voted`` only.
    """

    row: int
    where: str
    group: str | None
    judgement: Judgement
    votes: tuple[Vote, ...]
    odds: dict[str, float]
    readings: dict[str, dict[Reader, float]]
    voted: tuple[str, ...]


@dataclass(slots=True)
class VoteTable:
    """All comparisons of a run, in the order of its rows, as votes on the principles of one constitution.

    A vote counts for the principle of its id and digest: ``stale`` counts by id those that were cast under another
    wording, ``left_out`` those of principles that the constitution doesn't have.
    """

    digests: Mapping[str, str]
    comparisons: list[Comparison] = field(default_factory=list)
    stale: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    _places: dict[tuple[str, str, str, str | None], tuple[Comparison, bool]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Row], constitution: Constitution) -> "VoteTable":
        """Read a run's rows."""
        table = cls({principle.id: principle.digest for principle in constitution.principles})
        for row in rows:
            for judgement in row.judgements:
                table._add(row, judgement)
        return table

    @property
    def principles(self) -> Sequence[str]:
        """The principles, in the constitution's order."""
        return tuple(self.digests)

    @property
    def readers(self) -> int:
        """How many readers there are of the principle that has most."""
        return max((len(r) for c in self.comparisons for r in c.readings.values()), default=0)

    def add_readers(self, rows: Iterable[Row], name: str) -> int:
        """Count the votes of another run on the same comparisons as those of other readers. Return how many matched."""
        matched = 0
        for row in rows:
            texts = [candidate.text for candidate in row.candidates]
            for judgement in row.judgements:
                key = (row.prompt.key, texts[judgement.first], texts[judgement.second], judgement.group)
                if key in self._places:
                    comparison, turned = self._places[key]
                    matched += 1
                    _read(self._counting(judgement.votes), comparison.readings, (name,), -1.0 if turned else 1.0)
        return matched

    def _counting(self, votes: Iterable[Vote]) -> tuple[Vote, ...]:
        return tuple(v for v in votes if v.principle is None or self.digests.get(v.principle) == v.principle_digest)

    def _add(self, row: Row, judgement: Judgement) -> None:
        votes = self._counting(judgement.votes)
        for vote in judgement.votes:
            if vote.principle is not None and self.digests.get(vote.principle) != vote.principle_digest:
                (self.stale if vote.principle in self.digests else self.left_out)[vote.principle] += 1
        odds = {p: x for p, x in principle_log_odds(votes).items() if p is not None and x is not None}
        readings: dict[str, dict[Reader, float]] = {}
        _read(votes, readings, (), 1.0)
        voted = dict.fromkeys(v.principle for v in votes if v.principle is not None)
        comparison = Comparison(row.row, row.where, judgement.group, judgement, votes, odds, readings, tuple(voted))
        self.comparisons.append(comparison)
        first, second = row.candidates[judgement.first].text, row.candidates[judgement.second].text
        self._places[row.prompt.key, first, second, judgement.group] = (comparison, False)
        self._places.setdefault((row.prompt.key, second, first, judgement.group), (comparison, True))


def _read(votes: Iterable[Vote], readings: dict[str, dict[Reader, float]], name: Reader, sign: float) -> None:
    """Add each reader's mean log-odds of each principle, over both orders. One that can't be read is left out."""
    given: dict[tuple[str, Reader], list[float | None]] = {}
    for vote in votes:
        if vote.principle is not None:
            given.setdefault((vote.principle, (*name, vote.judge, vote.mode)), []).append(vote.log_odds)
    for (principle, reader), odds in given.items():
        known = [x for x in odds if x is not None]
        if len(known) == len(odds):
            readings.setdefault(principle, {})[reader] = sign * math.fsum(known) / len(known)
