"""Advantages of answers within their group, and the losses of critic-free policy gradients, as pure functions.

A group is the answers to one prompt that have a reward. Shapes: A answers of all groups, R rewards of an answer,
M tokens of all answers; ``group_A`` says to which group an answer belongs, ``answer_M`` a token to which answer.

    rule      baseline             divided by   ratio of           averaged over
    grpo      the group's mean     its spread   a token            answers' means (Shao et al. 2024, equation 3)
    dr-grpo   the group's mean     -            a token            answers x longest (Liu et al. 2025, section 3.2)
    rloo      the others' mean     -            an answer          answers (Ahmadian et al. 2024, equation 8)
    dapo      the group's mean     its spread   a token            all tokens (Yu et al. 2025, equations 8 to 12)
    gspo      the group's mean     its spread   an answer, rooted  answers' means (Zheng et al. 2025, equations 5 to 7)

``dapo`` lets a ratio rise further than it may fall, and leaves groups out whose rewards are all the same. ``rooted``
is the geometric mean of the tokens' ratios.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainers.online.mathematics.policy_gradient import clipped

EPSILON = 1e-4
"""Added to a spread before it divides: TRL's number, so that the losses are the same."""

Average = Literal["answer", "token", "budget"]
Ratio = Literal["token", "answer", "rooted"]
Penalty = Literal["k3-weighted", "k2", "k3"]


@dataclass(frozen=True, slots=True)
class AdvantageRule:
    """A line of the module's table. ``clip`` and ``clip_high`` are how far a ratio may fall below and rise above 1."""

    others: bool = False
    scaled: bool = True
    ratio: Ratio = "token"
    average: Average = "answer"
    clip: float = 0.2
    clip_high: float = 0.2
    drops_flat: bool = False


RULES = {
    "grpo": AdvantageRule(),
    "dr-grpo": AdvantageRule(scaled=False, average="budget"),
    "rloo": AdvantageRule(others=True, scaled=False, ratio="answer"),
    "dapo": AdvantageRule(average="token", clip_high=0.28, drops_flat=True),
    "gspo": AdvantageRule(ratio="rooted", clip=3e-4, clip_high=4e-4),
}


def advantages(rewards_A: Tensor, group_A: Tensor, rule: AdvantageRule) -> Tensor:
    """Return the advantage of each answer, ``[A]``: its reward less the baseline, divided by the group's spread.

    A spread is the standard deviation with Bessel's correction. Every group has two answers or more.
    """
    gain_A = above_A = _gains(rewards_A, group_A)
    if rule.others:  # r - (sum - r) / (n - 1)
        count_A, _ = _means(rewards_A, group_A)
        gain_A = above_A * count_A / (count_A - 1)
    if rule.scaled:
        gain_A = gain_A / (_spread(above_A, group_A) + EPSILON)
    return gain_A


def normalised(rewards_AR: Tensor, weights_R: Tensor, group_A: Tensor) -> Tensor:
    """Return each reward normalised within its group, weighted and added up: ``[A]`` (GDPO, Liu et al. 2026).

    So a reward with a great spread does not drown the others. The sums are then to be normalised over the whole step.
    """
    parts = []
    for rewards_A in rewards_AR.unbind(-1):
        gain_A = _gains(rewards_A, group_A)
        parts.append(gain_A / (_spread(gain_A, group_A) + EPSILON))
    return (torch.stack(parts, -1) * weights_R).sum(-1)


def flat(rewards_AR: Tensor, group_A: Tensor) -> Tensor:
    """Return whether all answers of an answer's group have the same rewards: ``[A]``."""
    size = int(group_A.max()) + 1 if len(group_A) else 0
    where_AR = group_A[:, None].expand_as(rewards_AR)
    empty_GR = rewards_AR.new_zeros(size, rewards_AR.shape[1])
    low_GR = empty_GR.scatter_reduce(0, where_AR, rewards_AR, "amin", include_self=False)
    high_GR = empty_GR.scatter_reduce(0, where_AR, rewards_AR, "amax", include_self=False)
    return (low_GR == high_GR).all(-1)[group_A]


def token_losses(
    new_M: Tensor, old_M: Tensor, advantages_M: Tensor, answer_M: Tensor, rule: AdvantageRule
) -> tuple[Tensor, Tensor]:
    """Return the clipped loss at each token, ``[M]``, and where it clips: see `policy_gradient.policy_loss`.

    With a ratio of whole answers every token has the loss of its answer.
    """
    log_ratio_M = new_M - old_M
    if rule.ratio != "token":
        sums_A = log_ratio_M.new_zeros(int(answer_M.max()) + 1).index_add(0, answer_M, log_ratio_M)
        if rule.ratio == "rooted":
            sums_A = sums_A / torch.bincount(answer_M)
        log_ratio_M = sums_A.index_select(0, answer_M)
    return clipped(log_ratio_M.exp(), advantages_M, rule.clip, rule.clip_high)


def weights(answer_M: Tensor, rule: AdvantageRule, budget: int) -> tuple[Tensor, float]:
    """Return what each token counts, ``[M]``, and what the weighted losses of these answers are to be divided by.

    ``budget`` is the longest answer that may be written. The divisors of several batches are added up.
    """
    lengths_A = torch.bincount(answer_M)
    if rule.average == "answer":
        return (1 / lengths_A).index_select(0, answer_M), float(len(lengths_A))
    ones_M = torch.ones_like(answer_M, dtype=torch.float32)
    return ones_M, float(len(answer_M) if rule.average == "token" else len(lengths_A) * budget)


def penalty(new_M: Tensor, old_M: Tensor, reference_M: Tensor, estimator: Penalty) -> Tensor:
    """Return what each token adds to the loss for its distance from the reference, ``[M]``, with a gradient.

    With x = log pi - log pi_ref at a token drawn from the policy as it was (``old_M``):

        k3-weighted   r (exp(-x) - 1 + x), r = pi / pi_old: its gradient is that of KL(pi || pi_ref) at every update,
                      because its mean is that KL whatever pi is (DeepSeek-V3.2, 2025; TRL's default)
        k2            x^2 / 2: that gradient at the first update only, while pi is still pi_old
        k3            exp(-x) - 1 + x: as GRPO's paper has it; the gradient is that of KL(pi_ref || pi), which pulls
                      less the further the policy has gone
    """
    x_M = new_M - reference_M
    if estimator == "k2":
        return x_M.square() / 2
    k3_M = torch.expm1(-x_M) + x_M
    return k3_M if estimator == "k3" else k3_M * (new_M - old_M).exp()


def _gains(values_A: Tensor, group_A: Tensor) -> Tensor:
    """Return how far each value is above its group's mean, ``[A]``: by nothing at all where the group's are the same.

    The mean of equal numbers is off by rounding, and a spread that is rounding itself would make a gain of that.
    """
    _, mean_A = _means(values_A, group_A)
    return (values_A - mean_A).masked_fill(flat(values_A[:, None], group_A), 0.0)


def _means(values_A: Tensor, group_A: Tensor) -> tuple[Tensor, Tensor]:
    """Return the size of each answer's group, and the mean over it: ``[A]`` each."""
    count_G = torch.bincount(group_A)
    sums_G = values_A.new_zeros(len(count_G)).index_add(0, group_A, values_A)
    return count_G[group_A], (sums_G / count_G)[group_A]


def _spread(gain_A: Tensor, group_A: Tensor) -> Tensor:
    count_A, mean_A = _means(gain_A.square(), group_A)
    return (mean_A * count_A / (count_A - 1)).sqrt()
