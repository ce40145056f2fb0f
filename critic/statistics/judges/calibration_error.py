"""The expected calibration error against what came true or people's shares, and the Brier score, with intervals.

The error of Naeini, Cooper and Hauskrecht (2015) and Guo et al. (2017). Its plain estimate is above zero even for a
judge that is right about itself, by the chance of each bin, and no bootstrap of it covers what it says near zero,
where errors end (Kumar, Liang and Ma 2019 take off what chance adds on average, and give no interval). So the interval
is a test turned round: it holds each error under which one as large as the observed one is no surprise (Carpenter,
Test inversion bootstrap confidence intervals, 1999). What is a surprise is told by drawing what comes true again, from
the judge's own probabilities, as in the consistency bars of Broecker and Smith (2007), moved by the error that is
tested. How an error spreads over the bins is not known; it is taken as what is likeliest beside the observed one
(Chuang and Lai, Hybrid resampling methods for confidence intervals, 2000).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import FEW, TAIL, Figure, student
from critic.statistics.prediction.clustered import (
    Clusters,
    checked,
    covariance_of_means,
    degrees,
    least_variance,
    numbered,
    share_limits,
)
from critic.statistics.reliability.ratings import Floats, Ints

BINS = 10
SAMPLES = 1000  # drawn for each error that is tested: a chance of 2.5 % is off by half a per cent
HALVINGS = 16  # of the range of errors: to about a ten-thousandth
LUCKY = 0.1  # of judges without any error: those who are nearer than nine in ten of them have no narrower limit
ROUNDING = 1e-12  # as far apart as rounding puts what is equal


def calibration_error(probabilities: ArrayLike, shares: ArrayLike, clusters: Clusters | None = None) -> Figure | None:
    """Return a judge's error on pairs of responses with its 95 % interval; None without pairs.

    ``probabilities`` (n,) are the judge's that the first response is better, ``shares`` (n,) of the people who say so.
    Each pair is taken towards the response that the judge prefers, so that the order of responses doesn't matter; where
    it prefers neither, it makes no error. Otherwise as `event_calibration_error`.
    """
    p, y = checked("pairs", probabilities, shares)
    preferred = np.select([p > 0.5, p < 0.5], [y, 1 - y], 0.5)
    return event_calibration_error(np.maximum(p, 1 - p), preferred, clusters)


def event_calibration_error(
    probabilities: ArrayLike, outcomes: ArrayLike, clusters: Clusters | None = None
) -> Figure | None:
    """Return the mean distance of probability and frequency over ten bins of equal width, with its 95 % interval.

    ``probabilities`` (n,) are of events, ``outcomes`` (n,) 1 where they happened and 0 where they didn't, or the share
    of the people who say so. The estimate is the error under which the plain one would be too large as often as too
    small: without the chance of each bin. Fewer than `FEW` clusters, and the interval is 0 to 1. None without events.
    Raises ValueError for what is no probability or share.
    """
    p, y = checked("events", probabilities, outcomes)
    if not ((p >= 0) & (p <= 1) & (y >= 0) & (y <= 1)).all():
        raise ValueError("expected probabilities and shares between 0 and 1")
    if not p.size:
        return None
    of = numbered(clusters, p.size)
    number = int(of.max()) + 1
    bins = _Bins.of(p, y, of)
    plain = bins.plain()
    estimate = bins.error_where(plain, 0.5)
    if number < FEW:
        return Figure(estimate, 0.0, 1.0, p.size, number)
    low = bins.error_where(plain, 1 - TAIL)
    # Whoever is nearer to what comes true than most who make no error is lucky, too: there the limit stays what it is.
    high = bins.error_where(max(plain, bins.of_the_lucky()), TAIL)
    return Figure(estimate, low, high, p.size, number)


def brier_score(probabilities: ArrayLike, outcomes: ArrayLike, clusters: Clusters | None = None) -> Figure | None:
    """Return the mean squared distance of probability and outcome (Brier 1950) with its 95 % interval.

    Arguments as in `event_calibration_error`. The interval is Jeffreys' at the number of events that the variance is
    worth, and 0 to 1 with fewer than `FEW` clusters.
    """
    p, y = checked("events", probabilities, outcomes)
    if not p.size:
        return None
    of = numbered(clusters, p.size)
    number = int(of.max()) + 1
    squares = (p - y) ** 2
    mean = float(squares.mean())
    if number < FEW:
        return Figure(mean, 0.0, 1.0, p.size, number)
    variance = max(covariance_of_means(squares, squares, of), least_variance(number))
    low, high = share_limits(mean, variance, degrees(squares, of), float(number))
    return Figure(mean, low, high, p.size, number)


@dataclass(frozen=True, slots=True, eq=False)
class _Bins:
    """The bins that have events: their share of all, mean probability and frequency, and how one event varies there.

    ``events`` (`SAMPLES`, bins) are samples of as many independent events as all of these are worth: fewer where those
    of a cluster resemble each other, more where several people's answers make a share.
    """

    share: Floats
    probability: Floats
    frequency: Floats
    varies: Floats
    events: Ints

    @classmethod
    def of(cls, p: Floats, y: Floats, of: Ints) -> "_Bins":
        edges = np.arange(1, BINS) / BINS
        _, place, counts = np.unique(np.searchsorted(edges, p, side="left"), return_inverse=True, return_counts=True)
        probability, frequency = np.bincount(place, p) / counts, np.bincount(place, y) / counts
        # As if half an event had happened and half had not: nothing is known not to vary.
        likely = (counts * frequency + 0.5) / (counts + 1)
        varies = likely * (1 - likely)
        sign = np.where(probability < frequency, -1.0, 1.0)
        between = _between(y - frequency[place], place, sign, of)
        alone = float((counts * frequency * (1 - frequency)).sum())
        # One more event a bin, which varies as events do: what few events seem to be worth is not taken at its word.
        more = float(varies.sum())
        design_effect = (between + more) / (alone + more)
        lowered = (student(max(1, p.size - 1)) / student(max(1, int(of.max())))) ** 2
        worth = max(1, round(p.size / design_effect * lowered))
        share = counts / p.size
        events = np.random.default_rng(0).multinomial(worth, share, SAMPLES)
        return cls(share, probability, frequency, varies, events)

    def plain(self) -> float:
        """Return the observed error, with the chance of each bin."""
        return float(self.share @ np.abs(self.probability - self.frequency))

    def of_the_lucky(self) -> float:
        """Return the plain error than which judges that make none have a larger one nine times in ten."""
        return float(np.quantile(self._drawn(math.inf), LUCKY))

    def error_where(self, plain: float, chance: float) -> float:
        """Return the error under which a ``plain`` one or a smaller one is drawn with this ``chance``; 0 if none is."""
        if _below(self._drawn(math.inf), plain) <= chance:
            return 0.0
        off = np.abs(self.probability - self.frequency)
        low, high = -float(((1 + off) / self.varies).max()), float((off / self.varies).max())
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if _below(self._drawn(middle), plain) > chance:
                high = middle
            else:
                low = middle
        return float(self.share @ np.abs(self.probability - self._frequency(high)))

    def _frequency(self, nearer: float) -> Floats:
        """Return the likeliest frequencies whose error is smaller, or for ``nearer`` below 0 larger, than observed.

        Of all with that error these have the least squared distance to the observed ones, in units of their variances:
        each bin is moved by as much as it varies, and no further than to no error.
        """
        off = self.probability - self.frequency
        size = np.zeros_like(off) if math.isinf(nearer) else np.maximum(np.abs(off) - nearer * self.varies, 0.0)
        moved: Floats = np.clip(self.probability - np.where(off < 0, -size, size), 0.0, 1.0)
        return moved

    def _drawn(self, nearer: float) -> Floats:
        """Return the plain errors of so many `SAMPLES` of events, with the frequencies of `_frequency`."""
        happened = np.random.default_rng(1).binomial(self.events, self._frequency(nearer))
        off = np.abs(self.events * self.probability - happened).sum(axis=1)
        errors: Floats = off / self.events.sum(axis=1)
        return errors


def _between(residuals: Floats, place: Ints, sign: Floats, of: Ints) -> float:
    """Return the sum of squares of clusters' residuals: within each bin, or of all bins together if that is more."""
    sums = np.zeros((int(of.max()) + 1, sign.size))
    np.add.at(sums, (of, place), residuals)
    corrected = len(sums) / max(1, len(sums) - 1)
    return corrected * max(float((sums**2).sum()), float(((sums @ sign) ** 2).sum()))


def _below(drawn: Floats, observed: float) -> float:
    """Return how often what was drawn is less, with half of the ties: the mid-p of Lancaster (1961)."""
    is_tied = np.abs(drawn - observed) <= ROUNDING
    return float(np.mean((drawn < observed - ROUNDING) + 0.5 * is_tied))
