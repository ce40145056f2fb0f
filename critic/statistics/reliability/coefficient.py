"""A coefficient of agreement, 1 minus observed over expected disagreement, with its interval over resampled clusters.

All chance-corrected coefficients have this form: 1 is perfect agreement, 0 what chance gives. Units are drawn again in
clusters (the prompt that they come from), as weights of what was counted once. Two intervals come of the bootstrap:

- where raters nearly agree, the disagreement is a rare event. The bootstrap's variance (Efron and Tibshirani, An
  Introduction to the Bootstrap, 1993, chapter 6) gives an effective number of units, and Jeffreys' interval of the
  observed disagreement at that number (Brown, Cai and DasGupta 2001) stays right down to no disagreement at all;
- where they agree hardly more than by chance, what chance gives is itself uncertain and skewed, and the bias-corrected
  and accelerated percentiles are right (BCa; chapter 14 there, acceleration by a sixth of the bootstrap's skewness, at
  the level of Student's t for as many clusters).

In between both count: the second by the square of observed over expected disagreement. Fewer than
`FEWEST` clusters give no interval: with a rare value, or few disagreements, none covers what it says.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critic.statistics.intervals import Figure, jeffreys, student

FEWEST = 40  # clusters
RESAMPLES = 1000
MOST_WEIGHTS = 20_000_000  # units times resamples that are drawn; larger data are drawn less often
FEWEST_RESAMPLES = 100
AT_ONCE = 1_000_000  # units times resamples in memory
STEEPEST = 0.1  # of what BCa divides by
ROUNDING = 1e-12  # a variance below it is what rounding leaves of none, as where one rater says the same always

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class WeightedDisagreement:
    """Observed and expected disagreement (R,), one for each of R weightings of the units, in one unit of distance.

    ``largest`` (R,) is the distance of the two values that are farthest apart.
    """

    observed: Floats
    expected: Floats
    largest: Floats

    @property
    def coefficients(self) -> Floats:
        """(R,): 1 minus their ratio; NaN where chance alone would always agree, as where only one value was given."""
        ratios = np.full(self.observed.shape, np.nan)
        return np.asarray(1 - np.divide(self.observed, self.expected, out=ratios, where=self.expected > 0))


OfWeights = Callable[[Floats], WeightedDisagreement]
"""The disagreement where each unit counts so often: ``weights`` (R, U), all 1 for the data as they are."""


def coefficient(disagreement: OfWeights, units: int) -> float | None:
    """Return a coefficient of the data as they are, or None where it is not defined."""
    if not units:
        return None
    value = float(disagreement(np.ones((1, units))).coefficients[0])
    return None if np.isnan(value) else value


def figure(disagreement: OfWeights, units: int, clusters: Sequence[Any] | NDArray[Any] | None = None) -> Figure | None:
    """Return a coefficient with its 95 % interval, or None where it is not defined.

    ``clusters`` (U,) names what each unit comes from; without them each unit is one. Fewer than `FEWEST` clusters,
    and the interval is everything: -1 to 1.
    """
    value = coefficient(disagreement, units)
    if value is None:
        return None
    of = np.arange(units) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    number = int(of.max()) + 1
    if number < FEWEST:
        return Figure(value, -1.0, 1.0, units, number)
    resampled = _resampled(disagreement, of, number)
    low, high = _limits(disagreement(np.ones((1, units))), resampled, number)
    return Figure(value, low, high, units, number)


def resting_on(value: Figure, clusters: Sequence[Any] | NDArray[Any]) -> Figure:
    """Return a coefficient with the number of what it rests on: units that two raters rated, and their ``clusters``.

    A unit that one rater rated says nothing of agreement; counted, it would lift a coefficient over `FEWEST`.
    """
    number = len(np.unique(np.asarray(clusters)))
    low, high = (value.low, value.high) if number >= FEWEST else (-1.0, 1.0)
    return replace(value, low=low, high=high, n=len(clusters), clusters=number)


def _resampled(disagreement: OfWeights, of: NDArray[np.int64], number: int) -> Floats:
    """Return the coefficients of resampled clusters, where they are defined."""
    rng = np.random.default_rng(0)
    resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, MOST_WEIGHTS // of.size))
    at_once = max(1, AT_ONCE // of.size)
    drawn: list[Floats] = []
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        cells = rng.integers(number, size=(count, number)) + number * np.arange(count)[:, None]
        times = np.bincount(cells.reshape(-1), minlength=count * number).astype(np.float64)
        drawn.append(disagreement(times.reshape(count, number)[:, of]).coefficients)
    values = np.concatenate(drawn)
    return np.asarray(values[~np.isnan(values)])


def _limits(whole: WeightedDisagreement, resampled: Floats, clusters: int) -> tuple[float, float]:
    """Return the interval of both kinds, each in proportion to where it is right."""
    observed, expected = float(whole.observed[0]), float(whole.expected[0])
    # The bootstrap's variance is (c - 1) / c of the unbiased one.
    variance = float(np.var(resampled)) * clusters / (clusters - 1) if resampled.size > 1 else 0.0
    rare = _of_rare(observed, expected, float(whole.largest[0]), variance, clusters)
    if variance <= ROUNDING:
        return rare
    left = min(1.0, observed / expected) ** 2  # squared, so that half the disagreement of chance is mostly a rate
    skewed = _accelerated(resampled, 1 - observed / expected, clusters)
    low, high = ((1 - left) * one + left * other for one, other in zip(rare, skewed, strict=True))
    return max(-1.0, low), min(1.0, high)


def _of_rare(observed: float, expected: float, largest: float, variance: float, clusters: int) -> tuple[float, float]:
    """Return Jeffreys' limits, by the observed disagreement as a rate: of the largest that there can be."""
    rate, scale = min(1.0, observed / largest), expected / largest
    of_rate = variance * scale**2
    # Where nothing varies, each cluster is worth one observation.
    effective = rate * (1 - rate) / of_rate if variance > ROUNDING and 0 < rate < 1 else float(clusters)
    low, high = jeffreys(rate * effective, effective)
    return float(max(-1.0, 1 - high / scale)), float(1 - low / scale)


def _accelerated(resampled: Floats, value: float, clusters: int) -> tuple[float, float]:
    """Return the BCa limits."""
    from scipy.special import ndtr, ndtri  # slow to import, and a server starts without it

    below = (float(np.mean(resampled < value)) + float(np.mean(resampled <= value))) / 2
    bias = float(ndtri(min(1 - 1 / resampled.size, max(1 / resampled.size, below))))
    centred = resampled - resampled.mean()
    acceleration = float((centred**3).mean() / resampled.std() ** 3) / 6
    half = student(clusters - 1) * math.sqrt(clusters / (clusters - 1))
    shifted = bias + np.array((-half, half))
    # Far out in a skewed tail the formula turns round; it stops short of that.
    ends = bias + shifted / np.maximum(STEEPEST, 1 - acceleration * shifted)
    low, high = np.quantile(resampled, ndtr(ends))
    return float(low), float(high)
