"""A training run in a process of its own, for tests that kill it or start two of it.

``tests.trainers.child FILE``, by `tests.warm` or as ``python -m``; a JSON object with ``kind``, ``settings`` (of the
config class), and
``die_after`` (optimiser steps; then the process kills itself), ``die_in_save`` (the step whose checkpoint it is about
to move into place), or ``sharded`` (by FSDP, on CPUs).
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import state
from accelerate.utils import DistributedType
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers import run, trainer
from trainers.config import TrainConfig
from trainers.methods.dpo import DPOConfig
from trainers.methods.grpo import GRPOConfig
from trainers.methods.ppo import PPOConfig
from trainers.methods.reward import RewardConfig
from trainers.methods.sft import SFTConfig

KINDS: dict[str, type[TrainConfig]] = {
    "sft": SFTConfig,
    "reward": RewardConfig,
    "dpo": DPOConfig,
    "ppo": PPOConfig,
    "grpo": GRPOConfig,
}


class DieAfter(TrainerCallback):
    """Kills the process, without a chance to tidy up, at the end of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def die_in_save(step: int) -> None:
    """Let the process die when the checkpoint of ``step`` is written, and not yet in its place."""
    move = trainer.TreeTrainer._move

    def dying(self: trainer.TreeTrainer, source: Path, target: Path) -> None:
        if target.name == f"checkpoint-{step}":
            (source / "model.safetensors").unlink()  # as if it had died a moment earlier
            os.kill(os.getpid(), signal.SIGKILL)
        move(self, source, target)

    trainer.TreeTrainer._move = dying  # type: ignore[method-assign]  # dies there


def shard_on_cpus() -> None:
    """Let accelerate shard models here, too: it does so for several accelerators of any kind, though not for CPUs."""
    start = state.PartialState.__init__

    def starting(self: state.PartialState, *args: Any, **settings: Any) -> None:
        start(self, *args, **settings)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_HPU  # a kind that changes nothing but what is asked for here

    state.PartialState.__init__ = starting


def main(file: Path) -> None:
    asked = json.loads(file.read_text())
    torch.set_num_threads(1)
    if asked.get("sharded"):
        shard_on_cpus()
    if step := asked.get("die_in_save"):
        die_in_save(step)
    callbacks: list[TrainerCallback] = [DieAfter(asked["die_after"])] if asked.get("die_after") else []
    run.train(KINDS[asked["kind"]](**asked["settings"]), callbacks)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
