"""What a policy learns from in one step: its answers, their rewards, and what the models say of each token.

Shapes: M answer tokens, in the order of the samples; A answers, T tokens of the longest.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean, pstdev
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from base.digest import seed_of
from base.errors import InputError
from critic.chats.tokens import Segment, TokenTree
from trainers.batches.packing import Packed, packed
from trainers.online.alarms import refuses, repetition
from trainers.online.config import OnlineConfig
from trainers.online.models import ActorCritic
from trainers.online.writing.rollout import Sample

T = TypeVar("T")

Row = dict[str, Any]
"""An answer as ``rollouts.jsonl`` has it."""


CUT = "it was cut at max_new_tokens"
"""Why an answer that did not end is left out, where such answers are."""


class NoReward(InputError):
    """Not one answer of a step has a reward: all processes know of it."""


def require_rewards(samples: Sequence[Sample], step: int) -> None:
    """Raise `NoReward` in all processes where no answer of ``step`` has a reward, in any; ``samples`` are of one."""
    told = None
    if all(sample.reward is None for sample in samples):
        told = f"step {step}, {samples[0].task.ask.where}", samples[0].problem, {sample.problem for sample in samples}
    everywhere = gather_object([told])
    if None in everywhere:
        return
    where, problem, _ = everywhere[0]
    problems = set[str]().union(*(problems for _, _, problems in everywhere))
    raise NoReward(
        f"no answer has a reward; the first: {problem}",
        where=where,
        fix="raise max_new_tokens, or choose unfinished=penalise, and another output_dir"
        if problems == {CUT}
        else "look at the reward's source; the same command goes on with this step",
    )


@dataclass(eq=False)
class Siblings:
    """A prompt's answers that are learnt from, and what is known of their tokens, ``[M]`` each, by name."""

    samples: list[Sample]
    tokens: dict[str, Tensor]

    @property
    def key(self) -> str:
        """The prompt's own key, unlike any other prompt's."""
        return self.samples[0].task.ask.prompt.key

    @property
    def where(self) -> str:
        """The prompt's place in the input."""
        return self.samples[0].task.ask.where


@dataclass
class MeasuredStep:
    """What a step's answers come to: groups to learn from, a row for each of this process's answers, and figures.

    ``apart`` says that several rewards are compared each by itself, and not their sums.
    """

    groups: Sequence[Siblings]
    rows: list[Row]
    figures: dict[str, float] = field(default_factory=dict)
    apart: bool = False


def column(groups: Sequence[Siblings], name: str) -> Tensor:
    """Return one thing that is known of the tokens of all ``groups``: ``[M]``."""
    return torch.cat([group.tokens[name] for group in groups])


def siblings(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Return the samples that have a reward, by prompt: those of one prompt stand one after the other."""
    good = (sample for sample in samples if sample.reward is not None)
    return [list(group) for _, group in groupby(good, lambda sample: sample.task.ask)]


def grouped(prompts: Sequence[list[Sample]], tokens: Mapping[str, Tensor]) -> list[Siblings]:
    """Return the groups of ``prompts``, whose tokens' figures stand in ``tokens`` one after the other."""
    sizes = []
    for prompt in prompts:
        sizes.append(sum(len(sample.ids) for sample in prompt))
    parts = {name: torch.split(values_M, sizes) for name, values_M in tokens.items()}
    siblings = []
    for number, own in enumerate(prompts):
        siblings.append(Siblings(own, {name: values[number] for name, values in parts.items()}))
    return siblings


def minibatches(groups: Sequence[Siblings], config: OnlineConfig, step: int) -> Iterator[list[Siblings]]:
    """Yield this process's groups of each minibatch of ``step``: ``epochs`` times over all, in a new order each time.

    Which prompts make a minibatch is drawn from those of all processes, so that it doesn't depend on how many there
    are. Each takes its own of them, which may be none.
    """
    mine = {group.key: group for group in groups}
    everywhere = sorted(gather_object(list(mine)))
    for epoch in range(config.epochs):
        seed = seed_of(config.seed, "minibatches", step, epoch)
        order = torch.randperm(len(everywhere), generator=torch.Generator().manual_seed(seed)).tolist()
        for part in range(config.minibatches):
            keys = [everywhere[place] for place in order[part :: config.minibatches]]
            yield [mine[key] for key in keys if key in mine]


def batch(prompts: Iterable[Sequence[Sample]], device: torch.device) -> Packed:
    """Put prompts, each with its answers, into one row: the very tokens that were read and drawn."""
    trees = []
    for samples in prompts:
        trees.append(TokenTree((Segment(samples[0].task.ask.ids, -1), *(Segment(s.ids, 0) for s in samples)), ()))
    return packed(trees).to(device)


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield ``items``, ``size`` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


@torch.no_grad()
def read(
    models: ActorCritic, prompts: Sequence[list[Sample]], config: OnlineConfig, accelerator: Accelerator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each token's log-probability, entropy, and log-probability by the reference: ``[M]`` each.

    Of a process whose answers all have no reward there are no ``prompts``.
    """
    models.train(False)
    heat, parts = config.temperature, [torch.zeros(3, 0, device=accelerator.device)]  # there may be no prompts
    for part in in_parts(prompts, config.per_device_train_batch_size):
        row = batch(part, accelerator.device)
        with accelerator.autocast():
            old_M, entropy_M = models.policy(row, heat, entropy=True).unbind(-1)
            parts.append(torch.stack([old_M, entropy_M, models.reference(row, heat)]))
    old_M, entropy_M, reference_M = torch.cat(parts, 1).unbind()
    return old_M, entropy_M, reference_M


@torch.no_grad()
def read_values(
    models: ActorCritic, prompts: Sequence[list[Sample]], config: OnlineConfig, accelerator: Accelerator
) -> Tensor:
    """Return the value before each token: ``[M]``."""
    models.train(False)
    parts = [torch.zeros(0, device=accelerator.device)]  # there may be no prompts
    for part in in_parts(prompts, config.per_device_train_batch_size):
        row = batch(part, accelerator.device)
        with accelerator.autocast():
            parts.append(models.values(row))
    return torch.cat(parts)


def per_token(prompts: Sequence[list[Sample]], values_A: Tensor) -> Tensor:
    """Return a number of each answer at each of its tokens: ``[M]``."""
    lengths = [len(sample.ids) for prompt in prompts for sample in prompt]
    return values_A.repeat_interleave(torch.tensor(lengths, device=values_A.device))


def rows(step: int, samples: Sequence[Sample], old_M: Tensor, entropy_M: Tensor, reference_M: Tensor) -> list[Row]:
    """Return a row for each of ``samples``; the tokens are those of the samples that have a reward.

    ``key`` is the prompt's own, by which its answers are told from those to others (`critic.records.Prompt.key`).
    ``kl`` is the sum of log pi - log pi_ref over an answer, in nats: its mean is the KL itself, whatever is penalised.
    """
    kl_M = old_M - reference_M
    lengths = [len(sample.ids) for sample in samples if sample.reward is not None]
    measured = zip(*(torch.split(x.cpu(), lengths) for x in (kl_M, entropy_M, old_M)), strict=True)
    rows = []
    for sample in samples:
        ask = sample.task.ask
        row: Row = {"step": step, "where": ask.where, "key": ask.prompt.key}
        row["prompt"] = ask.prompt.messages[-1].content
        row |= {"answer": sample.text, "tokens": len(sample.ids), "ended": sample.ended}
        row |= {"reward": sample.reward}
        if sample.reward is None:
            row["problem"] = sample.problem
        else:
            kl, entropy, old = next(measured)
            row |= {"kl": float(kl.sum()), "entropy": float(entropy.sum())}
            if sample.penalty:
                row["penalty"] = sample.penalty
            if len(sample.parts) > 1:
                row["rewards"] = list(sample.parts)
            if sample.error is not None:
                row["reward_error"] = sample.error
            row |= {"repetition": repetition(sample.ids), "refused": refuses(sample.text)}
            if sample.logprobs:
                row["drift"] = float((torch.tensor(sample.logprobs) - old).abs().mean())
        rows.append(row)
    return rows


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """Return the figures of a step. ``drift`` is how far the writer's log-probabilities are off, in nats a token."""
    good = [row for row in rows if row["reward"] is not None]
    rewards = [row["reward"] for row in good]
    means = {}
    for name in ("kl", "repetition"):
        means[name] = fmean(row[name] for row in good)
    if drifts := [row["drift"] for row in good if "drift" in row]:
        means["drift"] = fmean(drifts)
    length = fmean(row["tokens"] for row in good)
    refusals = fmean(row["refused"] for row in good)
    unfinished = fmean(not row["ended"] for row in rows)
    entropy = sum(row["entropy"] for row in good)
    tokens = sum(row["tokens"] for row in good)
    return {
        "reward": fmean(rewards),
        "reward_std": pstdev(rewards),
        **means,
        "entropy": entropy / tokens,
        "length": length,
        "refusals": refusals,
        "length_correlation": _within(good, "tokens"),
        "unfinished": unfinished,
        "without_reward": float(len(rows) - len(good)),
    }


def spread(rows: Sequence[Row], among_siblings: bool, apart: bool = False) -> float:
    """Return the standard deviation of what answers that have a reward count: what there is to learn from.

    That of all, or the mean of those among the answers to one prompt. ``apart``: several rewards are compared each by
    itself, and the greatest spread of them counts.
    """
    if not among_siblings:
        return pstdev(_counted(row)[0] for row in rows)
    return fmean(_widest(answers, apart) for answers in _by_prompt(rows))


def _widest(rows: Sequence[Row], apart: bool) -> float:
    rewards = [_counted(row, apart) for row in rows]
    spreads: list[float] = [pstdev(column) for column in zip(*rewards, strict=True)]
    return max(spreads)


def _counted(row: Row, apart: bool = False) -> list[float]:
    rewards = row.get("rewards") if apart else None
    return [float(reward - row.get("penalty", 0.0)) for reward in rewards or [row["reward"]]]


def _by_prompt(rows: Sequence[Row]) -> Iterable[list[Row]]:
    by_prompt: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_prompt[row["key"]].append(row)  # files of one name in two folders have the same places
    return by_prompt.values()


def _within(rows: Sequence[Row], name: str) -> float:
    """Return the correlation of the reward with figure ``name`` among the answers to a prompt; 0 without any spread."""
    products: list[tuple[float, float, float]] = []
    for answers in _by_prompt(rows):
        means = []
        for key in ("reward", name):
            means.append(fmean(row[key] for row in answers))
        for row in answers:
            x, y = row["reward"] - means[0], row[name] - means[1]
            products.append((x * y, x * x, y * y))
    both, first, second = (math.fsum(values) for values in zip(*products, strict=True))
    return both / math.sqrt(first * second) if first * second > 0 else 0.0
