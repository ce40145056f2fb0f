"""How far raters agree: Cohen's kappa for two of them, Krippendorff's alpha for any number, with labels missing or not.

Cohen, A Coefficient of Agreement for Nominal Scales (1960). Krippendorff, Computing Krippendorff's Alpha-Reliability
(2011). Both are 1 for perfect agreement and 0 for what chance gives; neither is defined where only one value was given.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Level = Literal["nominal", "ordinal", "interval"]
Value = float


class Coincidences:
    """What raters said of the same units, counted in constant memory: see Krippendorff's coincidence matrix."""

    def __init__(self) -> None:
        self._together: dict[tuple[Value, Value], float] = {}
        self.units = 0
        self.labels = 0

    def add(self, values: Sequence[Value]) -> None:
        """Add one unit's values, one a rater. A unit with a single value says nothing of agreement."""
        if len(values) < 2:
            return
        counts = Counter(values)
        for first, m in counts.items():
            for second, n in counts.items():
                pairs = m * (n - 1) if first == second else m * n
                if pairs:
                    share = pairs / (len(values) - 1)
                    self._together[first, second] = self._together.get((first, second), 0) + share
        self.units += 1
        self.labels += len(values)

    def alpha(self, level: Level) -> float | None:
        """Return Krippendorff's alpha; None where fewer than two different values were given."""
        totals: dict[Value, float] = {}
        for (value, _), pairs in self._together.items():
            totals[value] = totals.get(value, 0) + pairs
        differences = _differences(totals, level)
        expected = sum(totals[a] * totals[b] * difference for (a, b), difference in differences.items())
        if expected == 0:
            return None
        observed = sum(self._together.get((a, b), 0) * difference for (a, b), difference in differences.items())
        return 1 - (self.labels - 1) * observed / expected


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


def _differences(totals: Mapping[Value, float], level: Level) -> dict[tuple[Value, Value], float]:
    """Return the squared difference of each two values: 1, the labels between them, or their distance."""
    values = sorted(totals)
    before = _running(totals[value] for value in values)

    def difference(i: int, j: int) -> float:
        if level == "nominal":
            return float(i != j)
        if level == "interval":
            return (values[i] - values[j]) ** 2
        low, high = min(i, j), max(i, j)
        return (before[high + 1] - before[low] - (totals[values[i]] + totals[values[j]]) / 2) ** 2

    places = range(len(values))
    return {(values[i], values[j]): difference(i, j) for i in places for j in places if i != j}


def _running(counts: Iterable[float]) -> list[float]:
    sums = [0.0]
    for count in counts:
        sums.append(sums[-1] + count)
    return sums
