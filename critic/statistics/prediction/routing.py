"""Which items people should see within a budget, and figures that stay unbiased though the items weren't drawn evenly.

Items are drawn without replacement with probabilities in proportion to how far the judge is likely to be off (Neyman
allocation; Zrnic and Candes, Active statistical inference, 2024), by systematic sampling over a random order (Madow
1949; Hartley and Rao 1962). Each drawn item's probability is recorded. The mean over all items is then the judge's,
corrected by the drawn items' errors over their probabilities (the difference estimator: Horvitz and Thompson 1952;
Sarndal, Swensson and Wretman, Model Assisted Survey Sampling, 1992, section 6.3), and its variance Hajek's (1964).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import FEW, Figure, student
from critic.statistics.prediction.clustered import checked, least_variance
from critic.statistics.reliability.ratings import Floats, Ints

FLOOR = 0.3
"""The least chance of an item, as a share of an even draw's: a judge that is sure of itself is looked at, too."""
SURE, EVEN = 0.05, 0.5
"""How far a judge is taken to be off, before anything is known of it: where it is sure, and where it has even odds."""
HELD = 10.0
"""How strongly weights are held to what was thought before.

It is the variance of a squared error, about .03 for a judge of some worth, by that of a weight, about .05 squared.
"""


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


def expected_errors(signals: Mapping[str, ArrayLike], labelled: ArrayLike = (), errors: ArrayLike = ()) -> Floats:
    """Return (N,) how far the judge is likely to be off at each item, by its signals, as in `doubt`.

    The squared error is linear in the squared signals, none of which lowers it. Before anybody has labelled anything
    all signals count alike, and it goes from `SURE` squared to `EVEN` squared. ``errors`` (n,) are how far the judge
    was off at the ``labelled`` items, by their places: from `FEW` of them on they move the weights, as far as they tell
    more than what was thought before (ridge regression, Hoerl and Kennard 1970). Raises ValueError as `doubt` does.
    """
    doubts = doubt(signals)
    places, off = np.asarray(labelled, np.int64), np.asarray(errors, np.float64)
    table = np.stack([np.asarray(signal, np.float64) for signal in signals.values()])
    told = table[~np.isnan(table).all(axis=1)]
    # What an item lacks is taken to be as its other signals are.
    squares = np.where(np.isnan(told), doubts, told) ** 2
    columns = np.vstack((np.ones(doubts.size), squares)).T
    weights = np.full(columns.shape[1], (EVEN**2 - SURE**2) / max(1, len(squares)))
    weights[0] = SURE**2
    if places.size >= FEW:
        weights = _moved(weights, columns[places], off**2)
    return np.asarray(np.sqrt(columns @ weights), np.float64)


def _moved(weights: Floats, columns: Floats, squares: Floats) -> Floats:
    """Return weights of at least 0 that fit ``squares`` (n,), and are as near to those before as that allows."""
    from scipy.optimize import nnls  # slow to import, and a server starts without it

    held = math.sqrt(HELD) * np.eye(weights.size)
    fitted, _ = nnls(np.vstack((columns, held)), np.concatenate((squares, held @ weights)))
    return np.asarray(fitted, np.float64)


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


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One draw, and what was said: ``human``, ``judge`` and ``chances`` (n,) of the items that people have for it.

    These are people's labels, the judge's, and the recorded probabilities; an item that had been labelled before the
    draw has the chance 1. ``everything`` (N,) is the judge's label of all items.
    """

    human: ArrayLike
    judge: ArrayLike
    chances: ArrayLike
    everything: ArrayLike


@dataclass(frozen=True, slots=True)
class _Estimate:
    """What one round says: ``by_chance`` counts its items that might have been others, ``left`` those and the others.

    ``items`` counts all, ``n`` those that people have.
    """

    mean: float
    variance: float
    by_chance: int
    left: int
    items: int
    n: int

    @property
    def precision(self) -> float:
        """1 over the variance of an even draw of ``by_chance`` of ``left``, times a constant of all rounds."""
        return self.by_chance / (self.left * max(1, self.left - self.by_chance))


def routed_mean(human: ArrayLike, judge: ArrayLike, chances: ArrayLike, everything: ArrayLike) -> Figure:
    """Return the mean that people would give over all N items, by one draw: `rounds_mean` of a `Round`."""
    return rounds_mean([Round(human, judge, chances, everything)])


def rounds_mean(rounds: Sequence[Round]) -> Figure:
    """Return the mean that people would give over all N items, with a 95 % interval over what might have been drawn.

    A round's chances depend on earlier rounds alone, so each round's estimate is unbiased whatever those said, and
    errors of two rounds are uncorrelated (Zrnic and Candes 2024, section 4). They are averaged by what was known before
    each was drawn: the precision that an even draw of as many from as many would have. Labels are between 0 and 1.
    Raises ValueError for no round, probabilities that aren't above 0, and where nothing was drawn.
    """
    made = [_estimate(one) for one in rounds]
    if not made:
        raise ValueError("expected a round of drawn items")
    if sure := [one for one in made if not one.by_chance]:
        return Figure(sure[-1].mean, sure[-1].mean, sure[-1].mean, sure[-1].n, sure[-1].n)
    by_chance = sum(one.by_chance for one in made)
    labelled = max(by_chance, *(one.n for one in made))
    total = sum(one.precision for one in made)
    estimate = sum(one.precision * one.mean for one in made) / total
    known = by_chance - len(made)
    if labelled < FEW or known < 1:
        return Figure(estimate, -np.inf, np.inf, labelled, labelled)
    variance = sum((one.precision / total) ** 2 * one.variance for one in made)
    # Where the judge was never off at what was drawn, it may be elsewhere.
    least = least_variance(by_chance) * min((one.left - one.by_chance) / one.items for one in made)
    half = student(known) * math.sqrt(max(variance, least))
    return Figure(estimate, estimate - half, estimate + half, labelled, labelled)


def _estimate(one: Round) -> _Estimate:
    y, f, pi = checked("drawn items", one.human, one.judge, one.chances)
    (judged,) = checked("all items", one.everything)
    if not y.size or not ((pi > 0) & (pi <= 1)).all():
        raise ValueError("expected drawn items, with probabilities above 0 and at most 1")
    error, total = y - f, judged.size
    # The errors' total over N is surer than over the sum of 1 / pi where the sizes vary little: N is known.
    mean = float(judged.mean() + (error / pi).sum() / total)
    spared = 1 - pi
    by_chance = int((spared > 0).sum())
    left = total - (y.size - by_chance)
    if by_chance < 2:
        return _Estimate(mean, math.inf if by_chance else 0.0, by_chance, left, total, y.size)
    level = float((spared * error / pi).sum() / spared.sum())
    squares = float((spared * (error / pi - level) ** 2).sum()) * by_chance / (by_chance - 1) / total**2
    return _Estimate(mean, squares, by_chance, left, total, y.size)
