"""Critic-free policy gradients: by hand, against TRL's own code on one batch, and against exact gradients."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.online.mathematics import group_advantage
from trainers.online.mathematics.group_advantage import (
    RULES,
    AdvantageRule,
    advantages,
    flat,
    normalised,
    penalty,
    token_losses,
    weights,
)

REWARDS = torch.tensor([1.0, 3.0, 5.0, 2.0, 2.0, 2.0])
GROUPS = torch.tensor([0, 0, 0, 1, 1, 1])
LENGTHS = (5, 2, 7, 3)
BUDGET = 9
ANSWER = torch.arange(4).repeat_interleave(torch.tensor(LENGTHS))


def test_advantages_by_hand() -> None:
    """Rewards 1, 3, 5: mean 3, spread 2; of the first the others' mean is 4, of the last 2."""
    by_hand = advantages(REWARDS, GROUPS, RULES["grpo"])
    assert by_hand.tolist() == pytest.approx([-2 / 2.0001, 0, 2 / 2.0001, 0, 0, 0])
    assert advantages(REWARDS, GROUPS, RULES["dr-grpo"]).tolist() == [-2, 0, 2, 0, 0, 0]
    assert advantages(REWARDS, GROUPS, RULES["rloo"]).tolist() == [-3, 0, 3, 0, 0, 0]
    assert flat(REWARDS[:, None], GROUPS).tolist() == [False] * 3 + [True] * 3
    assert flat(REWARDS[:0, None], GROUPS[:0]).tolist() == []


def test_a_reward_of_great_spread_does_not_drown_another_that_is_normalised() -> None:
    both = torch.stack([REWARDS * 1000, REWARDS.flip(0)], -1)
    rewards = normalised(both, torch.tensor([1.0, 0.5]), GROUPS)
    assert rewards.tolist() == pytest.approx([-1, 0, 1, 0.5, 0, -0.5], abs=1e-3)


@pytest.mark.parametrize("reward", [0.1, 7.3, 1000.3])
def test_of_equal_rewards_nothing_is_learnt_not_even_from_rounding(reward: float) -> None:
    """In float32 the mean of seven equal numbers is not that number, and a spread that is rounding divides it."""
    rewards = torch.full((14,), reward)
    rewards[7:] += 0.7
    groups = torch.arange(2).repeat_interleave(7)
    for rule in RULES.values():
        assert advantages(rewards, groups, rule).tolist() == [0] * 14
    assert normalised(rewards[:, None], torch.ones(1), groups).tolist() == [0] * 14


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities of 17 tokens now, as they were, and by the reference; and the advantages of four answers."""
    generator = torch.Generator().manual_seed(3)
    old, change, apart = (torch.randn(len(ANSWER), generator=generator, dtype=torch.float64) for _ in range(3))
    old = -old.abs() - 0.1
    gains = torch.tensor([1.2, -0.7, 0.4, -1.5], dtype=torch.float64)
    return (old + 0.3 * change).requires_grad_(), old, old + 0.2 * apart, gains


def ours(rule: AdvantageRule, kl_coef: float, estimator: group_advantage.Penalty) -> tuple[float, Tensor]:
    """The loss of the batch as the trainer makes it, and its gradient by the log-probabilities."""
    new, old, reference, gains = drawn()
    loss, _ = token_losses(new, old, gains[ANSWER], ANSWER, rule)
    loss = loss + kl_coef * penalty(new, old, reference, estimator) if kl_coef else loss
    weight, count = weights(ANSWER, rule, BUDGET)
    total = (weight * loss).sum() / count
    total.backward()
    assert new.grad is not None
    return float(total.detach()), new.grad


class Accelerator:
    """What TRL's losses ask of accelerate, in one process."""

    num_processes = 1

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor

    def reduce(self, tensor: Tensor, reduction: str = "sum") -> Tensor:
        return tensor


def filled(values: Tensor) -> Tensor:
    """Rows of answers, filled up on the right with 0."""
    return torch.nn.utils.rnn.pad_sequence(list(values.split(LENGTHS)), batch_first=True)


def theirs(kind: Any, **attributes: Any) -> tuple[float, Tensor]:
    """The loss that TRL's trainer computes of the same numbers, and its gradient."""
    new, old, reference, gains = drawn()
    mask = filled(torch.ones(len(ANSWER)))
    trainer = object.__new__(kind)
    args = SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1)
    args.use_bias_correction_kl = attributes.pop("corrected", False)
    same = {
        "args": args, "accelerator": Accelerator(), "model": SimpleNamespace(training=True), "use_vllm": False,
        "aux_loss_enabled": False, "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None, "beta": 0.0,
        "_entropy_bonus_enabled": False, "_metrics": {"train": defaultdict(list)}, "max_completion_length": BUDGET,
        "current_gradient_accumulation_steps": 1, "importance_sampling_level": "token",
    }  # fmt: skip
    for name, value in (same | attributes).items():
        object.__setattr__(trainer, name, value)
    logps = filled(new)
    trainer._get_per_token_logps_and_entropies = lambda *a, **b: (logps, torch.zeros_like(logps), None)
    inputs = {
        "prompt_ids": torch.zeros(4, 1), "prompt_mask": torch.ones(4, 1), "completion_ids": torch.zeros_like(mask),
        "completion_mask": mask, "advantages": gains, "old_per_token_logps": filled(old),
        "ref_per_token_logps": filled(reference), "num_items_in_batch": mask.sum(),
        "old_logps": (filled(old) * mask).sum(1),
    }  # fmt: skip
    loss = kind._compute_loss(trainer, None, inputs)
    loss.backward()
    assert new.grad is not None
    return float(loss.detach()), new.grad


GRPO: dict[str, dict[str, Any]] = {
    "grpo": {"loss_type": "grpo"},
    "dr-grpo": {"loss_type": "dr_grpo"},
    "dapo": {"loss_type": "dapo"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
}


# All but GSPO with the weighted estimator, where TRL weighs the KL by another ratio: docs/TRAINING.md.
PENALTIES: list[tuple[float, group_advantage.Penalty]] = [(0.0, "k3"), (0.3, "k3"), (0.3, "k3-weighted")]
SAME = [(name, *how) for name in GRPO for how in PENALTIES if (name, how[1]) != ("gspo", "k3-weighted")]


@pytest.mark.slow  # importing TRL takes seconds
@pytest.mark.parametrize(("name", "kl_coef", "estimator"), SAME)
def test_the_loss_is_trl_s(name: str, kl_coef: float, estimator: group_advantage.Penalty) -> None:
    """Value and gradient, relative 1e-5. With GSPO's ratio TRL weighs the KL by the ratio of the whole answer."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    rule = RULES[name]
    settings = {"beta": kl_coef, "epsilon_low": rule.clip, "epsilon_high": rule.clip_high} | GRPO[name]
    loss, gradient = theirs(GRPOTrainer, corrected=estimator == "k3-weighted", **settings)
    our_loss, own = ours(rule, kl_coef, estimator)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(own, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_rloo_s_loss_is_trl_s() -> None:
    from trl.trainer.rloo_trainer import RLOOTrainer

    rule = RULES["rloo"]
    loss, gradient = theirs(RLOOTrainer, epsilon_low=rule.clip, epsilon_high=rule.clip_high)
    our_loss, own = ours(rule, 0.0, "k3")
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(own, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("estimator", "moved", "right"),
    [("k3-weighted", 0.0, True), ("k3-weighted", 0.5, True), ("k2", 0.0, True), ("k2", 0.5, False), ("k3", 0.0, False)],
)
def test_which_penalty_has_the_gradient_of_kl(estimator: group_advantage.Penalty, moved: float, right: bool) -> None:
    """Of one token of five: the mean over the tokens that pi_old draws, beside the exact gradient of KL(pi || ref)."""
    generator = torch.Generator().manual_seed(1)
    logits, reference, change = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(3))
    old = (logits - moved * change).log_softmax(-1)
    reference = reference.log_softmax(-1)
    logits.requires_grad_()
    new = logits.log_softmax(-1)
    (exact,) = torch.autograd.grad((new.exp() * (new - reference)).sum(), logits, retain_graph=True)
    (gradient,) = torch.autograd.grad((old.exp() * penalty(new, old, reference, estimator)).sum(), logits)
    assert torch.allclose(gradient, exact, atol=1e-9) is right


def test_how_answers_are_split_among_batches_changes_nothing() -> None:
    """What the weights are divided by adds up."""
    for rule in RULES.values():
        weight, count = weights(ANSWER, rule, BUDGET)
        first = ANSWER < 2
        parts = [weights(ANSWER[first], rule, BUDGET), weights(ANSWER[~first] - 2, rule, BUDGET)]
        assert torch.equal(torch.cat([part for part, _ in parts]), weight)
        assert sum(part for _, part in parts) == count
