"""How far raters agree: Cohen's kappa for two of them, Krippendorff's alpha for any number, with labels missing or not.

Cohen, A Coefficient of Agreement for Nominal Scales (1960). Krippendorff, Computing Krippendorff's Alpha-Reliability
(2011). Both are 1 for perfect agreement and 0 for what chance gives; neither is defined where only one value was given.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

Level = Literal["nominal", "ordinal", "interval"]
Value = float


MOST_VALUES = 256
"""Different values whose pairs are counted: their number is its square."""


class Coincidences:
    """What raters said of the same units, in memory that grows with the different values only.

    Krippendorff's coincidence matrix has a number for each two values. What is needed of it can mostly be had without:
    the squared differences of all values of a unit, two by two, are 2 m times their squares around the mean.
    """

    def __init__(self) -> None:
        self._totals: Counter[Value] = Counter()
        self._observed = {"nominal": 0.0, "interval": 0.0}
        self._together: dict[tuple[Value, Value], float] | None = {}  # None: there were too many values
        self.units = 0
        self.labels = 0

    @property
    def values(self) -> int:
        """How many different values were given."""
        return len(self._totals)

    def add(self, values: Sequence[Value]) -> None:
        """Add one unit's values, one a rater. A unit with a single value says nothing of agreement."""
        if len(values) < 2:
            return
        counts = Counter(values)
        size, mean = len(values), sum(values) / len(values)
        squares = sum(n * (value - mean) ** 2 for value, n in counts.items())
        self._observed["nominal"] += (size**2 - sum(n * n for n in counts.values())) / (size - 1)
        self._observed["interval"] += 2 * size * squares / (size - 1)
        self._totals.update(counts)
        self._count_together(counts, size)
        self.units += 1
        self.labels += size

    def alpha(self, level: Level) -> float | None:
        """Return Krippendorff's alpha; None where fewer than two different values were given.

        The ordinal one is None, too, where there were more than `MOST_VALUES`.
        """
        if len(self._totals) < 2:
            return None
        if level == "nominal":
            expected = float(self.labels**2 - sum(n * n for n in self._totals.values()))
            return self._alpha(self._observed["nominal"], expected)
        if level == "interval":
            return self._alpha(self._observed["interval"], self._spread({value: value for value in self._totals}))
        if self._together is None:
            return None
        places = _middle_places(self._totals)
        observed = sum(pairs * (places[a] - places[b]) ** 2 for (a, b), pairs in self._together.items())
        return self._alpha(observed, self._spread(places))

    def _alpha(self, observed: float, expected: float) -> float | None:
        return None if expected == 0 else 1 - (self.labels - 1) * observed / expected

    def _spread(self, places: Mapping[Value, float]) -> float:
        """The squared differences of all values, two by two, where each stands at its place."""
        mean = sum(n * places[value] for value, n in self._totals.items()) / self.labels
        return 2 * self.labels * sum(n * (places[value] - mean) ** 2 for value, n in self._totals.items())

    def _count_together(self, counts: Counter[Value], size: int) -> None:
        if self._together is None or len(self._totals) > MOST_VALUES:
            self._together = None
            return
        for first, m in counts.items():
            for second, n in counts.items():
                if first != second:
                    self._together[first, second] = self._together.get((first, second), 0) + m * n / (size - 1)


class Kappa:
    """What two raters said of the same units."""

    def __init__(self) -> None:
        self._table: Counter[tuple[Value, Value]] = Counter()

    def add(self, first: Value, second: Value) -> None:
        """Add one unit."""
        self._table[first, second] += 1

    @property
    def units(self) -> int:
        """How many units both have rated."""
        return self._table.total()

    @property
    def agreement(self) -> float | None:
        """The share of units on which they agree."""
        alike = sum(count for (first, second), count in self._table.items() if first == second)
        return alike / self.units if self.units else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa, unweighted; None where chance alone would always agree."""
        if self.agreement is None:
            return None
        firsts, seconds = _margins(self._table)
        chance = sum(firsts[value] * seconds[value] for value in firsts) / self.units**2
        return None if chance == 1 else (self.agreement - chance) / (1 - chance)


def _margins(table: Counter[tuple[Value, Value]]) -> tuple[Counter[Value], Counter[Value]]:
    firsts: Counter[Value] = Counter()
    seconds: Counter[Value] = Counter()
    for (first, second), count in table.items():
        firsts[first] += count
        seconds[second] += count
    return firsts, seconds


def _middle_places(totals: Mapping[Value, int]) -> dict[Value, float]:
    """Where each value stands among all, in their order: the middle of its own.

    The distance of two is then that of Krippendorff's ordinal metric: the labels between them, and half of their own.
    """
    before, places = 0, {}
    for value in sorted(totals):
        places[value] = before + totals[value] / 2
        before += totals[value]
    return places
