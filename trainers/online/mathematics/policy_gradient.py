"""The mathematics of policy gradients with a KL penalty, as pure functions.

Shapes: A answers, T tokens of the longest, M tokens of all answers. What is ``[A, T]`` is filled up on the right, and
``mask_AT`` is true where a token stands. pi is the policy, q the reference, V the value function.
"""

from typing import Literal

import torch
from torch import Tensor

KL = Literal["k1", "k2", "k3"]

_EPSILON = 1e-8
_GAIN, _LARGEST_ERROR = 0.1, 0.2


def kl(policy_M: Tensor, reference_M: Tensor, estimator: KL) -> Tensor:
    """Estimate KL(pi || q) of each token from its log-probabilities: ``[M]`` (Schulman 2020, Approximating KL).

    With x = log pi - log q, of tokens drawn from pi: the value of k1 = x is unbiased, that of k2 = x^2 / 2 is biased
    and varies less, that of k3 = exp(-x) - 1 + x is unbiased and never negative.

    What a penalty does is another question: its gradient counts. Taken off the reward, as in PPO, only k1 gives the
    gradient of KL(pi || q). k2 and k3 hold tokens back by how far they are off in either direction: k2 counts a token
    that has become unlikely like one that has become likely, and k3 counts it exponentially.
    """
    x = policy_M - reference_M
    if estimator == "k1":
        return x
    return x.square() / 2 if estimator == "k2" else torch.expm1(-x) + x


def shaped_rewards(scores_A: Tensor, kl_AT: Tensor, mask_AT: Tensor, coefficient: float) -> Tensor:
    """Return the reward of each token, ``[A, T]``: ``-coefficient * kl``, and the answer's score on its last token."""
    rewards_AT = torch.where(mask_AT, -coefficient * kl_AT, 0.0)
    last_A = mask_AT.sum(1) - 1
    return rewards_AT.index_put((torch.arange(len(last_A), device=last_A.device), last_A), scores_A, accumulate=True)


def advantages(rewards_AT: Tensor, values_AT: Tensor, mask_AT: Tensor, gamma: float, lam: float) -> Tensor:
    """Return the generalised advantage estimate of each token, ``[A, T]`` (Schulman et al. 2015, equation 16).

    ``A_t = d_t + gamma lam A_(t+1)`` with ``d_t = r_t + gamma V_(t+1) - V_t``; after an answer's last token both are 0.
    ``values_AT`` are the values before each token is written. Advantages plus values are the returns.
    """
    values_AT = torch.where(mask_AT, values_AT, 0.0)
    rewards_AT = torch.where(mask_AT, rewards_AT, 0.0)
    after_A = values_AT.new_zeros(len(values_AT))
    backwards, next_value_A = [], after_A
    for reward_A, value_A in zip(reversed(rewards_AT.unbind(1)), reversed(values_AT.unbind(1)), strict=True):
        after_A = reward_A + gamma * next_value_A - value_A + gamma * lam * after_A
        next_value_A = value_A
        backwards.append(after_A)
    return torch.stack(backwards[::-1], 1)


def whiten(values_M: Tensor, among_M: Tensor) -> Tensor:
    """Shift and scale ``values_M`` by the mean and the standard deviation of ``among_M``, the whole batch."""
    return (values_M - among_M.mean()) / (among_M.var(correction=0) + _EPSILON).sqrt()


def policy_loss(
    new_M: Tensor, old_M: Tensor, advantages_M: Tensor, clip: float, clip_high: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the clipped surrogate loss of each token, ``[M]`` (Schulman et al. 2017, equation 7), and where it clips.

    ``-min(r A, clamp(r, 1 - clip, 1 + clip) A)`` with r = exp(new - old). It clips where the clamped side is smaller:
    there the token has no gradient. ``clip_high`` is another bound above (Yu et al. 2025, DAPO, equation 10).
    """
    return clipped(torch.exp(new_M - old_M), advantages_M, clip, clip if clip_high is None else clip_high)


def clipped(ratio_M: Tensor, advantages_M: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return `policy_loss` of the ratios themselves."""
    free_M, held_M = ratio_M * advantages_M, ratio_M.clamp(1 - low, 1 + high) * advantages_M
    return -torch.minimum(free_M, held_M), held_M < free_M


def value_loss(new_M: Tensor, old_M: Tensor, returns_M: Tensor, clip: float | None) -> Tensor:
    """Return the loss of each token's value, ``[M]``: ``(V - R)^2 / 2``.

    With ``clip`` the greater of that and of the same for V held within ``clip`` of what it was.
    """
    free_M = (new_M - returns_M).square()
    if clip is None:
        return free_M / 2
    held_M = (old_M + (new_M - old_M).clamp(-clip, clip) - returns_M).square()
    return torch.maximum(free_M, held_M) / 2


def explained_variance(values_M: Tensor, returns_M: Tensor) -> float:
    """Return ``1 - Var(R - V) / Var(R)``: 1 where values are the returns, 0 for a constant; NaN for equal returns."""
    spread = returns_M.var(correction=0)
    return float(1 - (returns_M - values_M).var(correction=0) / spread) if spread > 0 else float("nan")


def next_coefficient(coefficient: float, kl: float, target: float | None) -> float:
    """Return the KL coefficient of the next step (Ziegler et al. 2019, section 2.2); the same where there is no target.

    ``coefficient * (1 + 0.1 e)`` with ``e = clamp((kl - target) / target, -0.2, 0.2)``; ``kl`` is an answer's mean.
    """
    if target is None:
        return coefficient
    error = min(_LARGEST_ERROR, max(-_LARGEST_ERROR, (kl - target) / target))
    return coefficient * (1 + _GAIN * error)
