"""Kappas: Cohen's for two raters, Fleiss' for as many raters for each unit, who need not be the same.

Cohen, A Coefficient of Agreement for Nominal Scales (1960). Fleiss, Measuring Nominal Scale Agreement among Many Raters
(1971). Both compare the share of agreeing pairs with what raters would reach who drew their values blindly: each from
their own (Cohen), or all from the values of everybody (Fleiss).
"""

import numpy as np

from critic.statistics.reliability.coefficient import Disagreement, OfWeights
from critic.statistics.reliability.ratings import Floats, Ints, Ratings


def cohen(first: Ints, second: Ints) -> OfWeights:
    """Return the disagreement of two raters' codes (U,) by the weights of units."""
    values = int(max(first.max(initial=0), second.max(initial=0))) + 1
    differs = (first != second).astype(np.float64)

    def disagreement(weights: Floats) -> Disagreement:
        total = weights.sum()
        if not total:
            return Disagreement(0.0, 0.0)
        mine = np.bincount(first, weights, minlength=values) / total
        other = np.bincount(second, weights, minlength=values) / total
        return Disagreement(float(weights @ differs) / total, _unlike(float(mine @ other)))

    return disagreement


def fleiss(ratings: Ratings) -> OfWeights:
    """Return the disagreement of all raters by the weights of units.

    Raises ValueError where units have different numbers of ratings, or one alone: Krippendorff's alpha takes those.
    """
    sizes = ratings.sizes()
    if not sizes.size or sizes.min() != sizes.max() or sizes.min() < 2:
        raise ValueError("Fleiss' kappa needs as many ratings of each unit, two or more")
    counts, size = ratings.counts(), float(sizes[0])
    alike = ((counts**2).sum(axis=1) - size) / (size * (size - 1))

    def disagreement(weights: Floats) -> Disagreement:
        total = weights.sum()
        if not total:
            return Disagreement(0.0, 0.0)
        shares = weights @ counts / (total * size)
        return Disagreement(1 - float(weights @ alike) / total, _unlike(float(shares @ shares)))

    return disagreement


def _unlike(alike: float) -> float:
    """Return the rest to 1; rounding leaves no trace of it where only one value was given."""
    return 0.0 if alike > 1 - 1e-12 else 1 - alike
