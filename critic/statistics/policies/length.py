"""A win rate without the part that length explains.

Dubois, Galambosi, Liang and Hashimoto, Length-Controlled AlpacaEval (2024): a logistic model of who wins,

    P(win) = logistic(a + b tanh(d / s)),     d the difference of lengths, s its standard deviation,

and the length-controlled win rate is what it says of equal lengths, logistic(a). Their term for each instruction's
difficulty needs many models on the same instructions, and is left out, as they do for one.

Half a win and half a loss stand beside what was seen (at d = 0, and at either end of the tanh), so that where all are
won, or the longer always wins, the coefficients stay finite. The interval is Student's by the jackknife over prompts,
one Newton step for each (Bell and McCaffrey 2002, CR3), which is right at small numbers; too few prompts give none.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critic.statistics.intervals import FEW, Figure, student

_Floats = NDArray[np.float64]

_STEPS = 50
# (intercept, length term, outcome, weight): what is believed before anything is seen.
_BEFORE = np.array(
    [(1, 0, 0, 0.25), (1, 0, 1, 0.25), (1, 1, 0, 0.125), (1, 1, 1, 0.125), (1, -1, 0, 0.125), (1, -1, 1, 0.125)]
)


def length_controlled(wins: ArrayLike, differences: ArrayLike, clusters: Sequence[int]) -> Figure | None:
    """Return the win rate at equal lengths with its 95 % interval; None for fewer than `FEW` clusters.

    ``wins`` (n,) are 1, 0, a half for a tie; ``differences`` (n,) the winner-to-be's length minus the other's;
    ``clusters`` (n,) number prompts. Raises ValueError for shapes that differ and values outside.
    """
    y, d = np.asarray(wins, np.float64), np.asarray(differences, np.float64)
    if y.shape != d.shape or y.ndim != 1 or len(clusters) != y.size:
        raise ValueError(f"expected as many differences and clusters as wins: {d.shape}, {len(clusters)}, {y.shape}")
    if not np.all((y >= 0) & (y <= 1)):
        raise ValueError("a win is a number from 0 to 1")
    _, of = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(of.max()) + 1 if y.size else 0
    if count < FEW:
        return None
    spread = float(d.std())
    x = np.stack([np.ones_like(d), np.tanh(d / spread) if spread > 0 else np.zeros_like(d)], axis=1)
    beta, bread = _fitted(
        np.vstack([x, _BEFORE[:, :2]]), np.append(y, _BEFORE[:, 2]), np.append(np.ones_like(y), _BEFORE[:, 3])
    )
    variance = _jackknifed(x, y, of, beta, np.asarray(np.linalg.inv(bread), np.float64))
    half = student(count - 1) * math.sqrt(max(variance, bread[0, 0] * 1e-12))
    estimate, low, high = (float(_logistic(np.array(beta[0] + end))) for end in (0.0, -half, half))
    return Figure(estimate, low, high, y.size, count)


def _jackknifed(x: _Floats, y: _Floats, of: NDArray[np.intp], beta: _Floats, information: _Floats) -> float:
    """The intercept's variance by leaving out one cluster at a time, each by one Newton step."""
    p = _logistic(x @ beta)
    count = int(of.max()) + 1
    scores, own = np.zeros((count, 2)), np.zeros((count, 2, 2))
    np.add.at(scores, of, x * (y - p)[:, None])
    np.add.at(own, of, (p * (1 - p))[:, None, None] * x[:, :, None] * x[:, None, :])
    moved = np.linalg.solve(information[None] - own, scores[:, :, None])[:, 0, 0]
    return float((moved**2).sum() * (count - 1) / count)


def _fitted(x: _Floats, y: _Floats, weights: _Floats) -> tuple[_Floats, _Floats]:
    """Newton's method; return the coefficients and the inverse of the information there."""
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = _logistic(x @ beta)
        information = (x * (weights * p * (1 - p))[:, None]).T @ x
        step = np.linalg.solve(information, x.T @ (weights * (y - p)))
        largest = float(np.abs(step).max())
        beta = beta + step / max(1.0, largest)
        if largest < 1e-9:
            break
    p = _logistic(x @ beta)
    return beta, np.asarray(np.linalg.inv((x * (weights * p * (1 - p))[:, None]).T @ x), np.float64)


def _logistic(x: _Floats) -> _Floats:
    return np.asarray(1 / (1 + np.exp(-x)))
