"""What a policy learns from in one step: its answers, their rewards, and what the models say of each token.

Shapes: M answer tokens, in the order of the samples; A answers, T tokens of the longest.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from critic.chats.tokens import Segment, TokenTree
from trainers.batches.packing import Packed, packed
from trainers.online import policy_gradient
from trainers.online.actor_critic import ActorCritic
from trainers.online.alarms import refuses, repetition
from trainers.online.config import PPOConfig
from trainers.online.rollout import Sample

T = TypeVar("T")

Row = dict[str, Any]
"""An answer as ``rollouts.jsonl`` has it."""


@dataclass(eq=False)
class Group:
    """A prompt's answers that have a reward, and what is known of their tokens: ``[M]`` each."""

    samples: list[Sample]
    old: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    @property
    def where(self) -> str:
        """The prompt's place in the input."""
        return self.samples[0].task.ask.where


def batch(prompts: Iterable[Sequence[Sample]], device: torch.device) -> Packed:
    """Put prompts, each with its answers, into one row: the very tokens that were read and drawn."""
    trees = [
        TokenTree((Segment(samples[0].task.ask.ids, -1), *(Segment(s.ids, 0) for s in samples)), ())
        for samples in prompts
    ]
    return packed(trees).to(device)


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield ``items``, ``size`` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


@torch.no_grad()
def read(
    models: ActorCritic, prompts: Sequence[list[Sample]], config: PPOConfig, accelerator: Accelerator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return each token's log-probability, entropy, log-probability by the reference, and value: ``[M]`` each."""
    models.train(False)
    found, heat = [], config.temperature
    for part in in_parts(prompts, config.per_device_train_batch_size):
        row = batch(part, accelerator.device)
        with accelerator.autocast():
            old_M, entropy_M = models.policy(row, heat, entropy=True).unbind(-1)
            found.append(torch.stack([old_M, entropy_M, models.reference(row, heat), models.values(row)]))
    old_M, entropy_M, reference_M, values_M = torch.cat(found, 1).unbind()
    return old_M, entropy_M, reference_M, values_M


def advantages(
    samples: Sequence[Sample], kl_M: Tensor, values_M: Tensor, coefficient: float, config: PPOConfig
) -> Tensor:
    """Return the advantage of each token, ``[M]``, with ``coefficient`` times the KL taken off the rewards."""
    device = kl_M.device
    lengths_A = torch.tensor([len(sample.ids) for sample in samples], device=device)
    scores_A = torch.tensor([sample.reward for sample in samples], device=device)
    mask_AT = torch.arange(int(lengths_A.max()), device=device) < lengths_A[:, None]
    kl_AT, values_AT = (x.new_zeros(mask_AT.shape).masked_scatter(mask_AT, x) for x in (kl_M, values_M))
    rewards_AT = policy_gradient.shaped_rewards(scores_A, kl_AT, mask_AT, coefficient)
    return policy_gradient.advantages(rewards_AT, values_AT, mask_AT, config.gamma, config.lam)[mask_AT]


def rows(step: int, samples: Sequence[Sample], kl_M: Tensor, entropy_M: Tensor, old_M: Tensor) -> list[Row]:
    """Return a row for each of ``samples``; the tokens are those of the samples that have a reward."""
    lengths = [len(sample.ids) for sample in samples if sample.reward is not None]
    measured = zip(*(torch.split(x.cpu(), lengths) for x in (kl_M, entropy_M, old_M)), strict=True)
    found = []
    for sample in samples:
        ask = sample.task.ask
        row: Row = {"step": step, "where": ask.where, "prompt": ask.prompt.messages[-1].content}
        row |= {"answer": sample.text, "tokens": len(sample.ids), "reward": sample.reward}
        if sample.reward is None:
            row["problem"] = sample.problem
        else:
            kl, entropy, old = next(measured)
            row |= {"kl": float(kl.sum()), "entropy": float(entropy.sum())}
            row |= {"repetition": repetition(sample.ids), "refused": refuses(sample.text)}
            row["drift"] = float((torch.tensor(sample.logprobs) - old).abs().mean())
        found.append(row)
    return found


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """Return the figures of a step. ``drift`` is how far the writer's log-probabilities are off, in nats a token."""
    good = [row for row in rows if row["reward"] is not None]
    rewards = [row["reward"] for row in good]
    means = {name: fmean(row[name] for row in good) for name in ("kl", "repetition", "drift")}
    return {
        "reward": fmean(rewards),
        "reward_std": pstdev(rewards),
        **means,
        "entropy": sum(row["entropy"] for row in good) / sum(row["tokens"] for row in good),
        "length": fmean(row["tokens"] for row in good),
        "refusals": fmean(row["refused"] for row in good),
        "without_reward": float(len(rows) - len(good)),
    }
