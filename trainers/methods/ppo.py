"""Proximal policy optimisation (Schulman et al. 2017) with a KL penalty in the reward, and a model of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from trainers.config import Bounds, check_bounds
from trainers.online import experience
from trainers.online.config import OnlineConfig
from trainers.online.experience import MeasuredStep, Siblings
from trainers.online.loop import OnlineTrainer, Sums
from trainers.online.mathematics import policy_gradient
from trainers.online.run import Online
from trainers.online.writing.rollout import Sample
from trainers.planning.records import Needs

_BOUNDS: Bounds = (
    ("clip", 0, False), ("value_clip", 0, False), ("value_coef", 0, True), ("gamma", 0, True), ("lam", 0, True),
    ("kl_coef", 0, True), ("kl_target", 0, False),
)  # fmt: skip


@dataclass
class PPOConfig(OnlineConfig):
    """Settings of `PPOTrainer`."""

    epochs: int = 2
    """How many times each step learns from its answers."""
    minibatches: int = 4
    """The number of updates in an epoch."""
    clip: float = 0.2
    """How far a ratio may move away from 1."""
    value_clip: float | None = 0.2
    """How far a value may move away from what it was."""
    value_coef: float = 0.1
    """The weight of the loss of the values."""
    gamma: float = 1.0
    """The discount per token."""
    lam: float = 0.95
    """The weight of later tokens in generalised advantage estimation."""
    kl_coef: float = 0.05
    """The weight of the KL in the reward."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """The estimator of the penalised KL. Only k1 gives the gradient of KL; k2 and k3 are biased, but vary less."""
    kl_target: float | None = None
    """The KL of an answer, in nats, that ``kl_coef`` adapts to; without it the coefficient is fixed."""
    whiten: bool = True
    """Whether advantages are shifted and scaled to mean 0 and standard deviation 1 over a step."""

    def __post_init__(self) -> None:
        check_bounds(self, _BOUNDS)
        if self.gamma > 1 or self.lam > 1:
            raise ValueError(f"gamma is {self.gamma} and lam is {self.lam}; expected at most 1")
        if self.kl_target is not None and not self.kl_coef:
            raise ValueError("kl_coef is 0, and kl_target multiplies it: nothing would adapt; give a kl_coef above 0")
        super().__post_init__()


class PPOTrainer(OnlineTrainer):
    """See the module's docstring.

    ``kl_coef`` is what a nat of KL costs now. Before the first step, values are shifted to the mean of its rewards:
    from 0, on a judge's scale of 1 to 10, advantages would tell tokens apart by their position alone.
    """

    critic = True
    args: PPOConfig

    def __init__(self, model: Any, args: PPOConfig, *others: Any, **named: Any) -> None:
        self.kl_coef = args.kl_coef
        super().__init__(model, args, *others, **named)

    def measure(self, samples: list[Sample]) -> MeasuredStep:
        """See `OnlineTrainer.measure`."""
        args, prompts = self.args, experience.siblings(samples)
        old_M, entropy_M, reference_M = experience.read(self.models, prompts, args, self.accelerator)
        values_M = self._values(prompts)
        kl_M = policy_gradient.kl(old_M, reference_M, args.kl_estimator)
        good = [sample for prompt in prompts for sample in prompt]
        advantages_M = advantages(good, kl_M, values_M, self.kl_coef, args)
        returns_M = advantages_M + values_M
        everywhere = self.gathered(torch.stack([advantages_M, values_M, returns_M]))
        if args.whiten:
            advantages_M = policy_gradient.whiten(advantages_M, everywhere[0])
        tokens = {"old": old_M, "values": values_M, "advantages": advantages_M, "returns": returns_M}
        explained = policy_gradient.explained_variance(everywhere[1], everywhere[2])
        rows = experience.rows(self.state.global_step + 1, samples, old_M, entropy_M, reference_M)
        figures = {"explained_variance": explained, "kl_coef": self.kl_coef}
        return MeasuredStep(experience.grouped(prompts, tokens), rows, figures)

    def update(self, groups: Sequence[Siblings]) -> Sums:
        """See `OnlineTrainer.update`."""
        args = self.args
        total = self.total(sum(len(group.tokens["old"]) for group in groups)).clamp(min=1)
        sums = {name: total.new_zeros(()) for name in ("of", "loss/policy", "loss/value", "clip_fraction")}
        for part, row in self.parts(groups):
            old_M, values_M = experience.column(part, "old"), experience.column(part, "values")
            gain_M, returns_M = experience.column(part, "advantages"), experience.column(part, "returns")
            with self.accelerator.autocast():
                new_M = self.models.policy(row, args.temperature)
            loss_M, clipped_M = policy_gradient.policy_loss(new_M, old_M, gain_M, args.clip)
            # Each goes backward before the other begins: with adapters, the base computes as one or as the other.
            self.backward(loss_M.sum() / total, part)
            with self.accelerator.autocast():
                guess_M = self.models.values(row)
            worth_M = policy_gradient.value_loss(guess_M, values_M, returns_M, args.value_clip)
            self.backward(args.value_coef * worth_M.sum() / total, part)
            summed = (torch.ones_like(loss_M), loss_M, worth_M, clipped_M)
            for name, values in zip(sums, summed, strict=True):
                sums[name] += values.detach().sum()
        return sums

    def stepped(self, figures: Mapping[str, float]) -> None:
        """Adapt the coefficient of the KL to the KL that the step had."""
        self.kl_coef = policy_gradient.next_coefficient(self.kl_coef, figures["kl"], self.args.kl_target)

    def kept(self) -> dict[str, Any]:
        """See `OnlineTrainer.kept`."""
        return {"kl_coef": self.kl_coef}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """See `OnlineTrainer.restore`."""
        self.kl_coef = kept["kl_coef"]

    def _values(self, prompts: Sequence[list[Sample]]) -> Tensor:
        """Return the value before each token; before the first step, shifted so that their mean is the rewards'."""
        values_M = experience.read_values(self.models, prompts, self.args, self.accelerator)
        if self.state.global_step:
            return values_M
        rewards_A = values_M.new_tensor([sample.counted for prompt in prompts for sample in prompt])
        shift = float(self.gathered(rewards_A).mean() - self.gathered(values_M).mean())
        self.models.shift_values(shift)
        return values_M + shift


def advantages(
    samples: Sequence[Sample], kl_M: Tensor, values_M: Tensor, coefficient: float, config: PPOConfig
) -> Tensor:
    """Return the advantage of each token, ``[M]``, with ``coefficient`` times the KL taken off the rewards."""
    if not samples:  # none of this process's answers has a reward
        return torch.zeros_like(kl_M)
    device = kl_M.device
    lengths_A = torch.tensor([len(sample.ids) for sample in samples], device=device)
    scores_A = torch.tensor([sample.counted for sample in samples], device=device)
    mask_AT = torch.arange(int(lengths_A.max()), device=device) < lengths_A[:, None]
    kl_AT, values_AT = (x.new_zeros(mask_AT.shape).masked_scatter(mask_AT, x) for x in (kl_M, values_M))
    rewards_AT = policy_gradient.shaped_rewards(scores_A, kl_AT, mask_AT, coefficient)
    return policy_gradient.advantages(rewards_AT, values_AT, mask_AT, config.gamma, config.lam)[mask_AT]


METHOD = Online(
    config=PPOConfig,
    trainer=PPOTrainer,
    about="A language model, trained by reinforcement learning (PPO) from a reward.",
    rewarded=True,
    plan=Needs(reference=True, critic=True, writes=True),
)
