"""Truth and raters' errors together, from labels alone: Dawid and Skene's model, by EM.

Dawid and Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm (1979). Each unit has one
true value; a rater gives value l where j is true with a probability of their own. The one-coin model (as in Zhang,
Chen, Zhou and Jordan, Spectral Methods Meet EM, 2016) gives each rater a single probability of being right, errors
being equally likely: it needs far fewer labels a rater.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critic.statistics.intervals import FEW, Figure
from critic.statistics.prediction.clustered import Clusters, numbered, share_limits
from critic.statistics.reliability.ratings import Floats, Ints, Ratings

ITERATIONS = 1000
TOLERANCE = 1e-9  # of the log-likelihood, as a share of it
MOST_SCORES = 20_000_000  # units times parameters, whose slopes are in memory for intervals
LEAST = 1e-12  # of a probability whose logarithm is taken


@dataclass(frozen=True, slots=True, eq=False)
class TruthModel:
    """What EM came to: ``prior`` (V,) of values, ``truth`` (U, V) of each unit, ``errors`` (R, V, V) of each rater.

    ``errors[r, j, l]`` is the probability that rater r says l where j is true. ``converged`` is False where the
    iterations ended before the likelihood did; ``one_coin`` says which of the two models it is.
    """

    prior: Floats
    truth: Floats
    errors: Floats
    log_likelihood: float
    converged: bool
    one_coin: bool

    @property
    def accuracy(self) -> Floats:
        """(R,) how often each rater is right, over the values as they occur."""
        right: Floats = np.einsum("rjj,j->r", self.errors, self.prior)
        return right


def accuracies(model: TruthModel, ratings: Ratings, clusters: Clusters | None = None) -> tuple[Figure | None, ...]:
    """Return how often each rater is right, over the values as they occur, with 95 % intervals over clusters.

    ``clusters`` (U,) names the prompt of each unit. The variance is the likelihood's, by the outer product of scores
    (of clusters: Liang and Zeger 1986), so that it knows that truth, too, is only estimated. Fewer than `FEW` clusters,
    and the interval is 0 to 1. None for all where there are too many people and units for it (`MOST_SCORES`).
    """
    slopes, values = _Scores(model, ratings), model.accuracy
    if ratings.number_of_units * slopes.parameters > MOST_SCORES:
        return (None,) * values.size
    of = numbered(clusters, ratings.number_of_units)
    number = int(of.max()) + 1
    labels = np.bincount(ratings.raters, minlength=values.size)
    own = [np.unique(of[ratings.units[ratings.raters == rater]]).size for rater in range(values.size)]
    if number < FEW:
        return tuple(Figure(float(a), 0.0, 1.0, int(n), c) for a, n, c in zip(values, labels, own, strict=True))
    scores = slopes.by_unit()
    bread = np.linalg.pinv(scores.T @ scores, hermitian=True)
    together = np.zeros((number, slopes.parameters))
    np.add.at(together, of, scores)
    covariance = bread @ (together.T @ together) @ bread * number / (number - 1)
    gradients = slopes.of_accuracy()
    variances = np.einsum("rp,pq,rq->r", gradients, covariance, gradients)
    figures = []
    for a, variance, n, c in zip(values, variances, labels, own, strict=True):
        low, high = share_limits(float(a), float(variance), max(1, c - 1), float(c)) if c >= FEW else (0.0, 1.0)
        figures.append(Figure(float(a), low, high, int(n), c))
    return tuple(figures)


class _Scores:
    """Slopes of the log-likelihood, by unit, in the logits of the prior and of each rater's errors."""

    def __init__(self, model: TruthModel, ratings: Ratings) -> None:
        self._model, self._ratings = model, ratings
        raters, values = model.errors.shape[:2]
        self._block = 1 if model.one_coin else values * values
        self.parameters = values + raters * self._block

    def by_unit(self) -> Floats:
        """Return (U, P)."""
        model, ratings = self._model, self._ratings
        units, raters, codes = ratings.units, ratings.raters, ratings.codes
        values = model.prior.size
        scores = np.zeros((ratings.number_of_units, self.parameters))
        scores[:, :values] = model.truth - model.prior
        start = values + raters * self._block
        if model.one_coin:
            scores[units, start] = model.truth[units, codes] - model.accuracy[raters]
            return scores
        for true in range(values):
            for said in range(values):
                slope = model.truth[units, true] * ((codes == said) - model.errors[raters, true, said])
                scores[units, start + true * values + said] = slope
        return scores

    def of_accuracy(self) -> Floats:
        """Return (R, P): the accuracies' slopes in the same logits."""
        model = self._model
        raters, values = model.errors.shape[:2]
        accuracy = model.accuracy
        slopes = np.zeros((raters, self.parameters))
        own = np.arange(raters)
        if model.one_coin:
            slopes[own, values + own] = accuracy * (1 - accuracy)
            return slopes
        right = np.einsum("rjj->rj", model.errors)
        slopes[:, :values] = model.prior * (right - accuracy[:, None])
        for true in range(values):
            for said in range(values):
                place = values + own * self._block + true * values + said
                turn = float(said == true) - model.errors[:, true, said]
                slopes[own, place] = model.prior[true] * right[:, true] * turn
        return slopes


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
    return TruthModel(prior, truth, errors, likelihood, converged, one_coin)


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
