"""What the tests of online methods share: prompts, settings of a small run, and rewards that are planted."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel, set_seed

from critic.rewarding.grade import Grade
from trainers.methods.ppo import PPOConfig, PPOTrainer
from trainers.online.config import OnlineConfig
from trainers.online.loop import OnlineTrainer
from trainers.online.run import load_policy, read_prompts
from trainers.online.writing.rollout import Sample

from .tiny import config_of, question

C = TypeVar("C", bound=OnlineConfig)
T = TypeVar("T", bound=OnlineTrainer)

LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}


def prompts_file(folder: Path, count: int = 8) -> Path:
    """A file of prompts."""
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": question(i)}) + "\n" for i in range(count)))
    return file


def ppo_config(model: Path, out: Path, **settings: Any) -> PPOConfig:
    """Settings of a small run of PPO: see `online_config`."""
    return online_config(PPOConfig, model, out, **settings)


def online_config(kind: type[C], model: Path, out: Path, **settings: Any) -> C:
    """Settings of a small run in float32. The reward is a stand-in where the test gives its own."""
    small: dict[str, Any] = {
        "data": [str(prompts_file(out.parent))] if out.parent.is_dir() else [],
        "num_train_epochs": 3.0,
        "reward": "verify:max-words=3",
        "unfinished": "reward",
        "max_steps": 4,
        "prompts_per_step": 4,
        "samples_per_prompt": 3,
        "max_new_tokens": 10,
        "rollout_batch": 5,
        "epochs": 2,
        "minibatches": 2,
        "per_device_train_batch_size": 2,
    }
    return config_of(kind, model, out, **(small | settings))


def ppo_trainer(config: PPOConfig, **named: Any) -> PPOTrainer:
    """A PPO trainer: see `online_trainer`."""
    return online_trainer(PPOTrainer, config, **named)


def online_trainer(kind: type[T], config: OnlineConfig, **named: Any) -> T:
    """A trainer of what ``config`` names, without the folder's bookkeeping."""
    trainee = load_policy(config)
    asks, held_out = read_prompts(config, trainee.tokenizer)
    assert isinstance(trainee.model, PreTrainedModel)
    set_seed(config.seed)
    return kind(trainee.model, config, asks, trainee.tokenizer, held_out, **named)


class Planted:
    """A reward that a function of the sample gives; None where it can't be read."""

    def __init__(self, reward: Callable[[Sample], float | None], name: str = "planted") -> None:
        self._reward, self.identity = reward, {"name": name, "revision": "1"}

    async def grade(self, samples: Sequence[Sample]) -> list[Grade]:
        return [Grade.of(value) if (value := self._reward(s)) is not None else Grade(None, "no word") for s in samples]

    async def close(self) -> None:
        pass


def share_of(letters: str) -> Callable[[Sample], float]:
    """The share of an answer's tokens that are one of ``letters``: of the tiny model's, bytes but for one with five."""

    def share(sample: Sample) -> float:
        text = sample.text.replace("<think>", "")
        return sum(text.count(letter) for letter in letters) / len(sample.ids)

    return share


def len_of(sample: Sample) -> float:
    """An answer's tokens, as a reward."""
    return float(len(sample.ids))


def samples_of(trainer: OnlineTrainer) -> list[Sample]:
    """The answers of the step that comes next, graded."""
    samples = trainer._write(trainer._asks_of_step(), trainer.args.samples_per_prompt, "step", 0)
    trainer._grade(samples)
    return samples


def trained_weights(trainer: OnlineTrainer) -> dict[str, torch.Tensor]:
    """A copy of all that is trained, by name."""
    return {name: weight.detach().clone() for name, weight in trainer.models.trainable().items()}
