"""Group relative policy optimisation: answers to one prompt are rewarded relative to each other, without a critic.

`trainers.online.mathematics.group_advantage` has the rules, which differ in baseline, scale, ratio and average.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from trainers.config import Bounds, check_bounds
from trainers.online import experience
from trainers.online.config import OnlineConfig
from trainers.online.experience import MeasuredStep, Siblings
from trainers.online.loop import OnlineTrainer, Sums
from trainers.online.mathematics import group_advantage
from trainers.online.mathematics.group_advantage import RULES, AdvantageRule
from trainers.online.run import Online
from trainers.online.writing.rollout import Sample
from trainers.planning.records import Needs

_BOUNDS: Bounds = (("clip", 0, False), ("clip_high", 0, False), ("kl_coef", 0, True))


@dataclass
class GRPOConfig(OnlineConfig):
    """Settings of `GRPOTrainer`."""

    rule: Literal["grpo", "dr-grpo", "rloo", "dapo", "gspo"] = "dapo"
    """How advantages and loss are computed: see docs/TRAINING.md. dapo is TRL's default loss, too."""
    combine: Literal["sum", "normalised"] = "sum"
    """Whether several rewards are simply added, or each is first normalised within its group (GDPO)."""
    clip: float | None = None
    """How far a ratio may fall below 1. Default: the rule's."""
    clip_high: float | None = None
    """How far a ratio may rise above 1. Default: the rule's."""
    kl_coef: float = 0.02
    """The weight of the KL to the reference in the loss."""
    kl_estimator: Literal["k3-weighted", "k2", "k3"] = "k3-weighted"
    """How that enters the loss. k3-weighted is unbiased; k2 and k3 are biased; with rloo it is k1 in the reward."""
    samples_per_prompt: int = 8
    """Number of answers to each prompt, which form a group."""

    def __post_init__(self) -> None:
        check_bounds(self, _BOUNDS)
        if self.samples_per_prompt < 2:
            raise ValueError("samples_per_prompt is 1: an answer is compared with others; expected 2 or more")
        if self.rule == "rloo":
            self._check_rloo()
        super().__post_init__()

    def _check_rloo(self) -> None:
        """Raise `ValueError` for what has no place beside a KL that is a part of the reward."""
        if self.kl_estimator != "k3-weighted":
            raise ValueError(
                f"kl_estimator is {self.kl_estimator}, which is of a KL in the loss; rloo takes k1 off the reward: "
                "leave it out"
            )
        if self.combine == "normalised" and self.kl_coef:
            raise ValueError(
                "rloo takes the KL off the reward, and combine=normalised puts other numbers in its place: the KL "
                "would be lost; choose another rule, combine=sum, or kl_coef=0"
            )

    @property
    def chosen(self) -> AdvantageRule:
        """The rule, with the bounds that were given."""
        rule = RULES[self.rule]
        low = rule.clip if self.clip is None else self.clip
        high = self.clip_high if self.clip_high is not None else max(rule.clip_high, low)
        return replace(rule, clip=low, clip_high=high)


class GRPOTrainer(OnlineTrainer):
    """See the module's docstring."""

    args: GRPOConfig

    def measure(self, samples: list[Sample]) -> MeasuredStep:
        """See `OnlineTrainer.measure`. Groups of one, and under some rules those without spread, are left out."""
        args, prompts = self.args, experience.siblings(samples)
        old_M, entropy_M, reference_M = experience.read(self.models, prompts, args, self.accelerator)
        rows = experience.rows(self.state.global_step + 1, samples, old_M, entropy_M, reference_M)
        groups = experience.grouped(prompts, {"old": old_M, "reference": reference_M})
        compared = [group for group in groups if len(group.samples) > 1]
        learnt = self._with_advantages(compared)
        dropped = {"groups/alone": len(groups) - len(compared), "groups/flat": len(compared) - len(learnt)}
        figures = {name: float(self.total(count)) for name, count in dropped.items()}
        return MeasuredStep(learnt, rows, figures, apart=args.combine == "normalised")

    def update(self, groups: Sequence[Siblings]) -> Sums:
        """See `OnlineTrainer.update`."""
        args, rule = self.args, self.args.chosen
        answers = [len(sample.ids) for group in groups for sample in group.samples]
        everything = torch.arange(len(answers)).repeat_interleave(torch.tensor(answers, dtype=torch.long))
        total = self.total(group_advantage.weights(everything, rule, args.max_new_tokens)[1]).clamp(min=1)
        sums = {name: total.new_zeros(()) for name in ("of", "loss/policy", "loss/kl", "clip_fraction")}
        for part, row in self.parts(groups):
            old_M, reference_M = experience.column(part, "old"), experience.column(part, "reference")
            with self.accelerator.autocast():
                new_M = self.models.policy(row, args.temperature)
            gain_M = experience.column(part, "advantages")
            loss_M, clipped_M = group_advantage.token_losses(new_M, old_M, gain_M, row.answer, rule)
            apart_M = torch.zeros_like(loss_M)
            if args.kl_coef and args.rule != "rloo":
                apart_M = group_advantage.penalty(new_M, old_M, reference_M, args.kl_estimator)
            weight_M, count = group_advantage.weights(row.answer, rule, args.max_new_tokens)
            self.backward((weight_M * (loss_M + args.kl_coef * apart_M)).sum() / total, part)
            summed = (weight_M * loss_M, weight_M * apart_M, weight_M * clipped_M)
            sums["of"] += count
            for name, values_M in zip(("loss/policy", "loss/kl", "clip_fraction"), summed, strict=True):
                sums[name] += values_M.detach().sum()
        return sums

    def _with_advantages(self, groups: Sequence[Siblings]) -> list[Siblings]:
        """Give the tokens of ``groups`` their answer's advantage, and return the groups that are learnt from."""
        args, rule = self.args, self.args.chosen
        samples = [sample for group in groups for sample in group.samples]
        sizes = torch.tensor([len(group.samples) for group in groups], dtype=torch.long)
        group_A = torch.arange(len(groups)).repeat_interleave(sizes)
        rewards_A = torch.tensor([sample.counted for sample in samples], dtype=torch.float32)
        if args.combine == "normalised":
            compared_AR = self._parts(samples)
            gain_A = self._normalised(compared_AR, group_A)
        else:
            compared_AR = rewards_A[:, None]
            gain_A = group_advantage.advantages(self._less_kl(groups, rewards_A), group_A, rule)
        flat_A = group_advantage.flat(compared_AR, group_A)
        start, learnt = 0, []
        for group in groups:
            end = start + len(group.samples)
            lengths = torch.tensor([len(sample.ids) for sample in group.samples])
            gain_M = gain_A[start:end].repeat_interleave(lengths).to(group.tokens["old"].device)
            if not (rule.drops_flat and bool(flat_A[start])):
                learnt.append(Siblings(group.samples, group.tokens | {"advantages": gain_M}))
            start = end
        return learnt

    def _less_kl(self, groups: Sequence[Siblings], rewards_A: Tensor) -> Tensor:
        """Return the rewards, under rloo less the cost of each answer's KL, as its paper has it."""
        if self.args.rule != "rloo" or not self.args.kl_coef:
            return rewards_A
        apart = []
        for group in groups:
            lengths = [len(sample.ids) for sample in group.samples]
            kl_M = group.tokens["old"] - group.tokens["reference"]
            apart += [float(kl.sum()) for kl in kl_M.split(lengths)]
        return rewards_A - self.args.kl_coef * torch.tensor(apart, dtype=torch.float32)

    def _parts(self, samples: Sequence[Sample]) -> Tensor:
        """Return the rewards that each answer's is the sum of, less its penalty: ``[A, R]``."""
        parts = []
        for sample in samples:
            parts.append([part - sample.penalty for part in sample.parts])
        return torch.tensor(parts) if parts else torch.zeros(0, len(self.reward_weights))

    def _normalised(self, rewards_AR: Tensor, group_A: Tensor) -> Tensor:
        """Return the advantages of several rewards, each normalised within its group, and their sums over the step."""
        summed_A = group_advantage.normalised(rewards_AR, torch.tensor(self.reward_weights), group_A)
        everywhere_A = self.gathered(summed_A)
        spread = everywhere_A.std() if len(everywhere_A) > 1 else everywhere_A.new_zeros(())
        return (summed_A - everywhere_A.mean()) / (spread + group_advantage.EPSILON)


METHOD = Online(
    config=GRPOConfig,
    trainer=GRPOTrainer,
    about="A language model, trained by reinforcement learning (GRPO) from rewards relative to other answers.",
    rewarded=True,
    plan=Needs(reference=True, writes=True),
)
