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
ROUNDING = 1e-12  # a variance below it is what rounding leaves of none, as where one rater says the same always

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Observed and expected disagreement, in one unit of distance; ``largest`` is that of two values farthest apart."""

    observed: float
    expected: float
    largest: float = 1.0

    @property
    def coefficient(self) -> float | None:
        """1 minus their ratio; None where chance alone would always agree, as where only one value was given."""
        return float(1 - self.observed / self.expected) if self.expected > 0 else None


OfWeights = Callable[[Floats], Disagreement]
"""The disagreement where each unit counts so often: ``weights`` (U,), all 1 for the data as they are."""


def figure(disagreement: OfWeights, units: int, clusters: Sequence[Any] | NDArray[Any] | None = None) -> Figure | None:
    """Return a coefficient with its 95 % interval, or None where it is not defined.

    ``clusters`` (U,) names what each unit comes from; without them each unit is one. Fewer than `FEW` clusters, and
    the interval is everything: -1 to 1.
    """
    if not units:
        return None
    found = disagreement(np.ones(units))
    value = found.coefficient
    if value is None:
        return None
    of = np.arange(units) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    number = int(of.max()) + 1
    if number < FEW:
        return Figure(value, -1.0, 1.0, units, number)
    low, high = _limits(found, _variance(disagreement, of, number), number)
    return Figure(value, low, high, units, number)


def _variance(disagreement: OfWeights, of: NDArray[np.int64], number: int) -> float:
    """Return the variance of the coefficient over resampled clusters."""
    rng = np.random.default_rng(0)
    resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, MOST_WEIGHTS // of.size))
    drawn: list[float] = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(number, size=number), minlength=number).astype(np.float64)
        value = disagreement(times[of]).coefficient
        if value is not None:
            drawn.append(value)
    # The bootstrap's variance is (c - 1) / c of the unbiased one.
    return float(np.var(drawn)) * number / (number - 1) if len(drawn) > 1 else 0.0


def _limits(found: Disagreement, variance: float, clusters: int) -> tuple[float, float]:
    """Return the interval by that of the observed disagreement as a rate: of the largest that there can be."""
    rate, scale = min(1.0, found.observed / found.largest), found.expected / found.largest
    of_rate = variance * scale**2
    # Where nothing varies, each cluster is worth one observation.
    effective = rate * (1 - rate) / of_rate if variance > ROUNDING and 0 < rate < 1 else float(clusters)
    effective *= (1.959964 / student(clusters - 1)) ** 2
    low, high = jeffreys(rate * effective, effective)
    return float(max(-1.0, 1 - high / scale)), float(1 - low / scale)
