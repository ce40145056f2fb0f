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

from critic.statistics.reliability.coefficient import OfWeights, WeightedDisagreement
from critic.statistics.reliability.ratings import Floats, Ratings, by_value

Level = Literal["nominal", "ordinal", "interval", "ratio"]
MOST_PAIRED = 1000


class _Cells:
    """Counts of each unit's values, of the units with two ratings or more: others say nothing of agreement."""

    def __init__(self, ratings: Ratings) -> None:
        sizes = ratings.sizes()
        self.table = ratings.table()  # (U, V)
        self.values, self.sizes = ratings.values, sizes.astype(np.float64)
        self.several = (sizes > 1).astype(np.float64)
        # Each unit's pairs are weighed by 1 / (m - 1), so that a unit counts for its m ratings.
        self.pairing = np.where(sizes > 1, 1 / np.maximum(1, sizes - 1), 0.0)

    def totals(self, weights: Floats) -> Floats:
        """Return (R, V) how often each value was given."""
        return by_value(weights * self.several, self.table)

    def of_units(self, amounts: Floats) -> Floats:
        """Return (U, ...) sums over each unit's ratings of what each value (V, ...) amounts to."""
        return np.asarray(self.table @ amounts, np.float64)


def krippendorff(ratings: Ratings, level: Level) -> OfWeights:
    """Return the disagreement of ``ratings`` by the weights of units (see `coefficient.figure`).

    Raises ValueError for ratio ratings below zero, or of more than `MOST_PAIRED` values.
    """
    return _LEVELS[level](_Cells(ratings))


def _nominal(cells: _Cells) -> OfWeights:
    squares = np.asarray((cells.table**2).sum(axis=1), np.float64)
    different = (cells.sizes**2 - squares) * cells.pairing

    def disagreement(weights: Floats) -> WeightedDisagreement:
        totals = cells.totals(weights)
        ratings = totals.sum(axis=1)
        return _normed(weights @ different, ratings**2 - (totals**2).sum(axis=1), ratings, np.ones(ratings.size))

    return disagreement


def _interval(cells: _Cells) -> OfWeights:
    # Around the middle nothing is lost to rounding, and of a size of 1 no square is too large.
    size = np.abs(cells.values).max(initial=0.0) or 1.0
    at = cells.values / size
    at -= at.mean() if at.size else 0.0
    within = _within(cells, at[:, None])[:, 0]

    def disagreement(weights: Floats) -> WeightedDisagreement:
        totals = cells.totals(weights)
        return _squared(weights @ within, totals, np.broadcast_to(at, totals.shape))

    return disagreement


def _ordinal(cells: _Cells) -> OfWeights:
    def disagreement(weights: Floats) -> WeightedDisagreement:
        totals = cells.totals(weights)
        at = np.cumsum(totals, axis=1) - totals / 2 - totals.sum(axis=1, keepdims=True) / 2
        within = _within(cells, at.T)
        return _squared(np.einsum("ru,ur->r", weights, within), totals, at)

    return disagreement


def _within(cells: _Cells, at: Floats) -> Floats:
    """Return (U, R) the squared distances of a unit's ratings, two by two, where values stand at places (V, R)."""
    squares, sums = cells.of_units(at**2), cells.of_units(at)
    return np.asarray(2 * (cells.sizes[:, None] * squares - sums**2) * cells.pairing[:, None])


def _squared(observed: Floats, totals: Floats, at: Floats) -> WeightedDisagreement:
    """Distances are those of the places (R, V) on a line, squared; places may depend on how often values were given."""
    ratings = totals.sum(axis=1)
    mean = (totals * at).sum(axis=1) / np.maximum(1.0, ratings)
    expected = 2 * ratings * (totals * (at - mean[:, None]) ** 2).sum(axis=1)
    is_given = totals > 0
    highest = np.where(is_given, at, -np.inf).max(axis=1, initial=-np.inf)
    lowest = np.where(is_given, at, np.inf).min(axis=1, initial=np.inf)
    spans = np.where(is_given.any(axis=1), highest - lowest, 0.0)
    return _normed(observed, expected, ratings, spans**2)


def _ratio(cells: _Cells) -> OfWeights:
    values = cells.values
    if values.size > MOST_PAIRED or (values < 0).any():
        raise ValueError(f"expected at most {MOST_PAIRED} different ratings, none below zero")
    sums = np.maximum(values[:, None] + values[None, :], np.finfo(float).tiny)
    distance = ((values[:, None] - values[None, :]) / sums) ** 2
    # Of a unit: its ratings' distances, two by two.
    far = cells.of_units(distance)
    within = np.asarray(cells.table.multiply(far).sum(axis=1), np.float64).reshape(-1) * cells.pairing

    def disagreement(weights: Floats) -> WeightedDisagreement:
        totals = cells.totals(weights)
        ratings = totals.sum(axis=1)
        expected = ((totals @ distance) * totals).sum(axis=1)
        return _normed(weights @ within, expected, ratings, np.ones(ratings.size))

    return disagreement


def _normed(observed: Floats, expected: Floats, ratings: Floats, largest: Floats) -> WeightedDisagreement:
    """As means over pairs: of two ratings of a unit, and of any two ratings."""
    is_known = ratings > 1
    of = np.where(is_known, ratings, 2.0)
    return WeightedDisagreement(observed / of, np.where(is_known, expected / (of * (of - 1)), 0.0), largest)


_LEVELS: dict[Level, Callable[[_Cells], OfWeights]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
    "ratio": _ratio,
}
