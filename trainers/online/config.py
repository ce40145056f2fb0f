"""Settings of PPO."""

import math
from dataclasses import dataclass
from typing import Literal

from trainers.config import TrainConfig
from trainers.online.policy_gradient import KL

# Name, lowest value, and whether that value itself is allowed.
_BOUNDS: tuple[tuple[str, float, bool], ...] = (
    ("max_steps", 1, True), ("prompts_per_step", 1, True), ("samples_per_prompt", 1, True),
    ("max_new_tokens", 1, True), ("rollout_batch", 1, True), ("epochs", 1, True), ("minibatches", 1, True),
    ("temperature", 0, False), ("clip", 0, False), ("value_clip", 0, False), ("value_coef", 0, True),
    ("gamma", 0, True), ("lam", 0, True), ("kl_coef", 0, True), ("kl_target", 0, False), ("eval_steps", 1, True),
    ("alarm_window", 1, True), ("alarm_kl", 0, False), ("alarm_length", 1, False), ("alarm_repetition", 0, False),
    ("alarm_refusals", 0, False), ("alarm_entropy", 0, False), ("alarm_heldout", 0, False),
)  # fmt: skip

# Settings of transformers that PPO's loop has no place for, and the value that says nothing.
_WITHOUT_EFFECT = {
    "num_train_epochs": 3.0, "gradient_accumulation_steps": 1, "fp16": False, "fsdp": [], "deepspeed": None,
    "load_best_model_at_end": False, "auto_find_batch_size": False, "torch_compile": False, "push_to_hub": False,
}  # fmt: skip


@dataclass
class PPOConfig(TrainConfig):
    """Settings of `trainers.ppo.PPOTrainer`. ``data`` and ``eval_data`` are files of prompts, as `cai generate` reads.

    ``reward`` is an engine that gives rewards (``rm:PATH``, ``verify:RULE``), with ``principles`` any other engine as a
    judge that scores each answer under that constitution, or the URL of a reward server.
    ``per_device_train_batch_size`` is how many prompts, with all of their answers, go through the model at once.
    """

    reward: str = ""
    principles: str | None = None
    heldout_reward: str | None = None
    """A second opinion on answers to held-out prompts: where it falls while the reward rises, the run stops."""
    heldout_principles: str | None = None
    eval_steps: float | None = 10
    """How many steps lie between two looks at the held-out prompts."""
    max_steps: int = 100
    """Of rollouts, each with ``epochs`` x ``minibatches`` updates."""
    prompts_per_step: int = 16
    samples_per_prompt: int = 4
    max_new_tokens: int = 128
    temperature: float = 1.0
    rollout: Literal["hf", "vllm"] = "hf"
    rollout_batch: int = 32
    """How many answers are written at a time."""
    epochs: int = 2
    minibatches: int = 4
    clip: float = 0.2
    value_clip: float | None = 0.2
    value_coef: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    kl_coef: float = 0.05
    kl_estimator: KL = "k1"
    kl_target: float | None = None
    """The KL of an answer, in nats, that ``kl_coef`` adapts to; without it the coefficient is fixed."""
    whiten: bool = True
    """Whether advantages are shifted and scaled to mean 0 and standard deviation 1 over a step."""
    alarm_window: int = 5
    """Over how many steps the alarms' figures are averaged."""
    alarm_kl: float | None = 50.0
    """Nats an answer."""
    alarm_length: float | None = 2.0
    """How many times as long, or as short, answers may become as they were in the first steps."""
    alarm_repetition: float | None = 0.3
    """By how much the share of repeated n-grams may rise above that of the first steps."""
    alarm_refusals: float | None = 0.3
    """By how much the share of refusals may rise above that of the first steps."""
    alarm_entropy: float | None = 0.2
    """To what part of its first value the entropy may fall."""
    alarm_heldout: float | None = 3.0
    """By how many standard errors the held-out reward may fall while the reward rises by as many."""
    learning_rate: float = 1e-6
    logging_steps: float = 1
    save_steps: float = 50

    def __post_init__(self) -> None:
        if not self.reward:
            raise ValueError("reward is missing; expected rm:PATH, verify:RULE, a judge and principles, or a URL")
        for name, low, allowed in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and (value > low or (allowed and value == low))):
                raise ValueError(f"{name} is {value}; expected a number {'of at least' if allowed else 'above'} {low}")
        if self.gamma > 1 or self.lam > 1:
            raise ValueError(f"gamma is {self.gamma} and lam is {self.lam}; expected at most 1")
        if self.minibatches > self.prompts_per_step:
            raise ValueError(f"{self.minibatches} minibatches can't be made of {self.prompts_per_step} prompts")
        if self.heldout_reward and not (self.eval_data or self.eval_share):
            raise ValueError("heldout_reward needs prompts to look at; give eval_data or eval_share")
        super().__post_init__()
        for name, nothing in _WITHOUT_EFFECT.items():
            if (value := getattr(self, name)) != nothing and value:
                raise ValueError(f"{name} has no place in PPO; leave it out")
        if self.prefix_packing is False:
            raise ValueError("PPO computes each prompt once for all of its answers: prefix_packing can't be turned off")
