"""Prediction-powered inference: means and their differences from few human and many AI labels, with valid intervals.

Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Prediction-powered inference (2023); Angelopoulos, Duchi and Zrnic,
PPI++ (2023): the mean of people's labels on n items, plus lambda times what the judge says more of all others than of
those n. Lambda is chosen by the data, so that a useless judge costs nothing. Variances are of clusters (prompts).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import FEW, Figure
from critic.statistics.prediction.clustered import (
    Clusters,
    checked,
    covariance_of_means,
    degrees,
    least_variance,
    mean_limits,
    numbered,
    share_limits,
)
from critic.statistics.reliability.ratings import Floats, Ints


@dataclass(frozen=True, slots=True)
class Powered:
    """A figure from both, the one from people's labels alone, and how much the judge counted (``weight``: lambda).

    ``saved`` is by how much narrower the interval is, as a share of that of people's labels alone.
    """

    figure: Figure
    human: Figure
    weight: float

    @property
    def saved(self) -> float:
        """0.25 is a quarter narrower."""
        width, alone = self.figure.high - self.figure.low, self.human.high - self.human.low
        return 1 - width / alone if alone > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """People's labels, the judge's on the same items, and the judge's on all other items, each with clusters."""

    human: Floats
    judge: Floats
    rest: Floats
    of: Ints
    of_rest: Ints

    @property
    def clusters(self) -> int:
        return int(self.of.max()) + 1

    def weight(self) -> float:
        """PPI++'s lambda, between 0 and 1: it minimises the variance."""
        if not self.rest.size or self.clusters < 2:
            return 0.0
        spread = covariance_of_means(self.judge, self.judge, self.of)
        rest = covariance_of_means(self.rest, self.rest, self.of_rest)
        together = covariance_of_means(self.human, self.judge, self.of)
        return min(1.0, max(0.0, together / (spread + rest))) if 0 < spread + rest < np.inf else 0.0

    def mean(self, weight: float) -> float:
        if weight == 0:
            return float(self.human.mean())
        return float(self.human.mean() + weight * (self.rest.mean() - self.judge.mean()))

    @property
    def span(self) -> float:
        """How far apart two values are at most; where all are one value, as far as that is from nothing, or 1."""
        values = np.concatenate((self.human, self.judge, self.rest))
        return float(np.ptp(values) or abs(values[0]) or 1.0)

    def degrees(self, weight: float) -> float:
        """How many degrees of freedom the variance of people's part has: the judge's part has many clusters."""
        return degrees(self.human - weight * self.judge, self.of)

    def variance(self, weight: float) -> float:
        corrected = self.human - weight * self.judge
        own = covariance_of_means(corrected, corrected, self.of)
        return own + (weight**2 * covariance_of_means(self.rest, self.rest, self.of_rest) if weight else 0.0)


def mean(
    human: ArrayLike,
    judge: ArrayLike,
    rest: ArrayLike,
    clusters: Clusters | None = None,
    rest_clusters: Clusters | None = None,
    *,
    share: bool = True,
) -> Powered:
    """Return the mean of what people would say of all items. Raises ValueError where no item has a human label.

    ``human`` and ``judge`` (n,) are of the same items, ``rest`` (N,) of others. With ``share`` all labels are between 0
    and 1 (win rates, accuracies) and so is the figure. Fewer than `FEW` clusters with human labels, and the interval is
    everything.
    """
    sample = _sample(human, judge, rest, clusters, rest_clusters)
    if share and any(((x < 0) | (x > 1)).any() for x in (sample.human, sample.judge, sample.rest)):
        raise ValueError("a share is outside 0 to 1")
    weight = sample.weight()
    return Powered(_figure(sample, weight, share), _figure(sample, 0.0, share), weight)


def difference(
    human: tuple[ArrayLike, ArrayLike],
    judge: tuple[ArrayLike, ArrayLike],
    rest: tuple[ArrayLike, ArrayLike],
    clusters: Clusters | None = None,
    rest_clusters: Clusters | None = None,
) -> Powered:
    """Return the mean of the first minus that of the second, of what was measured on the same items: a paired figure.

    Each argument holds two columns of equal length, as in `mean`: say the wins of two models on the same prompts.
    """
    y, f, others = _minus("human", *human), _minus("judge", *judge), _minus("rest", *rest)
    return mean(y, f, others, clusters, rest_clusters, share=False)


def _minus(name: str, first: ArrayLike, second: ArrayLike) -> Floats:
    a, b = checked(name, first, second)
    return a - b


def _sample(
    human: ArrayLike, judge: ArrayLike, rest: ArrayLike, clusters: Clusters | None, rest_clusters: Clusters | None
) -> _Sample:
    y, f = checked("items that people labelled", human, judge)
    (others,) = checked("other items", rest)
    if not y.size:
        raise ValueError("no item has a human label")
    return _Sample(y, f, others, numbered(clusters, y.size), numbered(rest_clusters, others.size))


def _figure(sample: _Sample, weight: float, share: bool) -> Figure:
    value, clusters = sample.mean(weight), sample.clusters
    if clusters < FEW:
        low, high = (0.0, 1.0) if share else (-np.inf, np.inf)
        return Figure(value, low, high, sample.human.size, clusters)
    variance, known = sample.variance(weight), sample.degrees(weight)
    if share:
        low, high = share_limits(value, variance, known, float(clusters))
        value = min(1.0, max(0.0, value))
    else:
        low, high = mean_limits(value, max(variance, least_variance(clusters, sample.span)), known)
    return Figure(value, low, high, sample.human.size, clusters)
