"""How often something is so, from a judge's yes and no, whose errors are known from a few human labels.

Rogan and Gladen, Estimating prevalence from the results of a screening test (1978): (p + specificity - 1) /
(sensitivity + specificity - 1). The interval is Lang and Reiczigel's (Confidence limits for prevalence of disease
adjusted for estimated sensitivity and specificity, 2014), which covers what it promises at small numbers, too.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.intervals import NORMAL, Figure
from critic.statistics.prediction.clustered import checked


def prevalence(human: ArrayLike, judge: ArrayLike, rest: ArrayLike) -> Figure:
    """Return the share of items of which people would say yes.

    ``human`` and ``judge`` (n,) are 0 or 1 for the same items, ``rest`` (N,) the judge's alone. Raises ValueError where
    people said yes or no to none of theirs, and where the judge is no better than a coin: nothing follows from it.
    """
    y, f = checked("items that people labelled", human, judge)
    (others,) = checked("other items", rest)
    if any(not np.isin(values, (0, 1)).all() for values in (y, f, others)):
        raise ValueError("a label is neither 0 nor 1")
    yes, no = f[y == 1], f[y == 0]
    if not yes.size or not no.size or not others.size:
        raise ValueError("people's labels need both a yes and a no, and the judge's some items more")
    counts = (float(others.sum()), others.size, float(yes.sum()), yes.size, float((1 - no).sum()), no.size)
    return adjusted(*counts)


def adjusted(
    positive: float, tested: int, true_positive: float, diseased: int, true_negative: float, healthy: int
) -> Figure:
    """Return the prevalence from counts; see `prevalence` for what is refused."""
    apparent, sensitivity, specificity = positive / tested, true_positive / diseased, true_negative / healthy
    if sensitivity + specificity <= 1:
        raise ValueError("the judge says yes as often where people say no: nothing follows from what it says")
    estimate = (apparent + specificity - 1) / (sensitivity + specificity - 1)
    # Lang and Reiczigel: a few observations are added to each count, as Agresti and Coull do.
    p = (positive + NORMAL**2 / 2) / (tested + NORMAL**2)
    se, sp = (true_positive + 1) / (diseased + 2), (true_negative + 1) / (healthy + 2)
    slope = se + sp - 1
    if slope <= 0:
        return Figure(min(1.0, max(0.0, estimate)), 0.0, 1.0, tested, diseased + healthy)
    middle = (p + sp - 1) / slope
    of_p, of_se, of_sp = (
        p * (1 - p) / (tested + NORMAL**2),
        se * (1 - se) / (diseased + 2),
        sp * (1 - sp) / (healthy + 2),
    )
    error = math.sqrt(of_p + middle**2 * of_se + (1 - middle) ** 2 * of_sp) / slope
    shift = 2 * NORMAL**2 * (middle * of_se - (1 - middle) * of_sp)
    low, high = middle + shift - NORMAL * error, middle + shift + NORMAL * error
    return Figure(min(1.0, max(0.0, estimate)), max(0.0, low), min(1.0, high), tested, diseased + healthy)
