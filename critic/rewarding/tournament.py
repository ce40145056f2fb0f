"""A sparse tournament: which of K answers are compared, and the strengths that its results come to, with errors.

Not all K(K-1)/2 pairs are compared: the answers stand in a circle, in an order that a seed draws, and each meets its
next ones. One round is a circle, so that any one result may be missing and all are still connected.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critic.judging.aggregate import CERTAIN
from critic.judging.ranking import bradley_terry

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TournamentStrengths:
    """The strengths of the answers that results connect, in log-odds with mean 0, and their standard errors.

    ``members`` are those answers; others have no strength.
    """

    members: tuple[int, ...]
    strengths: tuple[float, ...]
    errors: tuple[float, ...]


def pairs(count: int, opponents: int, seed: int) -> list[tuple[int, int]]:
    """Return which of ``count`` answers are compared: each with ``opponents`` others or more, all connected.

    An answer meets as many of the next ones in the circle as of those before it, so odd numbers are rounded up.
    """
    order = list(range(count))
    random.Random(seed).shuffle(order)
    rounds = min((max(opponents, 2) + 1) // 2, count // 2)
    met = {
        tuple(sorted((order[place], order[(place + distance) % count])))
        for distance in range(1, rounds + 1)
        for place in range(count)
    }
    return sorted((first, second) for first, second in met)


def strengths(count: int, results: Sequence[tuple[int, int, float]]) -> TournamentStrengths | None:
    """Return the strengths by Bradley-Terry of ``results``: (first, second, probability that the first is better).

    They are of the largest set of answers that results connect; None where no two are. A probability counts as so many
    wins of one game. Errors are the square roots of the diagonal of the pseudo-inverse of the information matrix, whose
    edges weigh p(1 - p): how far a strength, less the mean of all, may be off if each result were one game.
    """
    members = _largest(count, results)
    if len(members) < 2:
        return None
    place = {answer: number for number, answer in enumerate(members)}
    wins_KK = np.zeros((len(members), len(members)))
    for first, second, probability in results:
        if first in place and second in place:
            kept = min(max(probability, 1 - CERTAIN), CERTAIN)
            wins_KK[place[first], place[second]] += kept
            wins_KK[place[second], place[first]] += 1 - kept
    fitted_K = bradley_terry(wins_KK)
    assert fitted_K is not None  # every result that was kept is a part of a win of both
    return TournamentStrengths(members, tuple(fitted_K.tolist()), tuple(_errors(wins_KK, fitted_K).tolist()))


def _errors(wins_KK: Array, strengths_K: Array) -> Array:
    fitted_KK = 1 / (1 + np.exp(strengths_K[None, :] - strengths_K[:, None]))
    edges_KK = (wins_KK + wins_KK.T) * fitted_KK * fitted_KK.T
    information_KK = np.diag(edges_KK.sum(axis=1)) - edges_KK
    errors_K: Array = np.sqrt(np.diag(np.linalg.pinv(information_KK, hermitian=True)))
    return errors_K


def _largest(count: int, results: Sequence[tuple[int, int, float]]) -> tuple[int, ...]:
    """Return the largest set of answers that results connect, the first one where several are as large."""
    label = list(range(count))
    for first, second, _ in results:
        old, new = max(label[first], label[second]), min(label[first], label[second])
        label = [new if one == old else one for one in label]
    sets = []
    for name in sorted(set(label)):
        sets.append(tuple(i for i in range(count) if label[i] == name))
    return max(sets, key=len, default=())
