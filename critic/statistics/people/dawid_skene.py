"""Truth and raters' errors together, from labels alone: Dawid and Skene's model, by EM.

Dawid and Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm (1979). Each unit has one
true value; a rater gives value l where j is true with a probability of their own. The one-coin model (as in Zhang,
Chen, Zhou and Jordan, Spectral Methods Meet EM, 2016) gives each rater a single probability of being right, errors
being equally likely: it needs far fewer labels a rater.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critic.statistics.reliability.ratings import Floats, Ints, Ratings

ITERATIONS = 1000
TOLERANCE = 1e-9  # of the log-likelihood, as a share of it
LEAST = 1e-12  # of a probability whose logarithm is taken


@dataclass(frozen=True, slots=True, eq=False)
class TruthModel:
    """What EM came to: ``prior`` (V,) of values, ``truth`` (U, V) of each unit, ``errors`` (R, V, V) of each rater.

    ``errors[r, j, l]`` is the probability that rater r says l where j is true. ``converged`` is False where the
    iterations ended before the likelihood did.
    """

    prior: Floats
    truth: Floats
    errors: Floats
    log_likelihood: float
    converged: bool

    @property
    def accuracy(self) -> Floats:
        """(R,) how often each rater is right, over the values as they occur."""
        right: Floats = np.einsum("rjj,j->r", self.errors, self.prior)
        return right


def full(ratings: Ratings) -> TruthModel:
    """Return the model in which each rater has a table of errors. Raises ValueError for no ratings at all."""
    return _fitted(ratings, one_coin=False)


def one_coin(ratings: Ratings) -> TruthModel:
    """Return the model in which each rater is right with one probability. Raises ValueError for no ratings at all."""
    return _fitted(ratings, one_coin=True)


def _fitted(ratings: Ratings, *, one_coin: bool) -> TruthModel:
    if not ratings.units.size:
        raise ValueError("there is no rating")
    counts = ratings.counts()
    truth = counts / counts.sum(axis=1, keepdims=True)  # the paper's start: the shares of what was said
    before, converged = -np.inf, False
    for _ in range(ITERATIONS):
        prior = truth.mean(axis=0)
        said = _said(ratings, truth)
        errors = _coins(said) if one_coin else _tables(said)
        truth, likelihood = _truth(ratings, prior, errors)
        if likelihood - before <= TOLERANCE * abs(likelihood):
            converged = True
            break
        before = likelihood
    return TruthModel(prior, truth, errors, likelihood, converged)


def _said(ratings: Ratings, truth: Floats) -> Floats:
    """Return (R, V, V): how often each rater said l, where j is true, by the present ``truth``."""
    raters, values = ratings.number_of_raters, ratings.values.size
    cell = ratings.raters * values + ratings.codes
    by_true = [np.bincount(cell, truth[ratings.units, j], minlength=raters * values) for j in range(values)]
    return np.stack([column.reshape(raters, values) for column in by_true], axis=1)


def _tables(said: Floats) -> Floats:
    """Return (R, V, V) shares of what was said; evenly spread for true values that a rater has never met."""
    totals = said.sum(axis=2, keepdims=True)
    even = np.full_like(said, 1 / said.shape[2])
    return np.asarray(np.divide(said, totals, out=even, where=totals > 0), np.float64)


def _coins(said: Floats) -> Floats:
    values = said.shape[1]
    right = np.einsum("rjj->r", said) / said.sum(axis=(1, 2))
    wrong = (1 - right) / max(1, values - 1)
    eye: NDArray[np.bool_] = np.eye(values, dtype=bool)
    tables: Floats = np.where(eye[None], right[:, None, None], wrong[:, None, None])
    return tables


def _truth(ratings: Ratings, prior: Floats, errors: Floats) -> tuple[Floats, float]:
    """Return (U, V) the probabilities of what is true, and the log-likelihood of all that was said."""
    logs = np.log(np.maximum(errors, LEAST))
    units: Ints = ratings.units
    joint = np.stack(
        [
            np.bincount(units, logs[ratings.raters, j, ratings.codes], minlength=ratings.number_of_units)
            for j in range(ratings.values.size)
        ],
        axis=1,
    )
    joint += np.log(np.maximum(prior, LEAST))
    highest = joint.max(axis=1, keepdims=True)
    scaled = np.exp(joint - highest)
    total = scaled.sum(axis=1, keepdims=True)
    return scaled / total, float((highest + np.log(total)).sum())
