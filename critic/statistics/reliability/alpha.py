"""Krippendorff's alpha for any number of raters, with ratings missing or not, by arrays.

Krippendorff, Computing Krippendorff's Alpha-Reliability (2011). Its matrix of coincidences is never built: what is
needed of it, the squared distances of all values of a unit, two by two, are 2 m times their squares around the unit's
mean. For ordinal ratings values stand at the middle of their own among all (his ordinal metric is the distance of
those), and for nominal ones each pair of different values is 1 apart. So time and memory grow with the ratings alone.
The ratio metric is no such distance: its values are paired, and may be no more than `MOST_PAIRED`.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from critic.statistics.reliability.coefficient import Disagreement, OfWeights
from critic.statistics.reliability.ratings import Floats, Ints, Ratings

Level = Literal["nominal", "ordinal", "interval", "ratio"]
MOST_PAIRED = 1000


class _Cells:
    """Counts of each unit's values, of the units with two ratings or more: others say nothing of agreement."""

    def __init__(self, ratings: Ratings) -> None:
        sizes = ratings.sizes()
        unit, code, count = ratings.cells()
        kept = sizes[unit] > 1
        self.unit, self.code, self.count = unit[kept], code[kept], count[kept].astype(np.float64)
        self.values, self.sizes = ratings.values, sizes.astype(np.float64)
        # Each unit's pairs are weighed by 1 / (m - 1), so that a unit counts for its m ratings.
        self.pairing = np.where(sizes > 1, 1 / np.maximum(1, sizes - 1), 0.0)

    def by_unit(self, amounts: Floats) -> Floats:
        """Return (U,) sums of what stands in cells."""
        return np.asarray(np.bincount(self.unit, amounts, minlength=self.sizes.size), np.float64)

    def totals(self, weights: Floats) -> Floats:
        """Return (V,) how often each value was given."""
        given = self.count * weights[self.unit]
        return np.asarray(np.bincount(self.code, given, minlength=self.values.size), np.float64)


def krippendorff(ratings: Ratings, level: Level) -> OfWeights:
    """Return the disagreement of ``ratings`` by the weights of units (see `coefficient.figure`).

    Raises ValueError for ratio ratings below zero, or of more than `MOST_PAIRED` values.
    """
    return _LEVELS[level](_Cells(ratings))


def _nominal(cells: _Cells) -> OfWeights:
    different = (cells.sizes**2 - cells.by_unit(cells.count**2)) * cells.pairing

    def disagreement(weights: Floats) -> Disagreement:
        totals = cells.totals(weights)
        return _normed(float(weights @ different), totals.sum() ** 2 - (totals**2).sum(), totals.sum(), 1.0)

    return disagreement


def _interval(cells: _Cells) -> OfWeights:
    return _squared(cells, lambda totals: cells.values)


def _ordinal(cells: _Cells) -> OfWeights:
    return _squared(cells, lambda totals: np.cumsum(totals) - totals / 2)


def _squared(cells: _Cells, places: Callable[[Floats], Floats]) -> OfWeights:
    """Distances are those of places on a line, squared; the places may depend on how often values were given."""

    def disagreement(weights: Floats) -> Disagreement:
        totals = cells.totals(weights)
        if not totals.any():
            return Disagreement(0.0, 0.0)
        at = places(totals)
        at = at - (totals @ at) / totals.sum()  # around the mean nothing is lost to rounding
        of_cell = at[cells.code]
        squares = cells.by_unit(cells.count * of_cell**2)
        sums = cells.by_unit(cells.count * of_cell)
        within = 2 * (cells.sizes * squares - sums**2) * cells.pairing
        given = at[totals > 0]
        return _normed(
            float(weights @ within), 2 * totals.sum() * float(totals @ at**2), totals.sum(), float(np.ptp(given) ** 2)
        )

    return disagreement


def _ratio(cells: _Cells) -> OfWeights:
    values = cells.values
    if values.size > MOST_PAIRED or (values < 0).any():
        raise ValueError(f"expected at most {MOST_PAIRED} different ratings, none below zero")
    sums = np.maximum(values[:, None] + values[None, :], np.finfo(float).tiny)
    distance = ((values[:, None] - values[None, :]) / sums) ** 2
    unit, counts = _rows(cells)

    def disagreement(weights: Floats) -> Disagreement:
        totals = cells.totals(weights)
        weighed = counts * (weights * cells.pairing)[unit][:, None]
        observed = float(((weighed.T @ counts) * distance).sum())
        return _normed(observed, float(totals @ distance @ totals), totals.sum(), 1.0)

    return disagreement


def _rows(cells: _Cells) -> tuple[Ints, Floats]:
    """Return the units that have cells, and (units, V) their counts."""
    units, place = np.unique(cells.unit, return_inverse=True)
    table: NDArray[np.float64] = np.zeros((units.size, cells.values.size))
    table[place, cells.code] = cells.count
    return units, table


def _normed(observed: float, expected: float, ratings: float, largest: float) -> Disagreement:
    """As means over pairs: of two ratings of a unit, and of any two ratings."""
    if ratings < 2:
        return Disagreement(0.0, 0.0)
    return Disagreement(observed / ratings, float(expected) / (ratings * (ratings - 1)), largest)


_LEVELS: dict[Level, Callable[[_Cells], OfWeights]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
    "ratio": _ratio,
}
