"""Kappas: Cohen's for two raters, Fleiss' for as many raters for each unit, who need not be the same.

Cohen, A Coefficient of Agreement for Nominal Scales (1960). Fleiss, Measuring Nominal Scale Agreement among Many Raters
(1971). Both compare the share of agreeing pairs with what raters would reach who drew their values blindly: each from
their own (Cohen), or all from the values of everybody (Fleiss).
"""

from typing import TYPE_CHECKING

import numpy as np

from critic.statistics.reliability.coefficient import OfWeights, WeightedDisagreement
from critic.statistics.reliability.ratings import Floats, Ints, Ratings, by_value

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def cohen(first: Ints, second: Ints) -> OfWeights:
    """Return the disagreement of two raters' codes (U,) by the weights of units."""
    values = int(max(first.max(initial=0), second.max(initial=0))) + 1
    differs = (first != second).astype(np.float64)
    is_mine, is_theirs = _table(first, values), _table(second, values)

    def disagreement(weights: Floats) -> WeightedDisagreement:
        totals = _totals(weights)
        mine, theirs = by_value(weights, is_mine) / totals[:, None], by_value(weights, is_theirs) / totals[:, None]
        return _disagreement(weights @ differs / totals, (mine * theirs).sum(axis=1))

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

    def disagreement(weights: Floats) -> WeightedDisagreement:
        totals = _totals(weights)
        shares = weights @ counts / (totals[:, None] * size)
        return _disagreement(1 - weights @ alike / totals, (shares**2).sum(axis=1))

    return disagreement


def _table(codes: Ints, values: int) -> "csr_array":
    """Return (U, V): 1 where a unit was given a value."""
    from scipy.sparse import csr_array  # slow to import, and a server starts without it

    return csr_array((np.ones(codes.size), codes, np.arange(codes.size + 1)), shape=(codes.size, values))


def _totals(weights: Floats) -> Floats:
    """Return (R,) the sums of weights; 1 for none, which leaves nothing observed, and nothing expected."""
    totals = weights.sum(axis=1)
    return np.where(totals > 0, totals, 1.0)


def _disagreement(observed: Floats, alike: Floats) -> WeightedDisagreement:
    """Rounding leaves no trace of what is expected where only one value was given."""
    return WeightedDisagreement(observed, np.where(alike > 1 - 1e-12, 0.0, 1 - alike), np.ones(observed.size))
