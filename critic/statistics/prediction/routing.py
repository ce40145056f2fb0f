"""Which items people should see within a budget, and figures that stay unbiased though the items weren't drawn evenly.

Items are drawn without replacement with probabilities in proportion to how far the judge is likely to be off (Neyman
allocation; Zrnic and Candes, Active statistical inference, 2024), by systematic sampling over a random order (Madow
1949; Hartley and Rao 1962). Each drawn item's probability is recorded. The mean over all items is then the judge's,
corrected by the drawn items' errors over their probabilities (the difference estimator: Horvitz and Thompson 1952;
Sarndal, Swensson and Wretman, Model Assisted Survey Sampling, 1992, section 6.3), and its variance Hajek's (1964).
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import FEW, Figure, student
from critic.statistics.prediction.clustered import checked, least_variance
from critic.statistics.reliability.ratings import Floats, Ints

FLOOR = 0.3
"""The least chance of an item, as a share of an even draw's: a judge that is sure of itself is looked at, too."""


def doubt(signals: Mapping[str, ArrayLike]) -> Floats:
    """Return (N,) how doubtful each item is, 0 to 1: the root mean square of its signals, each from 0 (sure) to 1.

    A signal that is NaN for an item is not there (no order was swapped, one principle was asked).
    Raises ValueError for signals outside 0 to 1, and for none.
    """
    if not signals:
        raise ValueError("there is no signal")
    table = np.stack([np.asarray(signal, np.float64) for signal in signals.values()])
    if ((table < 0) | (table > 1)).any():
        raise ValueError("a signal is outside 0 to 1")
    there = ~np.isnan(table)
    squares = np.where(there, table, 0.0) ** 2
    known = np.maximum(1, there.sum(axis=0))
    doubts: Floats = np.where(there.any(axis=0), np.sqrt(squares.sum(axis=0) / known), 1.0)
    return doubts


def expected_errors(doubts: ArrayLike, pilot_doubts: ArrayLike, pilot_errors: ArrayLike) -> Floats:
    """Return (N,) how far the judge is likely to be off at each item, by what it was off at a pilot's items.

    The squared error is a straight line over the squared doubt, neither part below zero: where doubts say nothing of
    the pilot's errors, all items are alike. Raises ValueError for a pilot of fewer than `FEW` items.
    """
    from scipy.optimize import nnls  # slow to import, and a server starts without it

    (size,) = checked("doubts", doubts)
    d, error = checked("pilot", pilot_doubts, pilot_errors)
    if d.size < FEW:
        raise ValueError(f"a pilot needs at least {FEW} items with human labels")
    line, _ = nnls(np.stack((np.ones(d.size), d**2), axis=1), error**2)
    return np.asarray(np.sqrt(line[0] + line[1] * size**2), np.float64)


def probabilities(doubts: ArrayLike, budget: int, floor: float = FLOOR) -> Floats:
    """Return (N,) each item's chance to be shown to people, which add up to ``budget``.

    They are in proportion to the doubts, at most 1, and never less than ``floor`` times an even draw's. A budget of all
    items or more is 1 for each. Raises ValueError for negative doubts or a budget below 1.
    """
    (size,) = checked("doubts", doubts)
    if budget < 1 or (size < 0).any():
        raise ValueError("expected a budget of at least one item, and doubts of at least 0")
    if budget >= size.size:
        return np.ones(size.size)
    least = max(floor * (size.mean() if size.any() else 1.0), 1e-12)
    size = np.maximum(size, least)
    chances: Floats = np.zeros(size.size)
    is_sure = np.zeros(size.size, bool)
    while True:
        left = budget - is_sure.sum()
        chances = np.where(is_sure, 1.0, left * size / size[~is_sure].sum())
        if not (chances > 1 + 1e-12).any():
            return np.minimum(chances, 1.0)
        is_sure |= chances >= 1


def drawn(chances: ArrayLike, seed: int) -> Ints:
    """Return the numbers of the drawn items, in order: as many as the probabilities add up to."""
    (pi,) = checked("probabilities", chances)
    rng = np.random.default_rng(seed)
    order = rng.permutation(pi.size)
    ends = np.cumsum(pi[order])
    starts = np.concatenate(([0.0], ends[:-1]))
    offset = rng.random()
    # An item is drawn where one of the points offset, offset + 1, ... lies within its stretch.
    hit = np.floor(ends - offset + 1e-9) > np.floor(starts - offset + 1e-9)
    return np.sort(order[hit])


def routed_mean(human: ArrayLike, judge: ArrayLike, chances: ArrayLike, everything: ArrayLike) -> Figure:
    """Return the mean that people would give over all N items, with a 95 % interval over what might have been drawn.

    ``human``, ``judge`` and ``chances`` (n,) are of the drawn items: people's labels, the judge's, and the recorded
    probabilities. ``everything`` (N,) is the judge's label of all items. Labels are between 0 and 1. Raises ValueError
    for probabilities that aren't above 0, and where nothing was drawn.
    """
    y, f, pi = checked("drawn items", human, judge, chances)
    (judged,) = checked("all items", everything)
    if not y.size or not ((pi > 0) & (pi <= 1)).all():
        raise ValueError("expected drawn items, with probabilities above 0 and at most 1")
    error, n, total = y - f, y.size, judged.size
    # The errors' total over N is surer than over the sum of 1 / pi where the sizes vary little: N is known.
    estimate = float(judged.mean() + (error / pi).sum() / total)
    if n < FEW:
        return Figure(estimate, -np.inf, np.inf, n, n)
    spared = 1 - pi
    if not spared.any():
        return Figure(estimate, estimate, estimate, n, n)
    level = float((spared * error / pi).sum() / spared.sum())
    squares = float((spared * (error / pi - level) ** 2).sum())
    error_of_mean = float(np.sqrt(squares * n / (n - 1))) / total
    # Where the judge was never off at what was drawn, it may be elsewhere.
    half = student(n - 1) * max(error_of_mean, math.sqrt(least_variance(n) * float(spared.mean())))
    return Figure(estimate, estimate - half, estimate + half, n, n)
