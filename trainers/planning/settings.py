"""From a run's settings to what `trainers.planning.memory` computes with."""

import os
from dataclasses import dataclass
from typing import NoReturn

import torch
from transformers import TrainingArguments

from base.errors import InputError
from critic.local.loading import default_device
from trainers.config import TrainConfig
from trainers.planning.memory import FLOAT, NF4, ComputeSetting

# What an optimiser keeps of each weight, in bytes, by how transformers names it; the first that fits counts. Adafactor
# keeps a row and a column of each matrix, which is next to nothing.
_OPTIMISERS = (
    ("sgd", 0.0),
    ("adafactor", 0.0),
    ("adamw_torch_8bit", 2.0),
    ("adamw_torch_4bit", 1.0),
    ("adamw_8bit", 2.0),
    ("adamw_bnb_8bit", 2.0),
    ("paged_adamw_8bit", 2.0),
    ("ademamix_8bit", 3.0),
    ("ademamix", 12.0),
    ("lion_8bit", 1.0),
    ("lion", 4.0),
    ("paged_lion_8bit", 1.0),
    ("paged_lion", 4.0),
    ("rmsprop", 4.0),
    ("adagrad", 4.0),
)
_MOST = 8.0
"""Two numbers in float32: what Adam keeps, and every other that isn't named here is taken to keep."""


@dataclass(frozen=True)
class Device:
    """What a run has: ``memory`` in bytes on each of ``processes`` devices. ``sharded``: by FSDP or ZeRO 3."""

    memory: int
    processes: int = 1
    sharded: bool = False
    on_cpu: bool = False


def this_machine(config: TrainConfig) -> Device:
    """Return what the run would have if it were started as this process was, by ``accelerate launch`` or alone.

    On CPUs, the processes of a machine share its memory.
    """
    processes = config.world_size
    if config.use_cpu or default_device().type == "cpu":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return Device(memory // beside, processes, is_sharded(), on_cpu=True)
    memory = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return Device(memory, processes, is_sharded())


def is_sharded() -> bool:
    """Whether this process was started with FSDP or DeepSpeed, as ``accelerate launch`` tells its children."""
    names = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return any(os.environ.get(name, "false").lower() in ("true", "1") for name in names)


def refuse_sharded(method: str) -> NoReturn:
    """Raise `InputError`: each process of an online method holds the whole model, which writes the answers, too."""
    raise InputError(
        f"{method} can't share a model out by FSDP or DeepSpeed: each process writes with all of its weights",
        where="accelerate launch",
        fix="give --num_processes without --config_file, with lora where the weights are many; for models that fit no "
        "single GPU that way, OpenRLHF or verl take this service's rewards (docs/TRAINING.md)",
    )


def setting_of(config: TrainConfig, device: Device, adapters: int | None) -> ComputeSetting:
    """Return how ``config`` is computed on ``device``."""
    return ComputeSetting(
        adapters=adapters,
        frozen=FLOAT if config.quantize is None else NF4,
        compute=2 if config.bf16 or config.fp16 else 4,
        optimizer=optimiser_bytes(config),
        checkpointing=config.gradient_checkpointing,
        processes=device.processes,
        sharded=device.sharded,
        on_cpu=device.on_cpu,
        checkpoints=_checkpoints(config),
    )


def optimiser_bytes(config: TrainingArguments) -> float:
    """Return the bytes that the optimiser keeps of each weight that learns."""
    name = str(getattr(config.optim, "value", config.optim))
    return next((size for start, size in _OPTIMISERS if name.startswith(start)), _MOST)


def _checkpoints(config: TrainConfig) -> int:
    """Return how many checkpoints lie on the disk at a time: those that are kept, and the one that is written."""
    if str(getattr(config.save_strategy, "value", config.save_strategy)) == "no":
        return 0
    return (config.save_total_limit or 1) + 1
