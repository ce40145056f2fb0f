"""Small runs of every trainer: what the tests of steps, checkpoints, disks and refusals share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.batches.examples import Example
from trainers.config import TrainConfig
from trainers.methods.dpo import DPOConfig, DPOTrainer
from trainers.methods.reward import RewardConfig, RewardTrainer
from trainers.methods.sft import SFTConfig, SFTTrainer
from trainers.trainer import TreeTrainer

from .child import KINDS
from .tiny import build, config_of, demonstrations, weighted, weights

TRAINERS: dict[str, tuple[type[TreeTrainer], type[TrainConfig]]] = {
    "sft": (SFTTrainer, SFTConfig),
    "reward": (RewardTrainer, RewardConfig),
    "dpo": (DPOTrainer, DPOConfig),
}
ALL = pytest.mark.parametrize("kind", list(TRAINERS))


def examples(kind: str, count: int = 8) -> Sequence[Example]:
    return demonstrations(count) if kind == "sft" else weighted(count)


def trainer_of(
    kind: str, out: Path, folder: Path, given: Sequence[Example] | None = None, **settings: Any
) -> TreeTrainer:
    trainer, config = TRAINERS[kind]
    return build(trainer, config_of(config, folder, out, **settings), examples(kind) if given is None else given)


def one_step(
    kind: str, out: Path, folder: Path, given: Sequence[Example] | None = None, **settings: Any
) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Loss, gradient norm, and weights after one plain step of length 1: less the gradient of the 8 examples' loss."""
    plain = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 1e9, "max_steps": 1}
    trainer = trainer_of(kind, out, folder, given, **(plain | settings))
    trainer.train()
    first = trainer.state.log_history[0]
    return first["loss"], first["grad_norm"], weights(trainer.model)


STEPS, SAVED = 8, 2


def run_settings(kind: str, folder: Path, out: Path, files: Path) -> dict[str, Any]:
    """Settings of a run of 8 steps in 2 epochs, saved at every second one."""
    rows = files / f"{kind}.jsonl"
    if not rows.exists():
        lines = [row_of(example) for example in examples(kind, 16)]
        rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config: TrainConfig = config_of(KINDS[kind], folder, out)
    kept = ("model", "output_dir", "max_length", "use_cpu", "bf16", "learning_rate", "report_to", "disable_tqdm")
    return {name: getattr(config, name) for name in kept} | {
        "data": [str(rows)],
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "save_steps": SAVED,
        "logging_steps": 1,
        "eval_share": 0.2,
        "eval_strategy": "steps",
        "eval_steps": 2,
    }


def row_of(example: Any) -> dict[str, Any]:
    row: dict[str, Any] = example.model_dump(exclude={"where"}, exclude_none=True, mode="json")
    asked = [{"role": m.role, "content": m.content} for m in example.prompt.messages]
    return {"completion" if name == "answer" else name: value for name, value in row.items()} | {"prompt": asked}
