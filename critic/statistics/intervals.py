"""Shares and means of what comes in clusters, with 95 % intervals that are right at small numbers, in constant memory.

The votes of one prompt resemble each other, so they are not as many independent observations as there are votes. A
prompt is a cluster here, and the intervals widen by the design effect (Kish, Survey Sampling, 1965). Shares have the
exact interval (Clopper and Pearson 1934) at the effective sample size, lowered by Student's t for as many clusters as
the design effect is estimated from (Korn and Graubard 1998). Means have Student's interval by the variance of the
ratio estimator.
"""

import math
from dataclasses import dataclass

# Prompts. Below it nothing is concluded: an exact interval is wide there, and a resampled one is too narrow.
FEW = 20
TAIL = 0.025  # of a 95 % interval, on either side
NORMAL = 1.959963984540054  # the 97.5 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate and its 95 % interval; ``n`` counts the observations, ``clusters`` the prompts that gave them."""

    estimate: float
    low: float
    high: float
    n: int
    clusters: int

    @property
    def is_of_few(self) -> bool:
        """Whether it rests on so few prompts that nothing can be said."""
        return self.clusters < FEW


def few(count: int, what: str) -> str:
    """Return what is said of so ``few`` of something, ``what`` naming one; an empty text where they are enough."""
    if not 0 < count < FEW:
        return ""
    return f"No more than {count} {what}{'' if count == 1 else 's'}: nothing can be said of fewer than {FEW}."


def exact(hits: float, n: float) -> tuple[float, float]:
    """Return Clopper and Pearson's 95 % interval of the share of ``hits`` in ``n`` independent observations.

    Neither has to be whole: ``n`` may be an effective number above 0, and half a hit varies less than a whole one.
    """
    from scipy.special import betaincinv  # slow to import, and a server starts without it

    misses = max(0.0, n - hits)
    low = float(betaincinv(hits, misses + 1, TAIL)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - TAIL)) if misses > 0 else 1.0
    return low, high


def jeffreys(hits: float, n: float, tail: float = TAIL) -> tuple[float, float]:
    """Return Jeffreys' interval of a share (Brown, Cai and DasGupta 2001, section 4), 95 % by default.

    It covers what it promises on average, where the exact one (`exact`) covers at least that. Neither number has to be
    whole. No hit gives the lower limit 0, no miss the upper limit 1.
    """
    from scipy.special import betaincinv  # slow to import, and a server starts without it

    misses = max(0.0, n - hits)
    low = float(betaincinv(hits + 0.5, misses + 0.5, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 0.5, misses + 0.5, 1 - tail)) if misses > 0 else 1.0
    return low, high


def student(degrees: float) -> float:
    """Return the 97.5 % point of Student's distribution with ``degrees`` of freedom, 1 or more; part of one counts."""
    from scipy.special import stdtrit  # slow to import, and a server starts without it

    return float(stdtrit(degrees, 1 - TAIL))


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

    def count(self, hit: float) -> None:
        """Add an observation to the current cluster: whether it holds, or a half where it can't be said."""
        self._x += hit
        self._size += 1

    def figure(self) -> Figure | None:
        """Return the share with its interval, or None where nothing was observed."""
        if not self.n:
            return None
        share = self.total / self.n
        effective = self._effective_size(share)
        low, high = exact(share * effective, effective)
        return Figure(share, low, high, self.n, self.clusters)

    def _effective_size(self, share: float) -> float:
        """Return how many independent observations these are worth.

        At least as many as where a cluster says one thing, which also stands for what can't be estimated: with one
        cluster, or where nothing varies.
        """
        least = self.n**2 / self._nn
        if self.clusters < 2 or not 0 < share < 1:
            return least
        design_effect = max(1.0, self._variance(share) * self.n / (share * (1 - share)))
        lowered = (student(self.n - 1) / student(self.clusters - 1)) ** 2
        return max(least, self.n / design_effect * lowered)


class Mean(_Clustered):
    """The mean of a quantity."""

    __slots__ = ()

    def count(self, value: float) -> None:
        """Add an observation to the current cluster."""
        self._x += value
        self._size += 1

    def figure(self) -> Figure | None:
        """Return the mean with its interval, or None where nothing was observed.

        The interval is infinite with one cluster, and where a few say the very same: that is no measure of how others
        vary.
        """
        if not self.n:
            return None
        mean = self.total / self.n
        variance = self._variance(mean) if self.clusters > 1 else 0.0
        half = student(self.clusters - 1) * math.sqrt(variance) if self.clusters > 1 else math.inf
        # Rounding leaves a trace of variance where there is none, of about 1e-16 of the squares that are subtracted.
        if self.clusters < FEW and variance <= 1e-14 * mean * mean:
            half = math.inf
        return Figure(mean, mean - half, mean + half, self.n, self.clusters)


@dataclass(frozen=True, slots=True)
class Paired:
    """How two ways to decide compare, prompt by prompt: those that one, and that the other decides better.

    ``p`` is that of the exact sign test on them (McNemar's test in its exact form): how likely such a lead of either
    one is where none is better.
    """

    wins: int
    losses: int
    p: float


def paired(wins: int, losses: int) -> Paired:
    """Test a number of wins against one of losses; ties say nothing of either."""
    from scipy.special import bdtr  # slow to import, and a server starts without it

    return Paired(wins, losses, min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5))))
