"""Variances of sums over clusters, and the limits of a share by the number of observations that it is worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critic.statistics.intervals import NORMAL, jeffreys, student
from critic.statistics.reliability.ratings import Floats, Ints

Clusters = Sequence[Any] | NDArray[Any]


def numbered(clusters: Clusters | None, n: int) -> Ints:
    """Return (n,) the clusters' numbers; without names each observation is one."""
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f"expected a cluster for each of {n} observations: {len(clusters)}")
    return np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64)


def checked(name: str, *columns: ArrayLike) -> list[Floats]:
    """Return columns as arrays of one length. Raises ValueError for lengths that differ, and for NaN."""
    arrays = [np.asarray(column, np.float64) for column in columns]
    if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays):
        raise ValueError(f"{name}: expected columns of one length, not {[array.shape for array in arrays]}")
    if any(np.isnan(array).any() for array in arrays):
        raise ValueError(f"{name}: a value is no number")
    return arrays


def covariance_of_means(x: Floats, y: Floats, of: Ints) -> float:
    """Return the covariance of the means of ``x`` and ``y`` (n,), whose clusters are drawn independently."""
    clusters = int(of.max()) + 1
    if clusters < 2:
        return float("inf")
    a, b = np.bincount(of, x - x.mean()), np.bincount(of, y - y.mean())
    return float(a @ b) / x.size**2 * clusters / (clusters - 1)


def share_limits(share: float, variance: float, clusters: int, most: float) -> tuple[float, float]:
    """Return a share's 95 % limits: Jeffreys' at the number of observations that its ``variance`` is worth.

    Lowered by Student's t for as many ``clusters`` as it was estimated from (Korn and Graubard 1998). ``most`` is the
    number where nothing varies. An estimate outside 0 to 1 is taken for the nearer end.
    """
    inside = min(1.0, max(0.0, share))
    effective = inside * (1 - inside) / variance if variance > 0 and 0 < inside < 1 else most
    effective = min(effective, 1e12) * (NORMAL / student(max(1, clusters - 1))) ** 2
    return jeffreys(inside * effective, effective)


def mean_limits(mean: float, variance: float, clusters: int) -> tuple[float, float]:
    """Return Student's 95 % limits of a mean."""
    half = student(max(1, clusters - 1)) * float(np.sqrt(variance))
    return mean - half, mean + half
