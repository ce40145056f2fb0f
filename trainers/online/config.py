"""Settings that all methods share whose policy writes what it learns from."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from trainers.config import WITHOUT_EFFECT, Bounds, TrainConfig, check_bounds

_BOUNDS: Bounds = (
    ("max_steps", 1, True), ("prompts_per_step", 1, True), ("samples_per_prompt", 1, True),
    ("max_new_tokens", 1, True), ("rollout_batch", 1, True), ("epochs", 1, True), ("minibatches", 1, True),
    ("temperature", 0, False), ("eval_steps", 1, True), ("unfinished_penalty", 0, True), ("opponents", 1, True),
    ("alarm_window", 1, True), ("alarm_flat", 1, True), ("alarm_kl", 0, False), ("alarm_length", 1, False),
    ("alarm_length_correlation", 0, False), ("alarm_repetition", 0, False), ("alarm_refusals", 0, False),
    ("alarm_entropy", 0, False), ("alarm_phrase", 0, False), ("alarm_heldout", 0, False),
    ("alarm_disagreement", 0, False), ("save_steps", 0, False),
)  # fmt: skip
_SHARES = ("alarm_length_correlation", "alarm_repetition", "alarm_refusals", "alarm_entropy", "alarm_phrase")
"""Limits of figures that lie between 0 and 1: from 1 on, an alarm would never be raised, or always be."""

# Settings that this loop has no place for, beside those of `trainers.config`: what belongs to epochs over rows and to
# evaluations of a loss, and what transformers' own loop does.
_WITHOUT_EFFECT = (
    "num_train_epochs", "gradient_accumulation_steps", "fp16", "fsdp", "deepspeed", "load_best_model_at_end",
    "metric_for_best_model", "greater_is_better", "torch_compile", "row_tokens", "eval_strategy",
    "eval_on_start", "eval_delay", "neftune_noise_alpha", "use_liger_kernel", "train_sampling_strategy", "data_seed",
    "dataloader_drop_last", "ignore_data_skip", "full_determinism", "gradient_checkpointing_kwargs",
)  # fmt: skip


@dataclass
class OnlineConfig(TrainConfig):
    """See the module's docstring. ``data`` and ``eval_data`` are files of prompts, as `cai generate` reads them.

    ``per_device_train_batch_size`` is how many prompts, with all of their answers, go through the model at once.
    """

    without_effect: ClassVar[tuple[str, ...]] = (*WITHOUT_EFFECT, *_WITHOUT_EFFECT)
    deals_out: ClassVar[bool] = False  # a step's prompts are shared out

    reward: str = ""
    """What gives the reward: rm:PATH, verify:RULE, a reward server's URL or, with principles, any engine as a judge."""
    principles: str | None = None
    """The constitution under which a judge gives rewards."""
    more_rewards: list[dict[str, Any]] = field(default_factory=list)
    """Further rewards, each as {reward: SPEC, principles: FILE, weight: 0.5}. The first reward has weight 1."""
    judge_by: Literal["score", "comparison"] = "score"
    """Whether a judge scores each answer alone, or compares the answers to a prompt (in a connected tournament)."""
    judge_mode: str | None = None
    """With judge_by=comparison: the judge mode, by default that of its engine."""
    opponents: int = 2
    """With judge_by=comparison: the least number of other answers that each answer is compared with."""
    heldout_reward: str | None = None
    """A second opinion on answers to held-out prompts. If it falls while the reward rises, the run stops."""
    heldout_principles: str | None = None
    """The constitution under which the held-out judge gives rewards."""
    eval_steps: float | None = 10
    """Number of steps between two evaluations on the held-out prompts."""
    max_steps: int = 100
    """Number of steps, each with rollouts and ``epochs`` x ``minibatches`` updates."""
    prompts_per_step: int = 16
    """Number of prompts in a step."""
    samples_per_prompt: int = 4
    """Number of answers to each prompt."""
    max_new_tokens: int = 128
    """The longest answer, in tokens."""
    unfinished: Literal["penalise", "mask", "reward"] = "penalise"
    """What to do with an answer that was cut at max_new_tokens: lower its reward, leave it out, or reward it fully."""
    unfinished_penalty: float = 1.0
    """With unfinished=penalise: how much is subtracted from the reward of such an answer, in the reward's units."""
    temperature: float = 1.0
    """The sampling temperature of the answers."""
    rollout: Literal["hf", "vllm"] = "hf"
    """The engine that writes the answers."""
    rollout_batch: int = 32
    """How many answers are written at a time."""
    epochs: int = 1
    """How many times each step learns from its answers."""
    minibatches: int = 1
    """The number of updates in an epoch."""
    alarm_window: int = 5
    """Number of steps over which the alarms' figures are averaged."""
    alarm_kl: float | None = 50.0
    """The largest allowed KL to the reference, in nats per answer."""
    alarm_length: float | None = 2.0
    """By what factor answers may become longer, or shorter, than in the first steps."""
    alarm_length_correlation: float | None = 0.5
    """How strongly reward and length may correlate among a prompt's answers, once answers have grown by a fifth."""
    alarm_repetition: float | None = 0.3
    """By how much the share of repeated n-grams may rise above that of the first steps."""
    alarm_refusals: float | None = 0.3
    """By how much the share of refusals may rise above that of the first steps."""
    alarm_entropy: float | None = 0.2
    """The part of its first value to which the entropy may fall."""
    alarm_phrase: float | None = 0.4
    """By how much the share of answers with one and the same phrase may rise above that of the first steps."""
    alarm_heldout: float | None = 3.0
    """By how many standard errors the held-out reward may fall while the reward rises by as many."""
    alarm_disagreement: float | None = 3.0
    """By how many standard errors reward and held-out reward of the same answers may be correlated below 0."""
    alarm_flat: int | None = 10
    """After how many steps in a row the run stops whose rewards are the same, where they are compared."""
    learning_rate: float = 1e-6
    logging_steps: float = 1
    save_steps: float = 50

    def __post_init__(self) -> None:
        if not self.reward:
            raise ValueError("reward is missing; expected rm:PATH, verify:RULE, a judge and principles, or a URL")
        check_bounds(self, _BOUNDS)
        for name in _SHARES:
            if (limit := getattr(self, name)) is not None and limit >= 1:
                raise ValueError(f"{name} is {limit}; expected a share below 1, or null, which turns the alarm off")
        self._check_rewards()
        if self.minibatches > self.prompts_per_step:
            raise ValueError(f"{self.minibatches} minibatches can't be made of {self.prompts_per_step} prompts")
        for name in ("save_strategy", "logging_strategy"):
            if (value := getattr(self, name)) not in ("no", "steps"):
                raise ValueError(f"{name} is {value!r}; a loop of rollouts has steps alone: expected steps or no")
        if self.lr_scheduler_type == "reduce_lr_on_plateau":
            raise ValueError("lr_scheduler_type is reduce_lr_on_plateau, and a loop of rollouts has no loss to watch")
        if self.eval_steps is not None and self.eval_steps % 1:
            raise ValueError(f"eval_steps is {self.eval_steps}; expected a whole number of steps")
        super().__post_init__()
        if self.prefix_packing is False:
            raise ValueError("each prompt is computed once for all of its answers: prefix_packing can't be turned off")

    @property
    def reward_specs(self) -> list[str]:
        """What gives the rewards that the policy learns from, the first one first."""
        return [self.reward, *(str(more["reward"]) for more in self.more_rewards)]

    def _check_rewards(self) -> None:
        """Raise `ValueError` for rewards that can't be, and for settings of rewards that would have no effect."""
        for more in self.more_rewards if isinstance(self.more_rewards, list) else [self.more_rewards]:
            if not isinstance(more, dict) or set(more) - {"reward", "principles", "weight"} or not more.get("reward"):
                raise ValueError(f"more_rewards has {more}; expected reward, and perhaps principles and weight")
            weight = more.get("weight", 1.0)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
                raise ValueError(f"more_rewards has {more}; expected a weight above 0")
        if self.heldout_reward:
            if not (self.eval_data or self.eval_share):
                raise ValueError("heldout_reward needs prompts to look at; give eval_data or eval_share")
            if self.eval_steps is None:
                raise ValueError("heldout_reward is asked every eval_steps, which is null; expected a number")
        elif self.heldout_principles:
            raise ValueError("heldout_principles has no effect without heldout_reward; give both, or leave it out")
        if self.judge_by == "comparison":
            if not self.principles or self.samples_per_prompt < 2:
                raise ValueError("judge_by=comparison needs principles, and two or more samples_per_prompt")
        elif self.judge_mode is not None:
            raise ValueError("judge_mode is of comparisons, and judge_by is score; give judge_by=comparison as well")


def reward_folder(spec: str) -> str:
    """Return the folder or id of a reward model, ``rm:PATH?key=value``; nothing for rewards of other kinds."""
    kind, _, folder = spec.partition("?")[0].partition(":")
    return folder if kind == "rm" else ""
