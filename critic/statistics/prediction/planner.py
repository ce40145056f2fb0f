"""How many more human labels reach a wanted width, by what a first few have shown.

The variance of PPI++ (`critic.statistics.prediction.ppi`) at n human and N judged items, with the best weight, is s_y^2
/ n * (1 - r^2 * N / (n + N)): s_y is the spread of people's labels and r their correlation with the judge's. Without a
judge r is 0.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import FEW, NORMAL
from critic.statistics.prediction.clustered import Clusters, checked, covariance_of_means, least_variance, numbered

MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """Human labels in all for an interval of ``width``: with the judge's help, and without. ``more`` are still missing.

    None where no number up to `MOST` is enough; ``correlation`` is that of people and judge.
    """

    width: float
    with_judge: int | None
    without_judge: int | None
    more: int | None
    correlation: float


def plan(
    human: ArrayLike, judge: ArrayLike, unlabelled: int, width: float, clusters: Clusters | None = None
) -> LabelPlan:
    """Return how many labels give a 95 % interval of ``width``, by a pilot of people's and the judge's labels (n,).

    ``unlabelled`` counts the items that the judge alone labels. Raises ValueError for a pilot of fewer than `FEW`
    clusters, and a width that is not above 0.
    """
    y, f = checked("pilot", human, judge)
    of = numbered(clusters, y.size)
    if not y.size or int(of.max()) + 1 < FEW:
        raise ValueError(f"a plan needs a pilot of at least {FEW} prompts with human labels")
    if not 0 < width < math.inf:
        raise ValueError(f"the width is {width}; expected a number above 0")
    number = int(of.max()) + 1
    # Of one label, its cluster's companions counted. A pilot whose labels are all the same proves it of no others.
    spread = max(covariance_of_means(y, y, of), least_variance(number)) * y.size
    judged = covariance_of_means(f, f, of) * y.size
    correlation = 0.0
    if spread > 0 and judged > 0:
        correlation = covariance_of_means(y, f, of) * y.size / math.sqrt(spread * judged)
    fewest = math.ceil(FEW * y.size / number)  # below so many prompts no interval is given
    helped = _least(spread, max(0.0, correlation), unlabelled, width, fewest)
    alone = _least(spread, 0.0, unlabelled, width, fewest)
    more = None if helped is None else max(0, helped - y.size)
    return LabelPlan(width, helped, alone, more, float(np.clip(correlation, -1, 1)))


def _least(spread: float, correlation: float, unlabelled: int, width: float, fewest: int) -> int | None:
    """Return the least n, of ``fewest`` or more, whose interval is narrow enough: it narrows with n."""

    def is_enough(n: int) -> bool:
        variance = spread / n * (1 - correlation**2 * unlabelled / (n + unlabelled))
        return 2 * NORMAL * math.sqrt(max(0.0, variance)) <= width

    if not is_enough(MOST):
        return None
    low, high = fewest - 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
