"""Whether an annotator changes: over all their labels (drift), within a sitting (fatigue), against known answers
(gold).

What is compared is how often a label agrees with what others, or gold, say of the same item. Changes are tested by
permutations of the order within what stays together (Good, Permutation, Parametric and Bootstrap Tests of Hypotheses,
2005): no distribution is taken for granted, and small numbers are right, too. Permutations are drawn until enough are
as far apart as what was seen (Besag and Clifford, Sequential Monte Carlo p-values, 1991). Where none is, the normal
tail goes on from there (Hoeffding, A combinatorial central limit theorem, 1951): else no change of one person among
many could ever stand out.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critic.statistics.intervals import FEW, Figure, jeffreys, student
from critic.statistics.reliability.ratings import Floats, Ints

SITTING = 30 * 60.0  # seconds without a label, after which a new sitting begins
LEAST_DRAWN, VALUES_DRAWN = 1999, 4_000_000
"""How many permutations are drawn at most: so many, or so many that they deal out as many labels."""
ENOUGH = 50  # permutations as far apart as what was seen, after which its p-value is known well enough
AT_ONCE = 200  # permutations in memory


@dataclass(frozen=True, slots=True)
class CourseChange:
    """How agreement changes from the first half of a course to its second: a difference of shares, and its p-value."""

    difference: Figure
    p: float


def drift(agrees: ArrayLike, times: ArrayLike) -> CourseChange | None:
    """Return the change between the earlier and the later half of an annotator's labels; None below `FEW` labels.

    ``agrees`` (n,) is 0 to 1 for each label, ``times`` (n,) seconds.
    """
    y, at = _checked(agrees, times)
    if y.size < FEW:
        return None
    order = np.argsort(at, kind="stable")
    return _change(y[order], np.zeros(y.size, np.int64), np.arange(y.size))


def fatigue(agrees: ArrayLike, times: ArrayLike) -> CourseChange | None:
    """Return the change between the first and the second half of each sitting; None below `FEW` labels.

    A sitting ends where no label comes for `SITTING` seconds. Sittings of a single label say nothing.
    """
    y, at = _checked(agrees, times)
    order = np.argsort(at, kind="stable")
    y, at = y[order], at[order]
    sitting = np.concatenate(([0], np.cumsum(np.diff(at) > SITTING))).astype(np.int64) if y.size else np.zeros(0, int)
    sizes = np.bincount(sitting) if y.size else np.zeros(0, int)
    kept = sizes[sitting] > 1 if y.size else np.zeros(0, bool)
    if kept.sum() < FEW:
        return None
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    place = np.arange(y.size) - starts[sitting]
    return _change(y[kept], sitting[kept], place[kept])


def gold(right: ArrayLike) -> Figure | None:
    """Return how often an annotator is right on items whose answer is known (n,); None where there are none."""
    y = np.asarray(right, np.float64)
    if not y.size:
        return None
    low, high = jeffreys(float(y.sum()), float(y.size)) if y.size >= FEW else (0.0, 1.0)
    return Figure(float(y.mean()), low, high, y.size, y.size)


def _checked(agrees: ArrayLike, times: ArrayLike) -> tuple[Floats, Floats]:
    y, at = np.asarray(agrees, np.float64), np.asarray(times, np.float64)
    if y.shape != at.shape or y.ndim != 1:
        raise ValueError(f"expected as many times as labels: {at.shape}, {y.shape}")
    if np.isnan(y).any() or np.isnan(at).any():
        raise ValueError("a label or a time is no number")
    return y, at


def _change(y: Floats, block: Ints, place: Ints) -> CourseChange:
    """Compare the second half of each block with its first; labels are exchanged inside blocks alone."""
    sizes = np.bincount(block)
    late = 2 * (place + 1) > sizes[block] + 1
    observed = _difference(y, late)
    early = ~late
    variance = y[late].var(ddof=1) / late.sum() + y[early].var(ddof=1) / early.sum()
    half = student(int(min(late.sum(), early.sum())) - 1) * float(np.sqrt(variance))
    figure = Figure(observed, max(-1.0, observed - half), min(1.0, observed + half), y.size, y.size)
    return CourseChange(figure, _p(y, block, late, observed))


def _p(y: Floats, block: Ints, late: NDArray[np.bool_], observed: float) -> float:
    """How likely labels dealt out anew within their blocks differ by as much."""
    rng = np.random.default_rng(0)
    most = max(LEAST_DRAWN, VALUES_DRAWN // y.size)
    hits, drawn, squares = 0, 0, 0.0
    while hits < ENOUGH and drawn < most:
        count = min(AT_ONCE, most - drawn)
        # Numbers below 1 on top of the block's own exchange labels inside blocks alone.
        shuffled = y[np.argsort(block + rng.random((count, y.size)), axis=1)]
        differences = shuffled[:, late].mean(axis=1) - shuffled[:, ~late].mean(axis=1)
        hits += int((np.abs(differences) >= abs(observed) - 1e-12).sum())
        squares += float((differences**2).sum())
        drawn += count
    p = (hits + 1) / (drawn + 1)
    if hits or not squares:
        return p
    return min(p, math.erfc(abs(observed) / math.sqrt(2 * squares / drawn)))


def _difference(y: Floats, late: NDArray[np.bool_]) -> float:
    return float(y[late].mean() - y[~late].mean())
