"""Comparisons to a ranking of all responses: the Bradley-Terry model, by maximum likelihood.

With strengths s, response i beats j with probability p_ij = 1 / (1 + exp(s_j - s_i)) (Bradley & Terry 1952). Of wins
w_ij of i over j, which may be fractions, the log-likelihood is

    L(s) = sum_ij w_ij log p_ij,     dL/ds_i = sum_j (w_ij - n_ij p_ij),     n_ij = w_ij + w_ji

and -d2L/ds_i ds_j is the Laplacian of the graph whose edges weigh n_ij p_ij p_ji. Only differences of strengths count,
so their mean is 0. A comparison's wins are its probability p and 1 - p, a tie's too.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from critic.judging.aggregate import CERTAIN
from critic.records import Judgement, Ranking, Response
from critic.settings.judging import Pooling

Array = NDArray[np.float64]

_CONVERGED = 1e-6  # the last step's length; the error left is about its square
_MOST_STEPS = 10_000


def bradley_terry(wins_KK: Array) -> Array | None:
    """Return the strengths (K) that make these wins likeliest, with mean 0; None where no finite ones do.

    ``wins_KK[i, j]`` is how often i beat j; the diagonal is 0. Finite strengths exist where of any two responses each
    beats the other directly or by way of others (Ford 1957). Newton's method; no step moves two strengths further
    apart than 1, and such a step always gains likelihood (Bach 2010, proposition 1).
    """
    if not _connected(wins_KK):
        return None
    games_KK, strengths_K = wins_KK + wins_KK.T, np.zeros(len(wins_KK))
    for _ in range(_MOST_STEPS):
        fitted_KK = 1 / (1 + np.exp(strengths_K[None, :] - strengths_K[:, None]))
        gradient_K = (wins_KK - games_KK * fitted_KK).sum(axis=1)
        edges_KK = games_KK * fitted_KK * fitted_KK.T
        laplacian_KK = np.diag(edges_KK.sum(axis=1)) - edges_KK
        # The Laplacian leaves a common shift free; the constant matrix makes that shift 0.
        step_K = np.linalg.solve(laplacian_KK + 1 / len(wins_KK), gradient_K)
        spread = float(np.ptp(step_K))
        strengths_K += step_K / max(1.0, spread)
        if spread < _CONVERGED:
            strengths_K -= strengths_K.mean()
            return strengths_K
    raise ArithmeticError(f"no strengths found for the wins {wins_KK.tolist()}")


def rank(candidates: Sequence[Response], judgements: Sequence[Judgement], pooling: Pooling) -> Ranking | None:
    """Rank all ``candidates`` by one group's ``judgements``; None where those that were read don't connect them.

    Candidates of equal text are one. Neighbours share a rank where the model's probability that one beats the other is
    inside the tie band.
    """
    texts = list(dict.fromkeys(candidate.text for candidate in candidates))
    place = [texts.index(candidate.text) for candidate in candidates]
    wins_KK = np.zeros((len(texts), len(texts)))
    for judgement in judgements:
        if judgement.probability is not None:
            first, second = place[judgement.first], place[judgement.second]
            probability = min(max(judgement.probability, 1 - CERTAIN), CERTAIN)
            wins_KK[first, second] += probability
            wins_KK[second, first] += 1 - probability
    strengths_K = bradley_terry(wins_KK)
    if strengths_K is None:
        return None
    strengths = strengths_K.tolist()
    ranks = _ranks(strengths, pooling)
    own_ranks = tuple(ranks[i] for i in place)
    own_strengths = tuple(strengths[i] for i in place)
    return Ranking(group=judgements[0].group, ranks=own_ranks, strengths=own_strengths)


def _connected(wins_KK: Array) -> bool:
    """Whether chains of wins lead from each response to every other."""
    reaches_KK = (wins_KK > 0) | np.eye(len(wins_KK), dtype=bool)
    for _ in range(len(wins_KK).bit_length()):
        reaches_KK = reaches_KK @ reaches_KK
    return bool(reaches_KK.all())


def _ranks(strengths: Sequence[float], pooling: Pooling) -> list[int]:
    """Ranks from 1, the best; the next rank after a shared one is the next number."""
    order = sorted(range(len(strengths)), key=lambda i: -strengths[i])
    ranks = [1] * len(strengths)
    for better, worse in pairwise(order):
        probability = 1 / (1 + math.exp(strengths[worse] - strengths[better]))
        ranks[worse] = ranks[better] + (not pooling.is_tie(probability))
    return ranks
