"""Gwet's AC1 and AC2: agreement beyond chance that does not collapse where one value is given nearly always.

Gwet, Computing inter-rater reliability and its variance in the presence of high agreement (2008), and Handbook of
Inter-Rater Reliability (4th edition, 2014), chapters 4 and 5, with ratings missing. AC1 takes values as names; AC2
counts near values as nearly agreeing, by quadratic weights.
"""

import numpy as np

from critic.statistics.reliability.coefficient import OfWeights, WeightedDisagreement
from critic.statistics.reliability.ratings import Floats, Ratings


def ac1(ratings: Ratings) -> OfWeights:
    """Return the disagreement of nominal ratings by the weights of units."""
    return _weighted(ratings, np.eye(ratings.values.size))


def ac2(ratings: Ratings) -> OfWeights:
    """Return the disagreement of ratings on a scale, by the weights of units."""
    values = ratings.values
    span = float(np.ptp(values)) if values.size else 0.0
    if not span:
        return _weighted(ratings, np.eye(values.size))
    return _weighted(ratings, 1 - ((values[:, None] - values[None, :]) / span) ** 2)


def _weighted(ratings: Ratings, near: Floats) -> OfWeights:
    counts, sizes = ratings.counts(), ratings.sizes().astype(np.float64)
    several = sizes > 1
    # How many of a unit's ratings, near ones in part, agree with each value.
    agreeing = counts @ near.T
    pairs = np.maximum(1.0, sizes * (sizes - 1))
    alike = np.where(several, (counts * (agreeing - 1)).sum(axis=1) / pairs, 0.0)
    shares = counts / np.maximum(1.0, sizes)[:, None]
    q = ratings.values.size

    def disagreement(weights: Floats) -> WeightedDisagreement:
        of_pairs, totals = weights @ several, weights.sum(axis=1)
        is_known = (of_pairs > 0) & (q > 1)
        of_pairs, totals = np.where(is_known, of_pairs, 1.0), np.where(totals > 0, totals, 1.0)
        given = weights @ shares / totals[:, None]
        chance = float(near.sum()) / max(1, q * (q - 1)) * (given * (1 - given)).sum(axis=1)
        observed, expected = 1 - weights @ alike / of_pairs, 1 - chance
        return WeightedDisagreement(observed, np.where(is_known, expected, 0.0), np.ones(totals.size))

    return disagreement
