"""Coefficients of agreement with intervals: Krippendorff's alpha of all people, Cohen's kappa of each two.

Units of one item are resampled together: they are about the same texts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from pydantic import BaseModel

from critic.statistics.intervals import Figure
from critic.statistics.raters import Level
from critic.statistics.reliability.alpha import krippendorff
from critic.statistics.reliability.coefficient import figure
from critic.statistics.reliability.kappa import cohen
from critic.statistics.reliability.ratings import Ratings
from service.labels.agreement import Values

MOST_RATINGS = 1_000_000  # that are kept for it, the first
MOST_PAIRS = 30  # of people whose kappa has an interval, those with the most units in common


class Coefficient(BaseModel):
    """A coefficient with its 95 % interval, which is -1 to 1 where too few items say anything of it."""

    estimate: float
    low: float
    high: float
    n: int
    clusters: int

    @classmethod
    def of(cls, figure: Figure | None) -> "Coefficient | None":
        """Return a figure as it goes out."""
        if figure is None:
            return None
        return cls(estimate=figure.estimate, low=figure.low, high=figure.high, n=figure.n, clusters=figure.clusters)


class PairKappa(BaseModel):
    """Two people, and Cohen's kappa of what both have labelled."""

    first: str
    second: str
    units: int
    kappa: Coefficient | None


class CollectedRatings:
    """Ratings of people, collected item by item."""

    def __init__(self) -> None:
        self._units: list[int] = []
        self._raters: list[str] = []
        self._values: list[float] = []
        self._items: list[int] = []  # of each unit
        self._item = -1

    def add(self, units: Iterable[Values]) -> None:
        """Add one item's units; those that one person alone has labelled say nothing of agreement."""
        self._item += 1
        for unit in units:
            people = {rater.annotator or "": value for rater, value in unit.items() if rater.source == "human"}
            if len(people) < 2 or len(self._values) + len(people) > MOST_RATINGS:
                continue
            number = len(self._items)
            self._items.append(self._item)
            for name, value in people.items():
                self._units.append(number)
                self._raters.append(name)
                self._values.append(value)

    def alpha(self, levels: Sequence[Level]) -> dict[Level, Coefficient | None]:
        """Return Krippendorff's alpha at each level."""
        ratings = Ratings.of(self._units, self._raters, self._values)
        if not self._values:
            return dict.fromkeys(levels)
        return {level: Coefficient.of(_alpha(ratings, level, self._items)) for level in levels}

    def kappas(self) -> list[PairKappa]:
        """Return the kappa of the pairs that have most in common, those first."""
        together: Counter[tuple[str, str]] = Counter()
        by_unit: dict[int, list[str]] = {}
        for unit, rater in zip(self._units, self._raters, strict=True):
            by_unit.setdefault(unit, []).append(rater)
        for raters in by_unit.values():
            together.update(combinations(sorted(raters), 2))
        ratings = Ratings.of(self._units, self._raters, self._values)
        place = {name: number for number, name in enumerate(sorted(set(self._raters)))}
        return [self._kappa(ratings, place, *pair) for pair, _ in together.most_common(MOST_PAIRS)]

    def _kappa(self, ratings: Ratings, place: Mapping[str, int], first: str, second: str) -> PairKappa:
        units, own, other = ratings.of_pair(place[first], place[second])
        clusters = np.asarray(self._items)[units]
        return PairKappa(
            first=first,
            second=second,
            units=int(units.size),
            kappa=Coefficient.of(figure(cohen(own, other), int(units.size), clusters)),
        )


def _alpha(ratings: Ratings, level: Level, items: Sequence[int]) -> Figure | None:
    return figure(krippendorff(ratings, level), ratings.number_of_units, items)


def kappa_of(first: Sequence[float], second: Sequence[float], items: Sequence[int]) -> Coefficient | None:
    """Return Cohen's kappa of two sequences of values, each of the item beside it."""
    values = np.unique([*first, *second])
    own, other = np.searchsorted(values, first), np.searchsorted(values, second)
    return Coefficient.of(figure(cohen(own, other), len(first), list(items)))
