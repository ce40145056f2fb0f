"""How far probabilities can be taken at their word: plain figures of calibration.

Those with intervals are in `critic.statistics.judges.calibration_error`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def _checked(probabilities: ArrayLike, outcomes: ArrayLike) -> tuple[_Floats, _Floats]:
    p, y = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64)
    if p.shape != y.shape or p.ndim != 1 or not p.size:
        raise ValueError(f"expected as many outcomes as probabilities, and at least one: {y.shape}, {p.shape}")
    if not (np.all((p >= 0) & (p <= 1)) and np.all((y == 0) | (y == 1))):
        raise ValueError("expected probabilities between 0 and 1, and outcomes that are 0 or 1")
    return p, y
