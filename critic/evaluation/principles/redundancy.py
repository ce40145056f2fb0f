"""Principles that say the same, and principles that contradict each other, by how they vote on the same comparisons.

Good principles mostly agree, because some answers are simply better. So a **duplicate** is told by what is left when
the mean of all other principles is taken away: votes that still rise and fall together ask one question twice. Two
that **contradict** prefer different answers far more often than the same one, on the very comparisons that both decide.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from critic.evaluation.principles.influence import by_row
from critic.evaluation.principles.table import Comparison, VoteTable
from critic.statistics.alarms import OF_REPORT
from critic.statistics.intervals import FEW, Figure, Share, paired

SAME = 0.8  # correlation of what is left, from which two principles are one
SAME_AT_LEAST = 0.6  # and the lower end of its interval
OPPOSED = 0.25  # the share of comparisons decided alike, up to which two contradict each other
LEVEL = OF_REPORT / 2  # of all tests of contradictions together; ambiguous clauses have the other half

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Relation:
    """Two principles of one group. ``alike``: how often they prefer the same answer, of the comparisons that both
    decide. ``correlation`` with its 95 % interval: of their log-odds beyond the mean of the others' (of the log-odds
    themselves where there is no other).
    """

    one: str
    other: str
    alike: Figure
    correlation: float
    low: float
    high: float
    p_opposed: float

    @property
    def is_duplicate(self) -> bool:
        """Whether one of the two can go."""
        return self.correlation >= SAME and self.low >= SAME_AT_LEAST

    @property
    def is_contradiction(self) -> bool:
        """Whether they pull apart."""
        return self.p_opposed < LEVEL and self.alike.estimate <= OPPOSED


def relations(table: VoteTable) -> list[Relation]:
    """Return how each two principles stand to each other that were read together in `FEW` prompts or more.

    Prompts are the clusters. ``p_opposed`` is the sign test's over prompts, times the number of relations (Bonferroni).
    """
    odds = _odds(table)
    made = [_relation(table, odds, one, other) for one, other in combinations(sorted(table.principles), 2)]
    known = [relation for relation in made if relation is not None]
    return [_corrected(relation, len(known)) for relation in known]


@dataclass(frozen=True, slots=True)
class _Odds:
    names: dict[str, int]
    values: _Floats  # (C, P), NaN where it was not read
    rows: NDArray[np.int64]


def _odds(table: VoteTable) -> _Odds:
    names = {name: place for place, name in enumerate(sorted(table.principles))}
    values = np.full((len(table.comparisons), len(names)), np.nan)
    for number, comparison in enumerate(table.comparisons):
        for name, value in comparison.odds.items():
            values[number, names[name]] = value
    return _Odds(names, values, np.array([comparison.row for comparison in table.comparisons], np.int64))


def _relation(table: VoteTable, odds: _Odds, one: str, other: str) -> Relation | None:
    i, j = odds.names[one], odds.names[other]
    both = ~np.isnan(odds.values[:, i]) & ~np.isnan(odds.values[:, j])
    prompts = len(np.unique(odds.rows[both]))
    if prompts < FEW:
        return None
    alike, wins, losses = _alike(table.comparisons, one, other)
    figure = alike.figure()
    if figure is None:  # neither ever decides
        return None
    rest = np.delete(odds.values[both], [i, j], axis=1)
    given = (~np.isnan(rest)).sum(axis=1)
    others = np.where(given > 0, np.nansum(rest, axis=1) / np.maximum(given, 1), 0.0)
    correlation = _correlation(odds.values[both, i], odds.values[both, j], others)
    if correlation is None:
        return None
    half = 1.96 / np.sqrt(max(1, prompts - 4))  # Fisher's z, one variable held fixed; prompts count, not comparisons
    low, high = np.tanh(np.arctanh(np.clip(correlation, -1 + 1e-9, 1 - 1e-9)) + np.array([-half, half]))
    opposed = paired(wins, losses).p if losses > wins else 1.0
    return Relation(one, other, figure, correlation, float(low), float(high), opposed)


def _alike(comparisons: Iterable[Comparison], one: str, other: str) -> tuple[Share, int, int]:
    """The share of comparisons decided alike, and the prompts in which most are, and in which most are not."""
    share, wins, losses = Share(), 0, 0
    for row in by_row(comparisons):
        balance = 0
        for comparison in row:
            product = comparison.odds.get(one, 0.0) * comparison.odds.get(other, 0.0)
            if product:
                share.count(product > 0)
                balance += 1 if product > 0 else -1
        share.end_cluster()
        wins += balance > 0
        losses += balance < 0
    return share, wins, losses


def _correlation(x: _Floats, y: _Floats, others: _Floats) -> float | None:
    """Correlation of what a line through ``others`` leaves of x and of y; None where one of them never varies."""
    centred = others - others.mean()
    square = float(centred @ centred)

    def left(values: _Floats) -> _Floats:
        values = values - values.mean()
        return values - centred * (float(values @ centred) / square) if square > 0 else values

    a, b = left(x), left(y)
    scale = float(np.sqrt((a @ a) * (b @ b)))
    varies = min(float(a @ a), float(b @ b)) > 1e-12 * len(x)
    return float(a @ b) / scale if varies else None


def _corrected(relation: Relation, tests: int) -> Relation:
    p = min(1.0, relation.p_opposed * tests)
    return Relation(relation.one, relation.other, relation.alike, relation.correlation, relation.low, relation.high, p)
