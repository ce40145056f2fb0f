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


def degrees(values: Floats, of: Ints) -> float:
    """Return the degrees of freedom that the variance of the mean of ``values`` (n,) was estimated with.

    With clusters of normal sums these are their number minus 1. Where a few clusters have most of what varies, as where
    a thing is rare and comes together, that variance is itself known badly: by the variance of a variance (Cramer,
    Mathematical Methods of Statistics, 1946, section 27.4) and Satterthwaite's rule (1946) they are worth fewer.
    """
    clusters = int(of.max()) + 1
    if clusters < 2:
        return 1.0
    sums = np.bincount(of, values - values.mean())
    square = float((sums**2).mean())
    # A variance as small as what rounding leaves has no shape.
    kurtosis = float((sums**4).mean()) / square**2 if square > 1e-24 else 3.0
    return max(1.0, 2 / (2 / (clusters - 1) + max(0.0, kurtosis - 3) / clusters))


def least_variance(clusters: int, span: float = 1.0) -> float:
    """Return the variance of a mean over ``clusters`` below which none is believed; values are at most ``span`` apart.

    Where all say the same, nothing varies, and an interval would have no width: as if nobody else could ever differ. It
    is about what half an observation of ``span`` on either side would leave (Agresti and Min 2005).
    """
    return (span / (clusters + 2)) ** 2


def share_limits(share: float, variance: float, degrees: float, most: float) -> tuple[float, float]:
    """Return a share's 95 % limits: Jeffreys' at the number of observations that its ``variance`` is worth.

    Lowered by Student's t for the `degrees` of freedom that it was estimated with (Korn and Graubard 1998). ``most`` is
    the number where nothing varies. An estimate outside 0 to 1 is taken for the nearer end.
    """
    inside = min(1.0, max(0.0, share))
    effective = inside * (1 - inside) / variance if variance > 0 and 0 < inside < 1 else most
    effective = min(effective, 1e12) * (NORMAL / student(max(1.0, degrees))) ** 2
    return jeffreys(inside * effective, effective)


def mean_limits(mean: float, variance: float, degrees: float) -> tuple[float, float]:
    """Return Student's 95 % limits of a mean."""
    half = student(max(1.0, degrees)) * float(np.sqrt(variance))
    return mean - half, mean + half
