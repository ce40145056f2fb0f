"""The expected calibration error against people's shares, with an interval over clusters.

Naeini, Cooper and Hauskrecht (2015), Guo et al. (2017). Its plain estimate is above zero even for a judge that is right
about itself, by the chance of each bin; the interval is that of the bootstrap, moved by as much as resampling adds
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 10: the bias-corrected estimate).
"""

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.calibration import RESAMPLES
from critic.statistics.intervals import FEW, Figure, student
from critic.statistics.prediction.clustered import Clusters, checked, least_variance, numbered
from critic.statistics.reliability.ratings import Floats

BINS = 10
ROUNDING = 1e-12  # as far apart as rounding puts what is equal: then resampling tells of no other error


def calibration_error(
    probabilities: ArrayLike, shares: ArrayLike, clusters: Clusters | None = None, bins: int = BINS
) -> Figure | None:
    """Return the error with its 95 % interval; None without pairs. Each pair is taken in both orders.

    Fewer than `FEW` clusters, and the interval is 0 to 1.
    """
    p, y = checked("pairs", probabilities, shares)
    if not p.size:
        return None
    of = numbered(clusters, p.size)
    number = int(of.max()) + 1
    both, either = np.concatenate((p, 1 - p)), np.concatenate((y, 1 - y))
    place = np.searchsorted(np.arange(1, bins) / bins, both, side="left")
    # What each cluster adds to each bin: resampling is then a product.
    excess = np.zeros((number, bins))
    np.add.at(excess, (np.concatenate((of, of)), place), both - either)
    sizes: Floats = 2 * np.bincount(of, minlength=number).astype(np.float64)
    estimate = _error(excess, sizes, np.ones(number))
    if number < FEW:
        return Figure(estimate, 0.0, 1.0, p.size, number)
    rng = np.random.default_rng(0)
    drawn = [
        _error(excess, sizes, np.bincount(rng.integers(number, size=number), minlength=number).astype(np.float64))
        for _ in range(RESAMPLES)
    ]
    if np.ptp(drawn) < ROUNDING:
        half = student(number - 1) * float(np.sqrt(least_variance(number)))
        return Figure(estimate, max(0.0, estimate - half), min(1.0, estimate + half), p.size, number)
    shift = float(np.mean(drawn)) - estimate
    low, high = np.percentile(drawn, (2.5, 97.5)) - 2 * shift
    return Figure(max(0.0, estimate - shift), max(0.0, float(low)), min(1.0, max(0.0, float(high))), p.size, number)


def _error(excess: Floats, sizes: Floats, times: Floats) -> float:
    return float(np.abs(times @ excess).sum() / (times @ sizes))
