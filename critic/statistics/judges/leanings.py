"""What a judge leans to that people don't: the longer answer, a style, its own family; and the first position.

A leaning is measured on the pairs of which one answer has more of something (the trait): how often the judge prefers
that one, beside how often people do on the very same pairs. What counts is the difference; it is tested by the exact
sign test on prompts (`critic.statistics.intervals.paired`). Accuracy that owes nothing to a trait is the mean of the
accuracy where people prefer the answer with more of it, and where they prefer the other (direct standardisation, as in
Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 2003, chapter 19): whoever always takes the
longer one has one half. The idea of controlling for length is that of Dubois, Galambosi, Liang and Hashimoto (2024),
whose regression needs many models.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import FEW, Figure, Share, paired
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
class Leaning:
    """How often the judge, and how often people, prefer the answer with more of a trait; ``excess`` is the difference.

    ``p`` is that of the sign test: how likely such a difference is where the judge leans as people do.
    """

    judge: Figure
    people: Figure
    excess: Figure
    p: float


def leaning(judge: ArrayLike, people: ArrayLike, trait: ArrayLike, clusters: Clusters | None = None) -> Leaning | None:
    """Return the leaning to a trait; None where it is the same in both answers of all pairs.

    ``judge`` and ``people`` (n,) say how far the first answer is preferred, 1, 0 or between; ``trait`` (n,) how much
    more of it the first has than the second.
    """
    f, y, t = checked("pairs", judge, people, trait)
    kept = t != 0
    if not kept.any():
        return None
    of = numbered(None if clusters is None else np.asarray(clusters)[kept], int(kept.sum()))
    ahead = t[kept] > 0
    mine, theirs = np.where(ahead, f[kept], 1 - f[kept]), np.where(ahead, y[kept], 1 - y[kept])
    return Leaning(_share(mine, of), _share(theirs, of), _difference(mine - theirs, of), _signs(mine - theirs, of))


def controlled_accuracy(
    right: ArrayLike, people: ArrayLike, trait: ArrayLike, clusters: Clusters | None = None
) -> Figure | None:
    """Return the accuracy that owes nothing to a trait, or None where people always, or never, prefer more of it.

    ``right`` (n,) is 1, 0 or a half; ``people`` and ``trait`` as in `leaning`. Ties of people, and pairs without a
    difference in the trait, are left out.
    """
    r, y, t = checked("pairs", right, people, trait)
    kept = (t != 0) & (y != 0.5)
    of = numbered(clusters, r.size)
    prefers_more = (y > 0.5) == (t > 0)
    more, less = kept & prefers_more, kept & ~prefers_more
    if not more.any() or not less.any():
        return None
    halves = [float(r[side].mean()) for side in (more, less)]
    value = sum(halves) / 2
    # The sum of both means' influences, by prompt: a prompt may have pairs on either side.
    influence = np.zeros(r.size)
    for side, half in zip((more, less), halves, strict=True):
        influence[side] = (r[side] - half) / (2 * side.sum())
    number = np.unique(of[kept]).size
    if number < FEW:
        return Figure(value, 0.0, 1.0, int(kept.sum()), number)
    variance = float((np.bincount(of, influence) ** 2).sum()) * number / (number - 1)
    known = degrees(influence[kept], numbered(of[kept], int(kept.sum())))
    low, high = share_limits(value, variance, known, float(min(more.sum(), less.sum())))
    return Figure(value, low, high, int(kept.sum()), number)


def first_position(given: ArrayLike, swapped: ArrayLike, clusters: Clusters | None = None) -> Leaning | None:
    """Return how often votes prefer what the page shows first, over both orders of each pair; people are at one half.

    ``given`` and ``swapped`` (n,) say how far the page's first answer is preferred in either order.
    """
    a, b = checked("votes", given, swapped)
    if not a.size:
        return None
    of = numbered(clusters, a.size)
    first = (a + b) / 2
    even = Figure(0.5, 0.5, 0.5, a.size, int(of.max()) + 1)
    return Leaning(_share(first, of), even, _difference(first - 0.5, of), _signs(first - 0.5, of))


def _share(values: Floats, of: Ints) -> Figure:
    share = Share()
    for cluster in np.split(values[np.argsort(of, kind="stable")], np.cumsum(np.bincount(of))[:-1]):
        for value in cluster:
            share.count(float(value))
        share.end_cluster()
    figure = share.figure()
    if figure is None:
        raise ValueError("there is no pair")
    return figure


def _difference(values: Floats, of: Ints) -> Figure:
    number = int(of.max()) + 1
    mean = float(values.mean())
    if number < FEW:
        return Figure(mean, -1.0, 1.0, values.size, number)
    variance = max(covariance_of_means(values, values, of), least_variance(number))
    low, high = mean_limits(mean, variance, degrees(values, of))
    return Figure(mean, max(-1.0, low), min(1.0, high), values.size, number)


def _signs(values: Floats, of: Ints) -> float:
    sums = np.bincount(of, values)
    return paired(int((sums > 1e-12).sum()), int((sums < -1e-12).sum())).p
