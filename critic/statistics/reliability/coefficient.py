"""A coefficient of agreement, 1 minus observed over expected disagreement, with its interval over resampled clusters.

All chance-corrected coefficients have this form: 1 is perfect agreement, 0 what chance gives. Units are drawn again in
clusters (the prompt that they come from), as weights of what was counted once. The bootstrap's variance (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6) gives an effective number of units; the limits are those
of Jeffreys' interval for the observed disagreement at that number (Brown, Cai and DasGupta 2001), so that they stay
right where raters nearly always agree, and where they always do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critic.statistics.intervals import FEW, Figure, jeffreys, student

RESAMPLES = 1000
MOST_WEIGHTS = 20_000_000  # units times resamples that are drawn; larger data are drawn less often
FEWEST_RESAMPLES = 100
AT_ONCE = 1_000_000  # units times resamples in memory
ROUNDING = 1e-12  # a variance below it is what rounding leaves of none, as where one rater says the same always

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
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
        return 1 - np.divide(self.observed, self.expected, out=ratios, where=self.expected > 0)


OfWeights = Callable[[Floats], Disagreement]
"""The disagreement where each unit counts so often: ``weights`` (R, U), all 1 for the data as they are."""


def coefficient(disagreement: OfWeights, units: int) -> float | None:
    """Return a coefficient of the data as they are, or None where it is not defined."""
    if not units:
        return None
    value = float(disagreement(np.ones((1, units))).coefficients[0])
    return None if np.isnan(value) else value


def figure(disagreement: OfWeights, units: int, clusters: Sequence[Any] | NDArray[Any] | None = None) -> Figure | None:
    """Return a coefficient with its 95 % interval, or None where it is not defined.

    ``clusters`` (U,) names what each unit comes from; without them each unit is one. Fewer than `FEW` clusters, and
    the interval is everything: -1 to 1.
    """
    value = coefficient(disagreement, units)
    if value is None:
        return None
    of = np.arange(units) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    number = int(of.max()) + 1
    if number < FEW:
        return Figure(value, -1.0, 1.0, units, number)
    low, high = _limits(disagreement(np.ones((1, units))), _variance(disagreement, of, number), number)
    return Figure(value, low, high, units, number)


def _variance(disagreement: OfWeights, of: NDArray[np.int64], number: int) -> float:
    """Return the variance of the coefficient over resampled clusters."""
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
    values = values[~np.isnan(values)]
    # The bootstrap's variance is (c - 1) / c of the unbiased one.
    return float(np.var(values)) * number / (number - 1) if values.size > 1 else 0.0


def _limits(whole: Disagreement, variance: float, clusters: int) -> tuple[float, float]:
    """Return the interval by that of the observed disagreement as a rate: of the largest that there can be."""
    largest = float(whole.largest[0])
    rate, scale = min(1.0, float(whole.observed[0]) / largest), float(whole.expected[0]) / largest
    of_rate = variance * scale**2
    # Where nothing varies, each cluster is worth one observation.
    effective = rate * (1 - rate) / of_rate if variance > ROUNDING and 0 < rate < 1 else float(clusters)
    effective *= (1.959964 / student(clusters - 1)) ** 2
    low, high = jeffreys(rate * effective, effective)
    return float(max(-1.0, 1 - high / scale)), float(1 - low / scale)
