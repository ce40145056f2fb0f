"""Strengths from comparisons by people of unequal reliability.

Bradley and Terry, Rank Analysis of Incomplete Block Designs (1952): i is found better than j with probability
s(strength_i - strength_j). Chen, Bennett, Collins-Thompson and Horvitz, Pairwise Ranking Aggregation in a Crowdsourced
Setting (2013): annotator a says so with reliability r_a, and the opposite otherwise. Ties are half a win for either
side. Strengths sum to zero. With one comparison a prior of variance `PRIOR` keeps undefeated ones finite; without
reliabilities there is none, and what is undefeated has no estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import FEW, student
from critic.statistics.reliability.ratings import Floats, Ints

PRIOR = 10.0  # variance of strengths, in squared log-odds
RELIABLE = (4.0, 1.0)  # the Beta prior of a reliability, as in Chen et al.: a mean of .8, worth five comparisons
FLAT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class FittedStrengths:
    """``strengths`` (K,) with ``low`` and ``high`` (K,), 95 % each; infinite where too few clusters were compared."""

    strengths: Floats
    low: Floats
    high: Floats
    clusters: int


@dataclass(frozen=True, slots=True, eq=False)
class ReliableStrengths:
    """``strengths`` (K,), and ``reliability`` (A,): how often each annotator says what the strengths say."""

    strengths: Floats
    reliability: Floats


def bradley_terry(
    first: ArrayLike, second: ArrayLike, outcome: ArrayLike, clusters: Sequence[object] | None = None
) -> FittedStrengths:
    """Return the maximum likelihood strengths of comparisons (n,), with intervals by the sandwich over clusters.

    ``first`` and ``second`` number what was compared, ``outcome`` is 1 where the first was better, 0 or 0.5.
    Raises ValueError where something never loses, or never wins, against all the rest: it has no finite strength.
    """
    i, j, y = _checked(first, second, outcome)
    number = int(max(i.max(), j.max())) + 1
    _must_be_connected(i, j, y, number)
    strengths = _newton(i, j, y, number)
    of = np.arange(i.size) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    c = int(of.max()) + 1
    if c < FEW:
        infinite = np.full(number, np.inf)
        return FittedStrengths(strengths, -infinite, infinite, c)
    half = student(c - 1) * np.sqrt(np.diag(_sandwich(i, j, y, strengths, of)))
    return FittedStrengths(strengths, strengths - half, strengths + half, c)


def with_reliability(
    first: ArrayLike, second: ArrayLike, outcome: ArrayLike, annotators: Sequence[object]
) -> ReliableStrengths:
    """Return strengths and annotators' reliabilities, the most probable ones under the priors.

    Arguments as in `bradley_terry`; ``annotators`` (n,) names who compared, and reliabilities are in the order of the
    sorted names.
    """
    from scipy.optimize import minimize  # slow to import, and a server starts without it
    from scipy.special import expit, log_expit  # slow to import, and a server starts without it

    i, j, y = _checked(first, second, outcome)
    who = np.unique(np.asarray(annotators), return_inverse=True)[1]
    items, people = int(max(i.max(), j.max())) + 1, int(who.max()) + 1

    def loss(parameters: Floats) -> tuple[float, Floats]:
        strengths, logits = parameters[:items], parameters[items:]
        reliability = expit(logits)
        better = expit(strengths[i] - strengths[j])
        r = reliability[who]
        says_first = r * better + (1 - r) * (1 - better)
        log_likelihood = y * np.log(says_first) + (1 - y) * np.log1p(-says_first)
        of_said = y / says_first - (1 - y) / (1 - says_first)
        of_better = of_said * (2 * r - 1) * better * (1 - better)
        of_reliability = of_said * (2 * better - 1) * r * (1 - r)
        a, b = RELIABLE
        value = log_likelihood.sum() - (strengths @ strengths) / (2 * PRIOR)
        value += (a * log_expit(logits) + b * log_expit(-logits)).sum()
        gradient = np.concatenate(
            (
                np.bincount(i, of_better, minlength=items) - np.bincount(j, of_better, minlength=items),
                np.bincount(who, of_reliability, minlength=people),
            )
        )
        gradient[:items] -= strengths / PRIOR
        gradient[items:] += a * (1 - reliability) - b * reliability
        return -float(value), -gradient

    start = np.concatenate((np.zeros(items), np.full(people, np.log(RELIABLE[0] / RELIABLE[1]))))
    # A win for i pulls its strength up a little, so that the start is no saddle between the two mirrored answers.
    start[:items] = 0.1 * (np.bincount(i, 2 * y - 1, minlength=items) - np.bincount(j, 2 * y - 1, minlength=items))
    start[:items] /= max(1.0, float(np.abs(start[:items]).max()))
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B").x
    strengths = fitted[:items]
    return ReliableStrengths(strengths - strengths.mean(), expit(fitted[items:]))


def _checked(first: ArrayLike, second: ArrayLike, outcome: ArrayLike) -> tuple[Ints, Ints, Floats]:
    i, j, y = np.asarray(first, np.int64), np.asarray(second, np.int64), np.asarray(outcome, np.float64)
    if not (i.shape == j.shape == y.shape) or i.ndim != 1 or not i.size:
        raise ValueError(f"expected as many firsts, seconds and outcomes, and at least one: {i.shape}, {y.shape}")
    if (i == j).any():
        raise ValueError("something is compared with itself")
    if not ((y >= 0) & (y <= 1)).all():
        raise ValueError("an outcome is not between 0 and 1")
    return i, j, y


def _must_be_connected(i: Ints, j: Ints, y: Floats, number: int) -> None:
    """Ford's condition (1957): for each split in two, somebody of either side has beaten somebody of the other."""
    from scipy.sparse import coo_array  # slow to import, and a server starts without it
    from scipy.sparse.csgraph import connected_components  # slow to import, and a server starts without it

    ahead, behind = np.concatenate((i[y > 0], j[y < 1])), np.concatenate((j[y > 0], i[y < 1]))
    beats = coo_array((np.ones(ahead.size), (ahead, behind)), shape=(number, number))
    parts, part = connected_components(beats, directed=True, connection="strong")
    if parts > 1:
        sizes = np.bincount(part)
        raise ValueError(
            f"the comparisons fall into {parts} parts, of which some never lose or never win against the others "
            f"(the smallest holds {sizes.min()}): strengths between them are not finite"
        )


def _newton(i: Ints, j: Ints, y: Floats, number: int) -> Floats:
    from scipy.special import expit  # slow to import, and a server starts without it

    strengths = np.zeros(number)
    for _ in range(100):
        p = expit(strengths[i] - strengths[j])
        step = np.linalg.lstsq(_information(i, j, p, number), _score(i, j, y - p, number), rcond=None)[0]
        step -= step.mean()
        strengths = strengths + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < FLAT:
            break
    return strengths


def _score(i: Ints, j: Ints, residual: Floats, number: int) -> Floats:
    ahead, behind = np.bincount(i, residual, minlength=number), np.bincount(j, residual, minlength=number)
    return np.asarray(ahead - behind, np.float64)


def _information(i: Ints, j: Ints, p: Floats, number: int) -> Floats:
    weight = p * (1 - p)
    matrix = np.zeros((number, number))
    np.add.at(matrix, (i, j), -weight)
    np.add.at(matrix, (j, i), -weight)
    matrix[np.diag_indices(number)] = np.bincount(i, weight, minlength=number) + np.bincount(
        j, weight, minlength=number
    )
    return matrix


def _sandwich(i: Ints, j: Ints, y: Floats, strengths: Floats, of: Ints) -> Floats:
    """Variance of the strengths where the comparisons of a cluster go together (Liang and Zeger 1986)."""
    from scipy.special import expit  # slow to import, and a server starts without it

    p, number, c = expit(strengths[i] - strengths[j]), strengths.size, int(of.max()) + 1
    scores = np.zeros((c, number))
    np.add.at(scores, (of, i), y - p)
    np.add.at(scores, (of, j), p - y)
    # Strengths that all grow alike are no change: that direction is filled up, and taken away again.
    even = np.full((number, number), 1 / number)
    inverse = np.linalg.inv(_information(i, j, p, number) + even) - even
    variance: Floats = inverse @ (scores.T @ scores) @ inverse * (c / (c - 1))
    return variance
