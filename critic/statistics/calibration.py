"""How far probabilities can be taken at their word: figures of calibration, with intervals by the bootstrap."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critic.statistics.intervals import FEW, Figure

RESAMPLES = 1000

_Floats = NDArray[np.float64]


def expected_calibration_error(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 10) -> float:
    """Return the mean distance of probability and frequency over ``bins`` of equal width (Guo et al. 2017, equation 3).

    ``probabilities`` (n,) of events, ``outcomes`` (n,) 1 or True where they happened. Bins are open on the left and
    closed on the right, as in the paper; 0 is in the first. Raises ValueError for shapes that differ, none at all, and
    values that are no probabilities.
    """
    p, y = _checked(probabilities, outcomes)
    inner_edges = np.arange(1, bins) / bins
    excess = np.bincount(np.searchsorted(inner_edges, p, side="left"), weights=p - y)
    return float(np.abs(excess).sum() / p.size)


def brier(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """Return the mean squared distance of probability and outcome, 0 to 1 (Brier 1950, for events that happen or not).

    Arguments and errors as in `expected_calibration_error`.
    """
    p, y = _checked(probabilities, outcomes)
    return float(np.mean((p - y) ** 2))


def bootstrapped(
    statistic: Callable[[ArrayLike, ArrayLike], float],
    probabilities: Sequence[float],
    outcomes: Sequence[bool],
    clusters: Sequence[int],
) -> Figure:
    """Return a statistic of this module with its 95 % interval: percentiles over resampled clusters, fixed seed.

    ``clusters`` (n,) numbers the prompt that each observation comes from. Fewer than `FEW` don't vary enough when they
    are drawn again, down to not at all: then nothing is known, and the interval is 0 to 1.
    """
    p, y = _checked(probabilities, outcomes)
    _, of = np.unique(clusters, return_inverse=True)
    members = [np.flatnonzero(of == cluster) for cluster in range(of.max() + 1)]
    low, high = 0.0, 1.0
    if len(members) >= FEW:
        rng = np.random.default_rng(0)

        def resampled() -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
            return np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])

        drawn = (resampled() for _ in range(RESAMPLES))
        low, high = np.percentile([statistic(p[sample], y[sample]) for sample in drawn], (2.5, 97.5)).tolist()
    return Figure(statistic(p, y), low, high, p.size, len(members))


def _checked(probabilities: ArrayLike, outcomes: ArrayLike) -> tuple[_Floats, _Floats]:
    p, y = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64)
    if p.shape != y.shape or p.ndim != 1 or not p.size:
        raise ValueError(f"expected as many outcomes as probabilities, and at least one: {y.shape}, {p.shape}")
    if not (np.all((p >= 0) & (p <= 1)) and np.all((y == 0) | (y == 1))):
        raise ValueError("expected probabilities between 0 and 1, and outcomes that are 0 or 1")
    return p, y
