"""Shares and means of what comes in clusters, with 95 % intervals, in constant memory.

The votes of one prompt resemble each other, so they are not as many independent observations as there are votes. A
prompt is a cluster here, and the intervals widen by the design effect (Kish, Survey Sampling, 1965): shares have
Wilson's interval (1927) at the effective sample size, means a normal interval by the ratio estimator's variance.
"""

import math
from dataclasses import dataclass

Z = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate and its 95 % interval; ``n`` counts the observations, ``clusters`` the prompts that gave them."""

    estimate: float
    low: float
    high: float
    n: int
    clusters: int


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of ``n`` independent observations (``n`` above 0, not always whole)."""
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


class _Clustered:
    """Sums over clusters i of their totals x_i and sizes n_i: all that the ratio estimator and its variance need."""

    __slots__ = ("_nn", "_size", "_x", "_xn", "_xx", "clusters", "n", "total")

    def __init__(self) -> None:
        self.total, self.n, self.clusters = 0.0, 0, 0
        self._x, self._size = 0.0, 0
        self._xx, self._xn, self._nn = 0.0, 0.0, 0

    def end_cluster(self) -> None:
        """Close the cluster that was being counted; without observations it is none."""
        if self._size:
            x, n = self._x, self._size
            self.total += x
            self.n += n
            self.clusters += 1
            self._xx += x * x
            self._xn += x * n
            self._nn += n * n
            self._x, self._size = 0.0, 0

    def _variance(self, ratio: float) -> float:
        """Variance of ``ratio`` = sum x_i / sum n_i; needs two clusters."""
        squares = self._xx - 2 * ratio * self._xn + ratio * ratio * self._nn
        return max(0.0, squares) / self.n**2 * self.clusters / (self.clusters - 1)


class Share(_Clustered):
    """How often something holds."""

    __slots__ = ()

    def count(self, hit: bool) -> None:
        """Add an observation to the current cluster."""
        self._x += hit
        self._size += 1

    def figure(self) -> Figure | None:
        """Return the share with its interval, or None where nothing was observed."""
        if not self.n:
            return None
        share = self.total / self.n
        low, high = wilson(share, self.n / self._design_effect(share))
        return Figure(share, low, high, self.n, self.clusters)

    def _design_effect(self, share: float) -> float:
        """From 1 (independent) to the mean cluster size (a cluster says one thing), which also stands for unknown."""
        most = self._nn / self.n
        if self.clusters < 2 or not 0 < share < 1:
            return most
        return min(most, max(1.0, self._variance(share) * self.n / (share * (1 - share))))


class Mean(_Clustered):
    """The mean of a quantity."""

    __slots__ = ()

    def count(self, value: float) -> None:
        """Add an observation to the current cluster."""
        self._x += value
        self._size += 1

    def figure(self) -> Figure | None:
        """Return the mean with its interval (infinite with one cluster), or None where nothing was observed."""
        if not self.n:
            return None
        mean = self.total / self.n
        half = Z * math.sqrt(self._variance(mean)) if self.clusters > 1 else math.inf
        return Figure(mean, mean - half, mean + half, self.n, self.clusters)
