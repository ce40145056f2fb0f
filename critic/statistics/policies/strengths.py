"""Bradley-Terry strengths of many policies, with intervals over the prompts that they were compared on.

Bradley and Terry (1952), fitted by `critic.judging.ranking.bradley_terry`; a tie is half a win for each. Intervals are
percentiles over resampled prompts (Efron and Tibshirani 1993, chapter 13), because the comparisons of one prompt are no
independent observations. They are taken further out where there are few prompts, whose resamples are too much alike:
the expanded percentiles of Hesterberg (2015), "What teachers should know about the bootstrap".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from critic.judging.ranking import bradley_terry
from critic.statistics.intervals import FEW, Figure, student

RESAMPLES = 1000
ELO = 400 / math.log(10)  # what a unit of strength is in Elo's points

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PolicyStrengths:
    """``figures`` by policy, with mean 0, in Elo's points (400 are odds of ten to one); or why there are none."""

    names: tuple[str, ...]
    figures: tuple[Figure, ...]
    refusal: str = ""


def strengths(
    names: Sequence[str], first: ArrayLike, second: ArrayLike, wins: ArrayLike, clusters: Sequence[int], seed: int = 0
) -> PolicyStrengths:
    """Fit strengths to comparisons: of ``first`` and ``second`` (n,), which number ``names``, ``wins`` (n,) is the
    first's share. Prompts are the ``clusters``.
    """
    one, other = np.asarray(first, np.intp), np.asarray(second, np.intp)
    won = np.asarray(wins, np.float64)
    if not one.shape == other.shape == won.shape == (len(clusters),):
        raise ValueError("expected two policies, a win and a cluster for each comparison")
    if np.any(one == other):
        raise ValueError("a policy is compared with itself")
    _, of = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(of.max()) + 1 if len(of) else 0
    if count < FEW:
        return PolicyStrengths(tuple(names), (), f"{count} prompts: nothing can be said of fewer than {FEW}.")
    by_prompt = np.zeros((count, len(names), len(names)))
    np.add.at(by_prompt, (of, one, other), won)
    np.add.at(by_prompt, (of, other, one), 1 - won)
    best = bradley_terry(by_prompt.sum(axis=0))
    if best is None:
        return PolicyStrengths(tuple(names), (), _why(names, by_prompt.sum(axis=0)))
    drawn = _resampled(by_prompt, seed)
    games = (by_prompt + by_prompt.transpose(0, 2, 1)).sum(axis=2)
    figures = []
    for place, strength in enumerate(best):
        n, prompts = round(float(games[:, place].sum())), int((games[:, place] > 0).sum())
        ends = percentiles(prompts)
        low, high = np.percentile(drawn[:, place], ends, method="linear") if len(drawn) else (-math.inf, math.inf)
        figures.append(Figure(float(strength) * ELO, float(low) * ELO, float(high) * ELO, n, prompts))
    return PolicyStrengths(tuple(names), tuple(figures))


def percentiles(prompts: int) -> tuple[float, float]:
    """The percentiles of an interval of 95 %, for so many prompts: 2.5 and 97.5 for very many, 2.0 and 98.0 for 40."""
    rest = max(1, prompts - 1)
    furthest = math.sqrt((rest + 1) / rest) * student(rest)
    tail = 100 * NormalDist().cdf(-furthest)
    return tail, 100 - tail


def _resampled(by_prompt: _Floats, seed: int) -> _Floats:
    """Strengths of resampled prompts; none where more than a fortieth of the samples have no finite ones."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(RESAMPLES):
        drawn = np.bincount(rng.integers(len(by_prompt), size=len(by_prompt)), minlength=len(by_prompt))
        fitted = bradley_terry(np.tensordot(drawn.astype(float), by_prompt, axes=1))
        if fitted is not None:
            made.append(fitted)
    return np.array(made) if len(made) >= RESAMPLES * 0.975 else np.zeros((0, by_prompt.shape[1]))


def _why(names: Sequence[str], wins: _Floats) -> str:
    played = (wins + wins.T) > 0
    never = [name for place, name in enumerate(names) if not wins[place].any() and played[place].any()]
    always = [name for place, name in enumerate(names) if not wins[:, place].any() and played[place].any()]
    if never:
        return f"{', '.join(never)} never won: no finite strength fits."
    if always:
        return f"{', '.join(always)} never lost: no finite strength fits."
    return "Not every two policies are connected by wins: no finite strengths fit."
