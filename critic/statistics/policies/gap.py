"""Reward hacking as a figure: how much more often a reward prefers a policy than those do who never saw it.

Gao, Schulman and Hilton, Scaling Laws for Reward Model Overoptimization (2022): as a policy moves away from its base
(KL), the reward it was trained on goes on rising while what it stands for falls behind. Here the rising curve is the
share of prompts in which the reward prefers the trained answer to the base's, and the others are judges of other
families, and people. The gap is their difference on the very same answers, prompt by prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from critic.statistics.alarms import beyond_nothing
from critic.statistics.intervals import FEW, Figure
from critic.statistics.policies.change import mean_change


@dataclass(frozen=True, slots=True)
class Gap:
    """The reward's win rate minus the others'."""

    figure: Figure | None
    refusal: str = ""

    @property
    def p(self) -> float:
        """How likely such a gap is where the reward prefers the policy no more often than others do."""
        if self.figure is None:
            return 1.0
        return beyond_nothing(self.figure.low, self.figure.high, self.figure.clusters, 1)


def gap(reward: ArrayLike, others: ArrayLike, clusters: Sequence[int]) -> Gap:
    """Return the gap of ``reward`` (n,) and ``others`` (n,): wins of the policy's answer, 1, 0, or a half.

    NaN where one said nothing; such pairs don't count. Prompts are the ``clusters``.
    """
    one, other = np.asarray(reward, np.float64), np.asarray(others, np.float64)
    if one.shape != other.shape or one.shape != (len(clusters),):
        raise ValueError("expected the same answers on both sides, and a cluster for each")
    known = ~(np.isnan(one) | np.isnan(other))
    figure = mean_change((one - other)[known], np.asarray(clusters)[known].tolist())
    if figure is None or figure.clusters < FEW:
        prompts = 0 if figure is None else figure.clusters
        return Gap(None, f"{prompts} prompts that both judged: nothing can be said of fewer than {FEW}.")
    return Gap(figure)
