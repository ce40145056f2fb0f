"""Online direct preference optimisation (Guo et al. 2024): the policy writes, a judge compares, and DPO learns from it.

All pairs of a prompt's answers are learnt from, each with a soft label: the probability of Bradley and Terry that the
first is better, sigma(r_1 - r_2). Rewards are log-odds already where a judge compares, or a reward model was trained on
pairs; a judge's point counts as one, too (`critic.judging.modes.score`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trainers import losses
from trainers.config import Bounds, check_bounds
from trainers.online import experience
from trainers.online.config import OnlineConfig
from trainers.online.experience import MeasuredStep, Siblings
from trainers.online.loop import OnlineTrainer, Sums
from trainers.online.run import Online
from trainers.online.writing.rollout import Sample
from trainers.planning.records import Needs

_BOUNDS: Bounds = (("beta", 0, False), ("scale", 0, False))


@dataclass
class OnlineDPOConfig(OnlineConfig):
    """Settings of `OnlineDPOTrainer`."""

    beta: float = 0.1
    """How strongly the policy is held to its reference, which is the policy before the first step."""
    scale: float = 1.0
    """How many units of reward equal one log-odds of being better."""
    samples_per_prompt: int = 2
    """Number of answers to each prompt; the policy learns from all pairs of them."""

    def __post_init__(self) -> None:
        check_bounds(self, _BOUNDS)
        if self.samples_per_prompt < 2:
            raise ValueError("samples_per_prompt is 1: an answer is compared with another; expected 2 or more")
        super().__post_init__()


class OnlineDPOTrainer(OnlineTrainer):
    """See the module's docstring. A prompt counts as one, however many pairs its answers make."""

    args: OnlineDPOConfig

    def measure(self, samples: list[Sample]) -> MeasuredStep:
        """See `OnlineTrainer.measure`. A prompt with one answer that has a reward has no pair, and is left out."""
        prompts = experience.siblings(samples)
        old_M, entropy_M, reference_M = experience.read(self.models, prompts, self.args, self.accelerator)
        rows = experience.rows(self.state.global_step + 1, samples, old_M, entropy_M, reference_M)
        groups = experience.grouped(prompts, {"reference": reference_M})
        compared = [group for group in groups if len(group.samples) > 1]
        return MeasuredStep(compared, rows, {"groups/alone": float(self.total(len(groups) - len(compared)))})

    def update(self, groups: Sequence[Siblings]) -> Sums:
        """See `OnlineTrainer.update`."""
        args, total = self.args, self.total(len(groups)).clamp(min=1)
        names = ("loss/policy", "rewards/margins", "rewards/accuracies")
        sums = {name: total.new_zeros(()) for name in ("of", *names)}
        for part, row in self.parts(groups):
            with self.accelerator.autocast():
                new_M = self.models.policy(row, args.temperature)
            change_A = row.sums(new_M - experience.column(part, "reference"))
            reward_A = new_M.new_tensor([sample.counted for group in part for sample in group.samples])
            sizes = [len(group.samples) for group in part]
            parts = []
            for change_K, reward_K in zip(change_A.split(sizes), reward_A.split(sizes), strict=True):
                first, second = torch.triu_indices(len(reward_K), len(reward_K), 1, device=new_M.device)
                lead = change_K[first] - change_K[second]
                label = torch.sigmoid((reward_K[first] - reward_K[second]) / args.scale)
                towards = lead.detach() * torch.sign(label - 0.5)
                right = (towards > 0).float() + 0.5 * (towards == 0).float()
                parts.append(torch.stack([losses.dpo(lead, label, args.beta), args.beta * towards, right]).mean(1))
            figures_3 = torch.stack(parts).sum(0)
            self.backward(figures_3[0] / total, part)
            sums["of"] += len(part)
            for name, value in zip(names, figures_3.detach(), strict=True):
                sums[name] += value
        return sums


METHOD = Online(
    config=OnlineDPOConfig,
    trainer=OnlineDPOTrainer,
    about="A language model, trained by online direct preference optimisation on answers of its own.",
    rewarded=True,
    plan=Needs(reference=True, writes=True),
)
