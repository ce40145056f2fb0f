"""From a run's settings to what `trainers.planning.memory` computes with."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from transformers import TrainingArguments

from base.errors import InputError
from critic.local.loading import default_device
from trainers.config import TrainConfig
from trainers.planning.machine import main_memory
from trainers.planning.records import ALL_SHARED, FLOAT, NF4, ComputeSetting, Offloads, Sharing

# What an optimiser keeps of each weight, in bytes, by how transformers names it; the first that fits counts. Adafactor
# keeps a row and a column of each matrix, which is next to nothing.
_OPTIMISERS = (
    ("sgd", 0.0),
    ("adafactor", 0.0),
    ("adamw_torch_8bit", 2.0),
    ("adamw_torch_4bit", 1.0),
    ("adamw_8bit", 2.0),
    ("adamw_bnb_8bit", 2.0),
    ("ademamix_8bit", 3.0),
    ("ademamix", 12.0),
    ("grokadamw", 12.0),
    ("lion_8bit", 1.0),
    ("lion", 4.0),
    ("rmsprop_bnb_8bit", 1.0),
    ("rmsprop", 4.0),
    ("schedule_free_sgd", 4.0),
    ("adagrad", 4.0),
)
_WIDE_TABLES = ("adamw_8bit", "adamw_bnb_8bit", "ademamix_8bit", "lion_8bit", "rmsprop_bnb_8bit")
"""Those that keep whole numbers of embeddings: transformers asks bitsandbytes to."""
_OFF_DEVICE = ("cpu", "nvme")
"""Where DeepSpeed may put what a device has no room for."""
_MOST = 8.0
"""Two numbers in float32: what Adam keeps, and every other that isn't named here is taken to keep."""


@dataclass(frozen=True)
class Device:
    """What a run has: ``memory`` in bytes on each of ``processes`` devices. ``sharded``: by FSDP or DeepSpeed.

    ``main`` is the main memory that ``beside`` processes of a machine share; None where it isn't known. What is
    ``shared`` and how, where it is. ``elsewhere``: another machine is meant than this one, whose disk isn't known.
    """

    memory: int
    processes: int = 1
    sharded: bool = False
    on_cpu: bool = False
    main: int | None = None
    beside: int = 1
    shared: Sharing = ALL_SHARED
    elsewhere: bool = False


def this_machine(config: TrainConfig, processes: int | None = None) -> Device:
    """Return what the run would have if it were started as this process was, by ``accelerate launch`` or alone.

    ``processes`` are others than those that were started. On CPUs, the processes of a machine share its memory.
    """
    started = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    main, shared = main_memory(), sharing(config)
    sharded = shared is not None
    if config.use_cpu or default_device().type == "cpu":
        beside = processes or started
        return Device(main // beside, processes or config.world_size, sharded, on_cpu=True, shared=shared or ALL_SHARED)
    memory = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    beside = started if processes is None else min(processes, torch.cuda.device_count())
    return Device(
        memory, processes or config.world_size, sharded, main=main, beside=beside, shared=shared or ALL_SHARED
    )


def is_sharded() -> bool:
    """Whether this process was started with FSDP or DeepSpeed, as ``accelerate launch`` tells its children."""
    return any(_is_set(name) for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"))


def sharing(config: TrainConfig) -> Sharing | None:
    """Return what processes share out among themselves, by how they were started or by ``config``; None where nothing.

    DeepSpeed's stage 0 shares nothing.
    """
    if config.deepspeed_plugin is not None:
        plugin: Any = config.deepspeed_plugin
        stage = int(plugin.zero_stage)
        moved = [str(getattr(plugin, f"offload_{what}_device", None)) for what in ("param", "optimizer")]
        offloads: Offloads = "optimiser" if moved[1] in _OFF_DEVICE else "nothing"
        shared = Sharing(stage=stage, offloads="all" if moved[0] in _OFF_DEVICE else offloads, one_reads=False)
        return shared if stage else None
    given: Mapping[str, Any] | None = config.fsdp_plugin_args
    if given is not None:
        reshard = str(given.get("reshard_after_forward", True)).lower()
        return _fsdp(given.get("cpu_offload"), reshard, given.get("cpu_ram_efficient_loading"))
    if not _is_set("ACCELERATE_USE_FSDP"):
        return None
    reshard = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", os.environ.get("FSDP_SHARDING_STRATEGY", "true")).lower()
    return _fsdp(_is_set("FSDP_OFFLOAD_PARAMS"), reshard, _is_set("FSDP_CPU_RAM_EFFICIENT_LOADING"))


def _fsdp(offloads: object, reshard: str, one_reads: object) -> Sharing:
    gathered = reshard in ("false", "shard_grad_op", "2")
    return Sharing(offloads="all" if offloads else "nothing", stays_gathered=gathered, one_reads=bool(one_reads))


def _is_set(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1")


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
        wide_tables=_named(config.optim).removeprefix("paged_") in _WIDE_TABLES,
        checkpointing=config.gradient_checkpointing or (device.sharded and _is_set("FSDP_ACTIVATION_CHECKPOINTING")),
        processes=device.processes,
        sharded=device.sharded,
        shared=device.shared,
        on_cpu=device.on_cpu,
        checkpoints=_checkpoints(config),
    )


def optimiser_bytes(config: TrainingArguments) -> float:
    """Return the bytes that the optimiser keeps of each weight that learns."""
    name = _named(config.optim).removeprefix("paged_")
    return next((size for start, size in _OPTIMISERS if name.startswith(start)), _MOST)


def is_kept_by_steps(config: TrainingArguments) -> bool:
    """Whether a run writes checkpoints as it goes."""
    return _named(config.save_strategy) != "no"


def _checkpoints(config: TrainConfig) -> int:
    """Return how many checkpoints lie on the disk at a time: those that are kept, and the one that is written.

    Without a limit they are all kept. How many those are isn't known here where that depends on the rows: two are
    counted then, and `is_bounded` is false.
    """
    if not is_kept_by_steps(config):
        return 0
    limit, saved = config.save_total_limit, _saves(config)
    if not limit:
        return saved or 2
    kept = max(limit, 2 if config.load_best_model_at_end else 1) + 1  # the best one is kept as well as the last
    return min(kept, saved or kept)


def is_bounded(config: TrainConfig) -> bool:
    """Whether it is known how many checkpoints will lie on the disk."""
    return bool(not is_kept_by_steps(config) or config.save_total_limit or _saves(config))


def _saves(config: TrainConfig) -> int:
    """Return how many checkpoints a run writes; 0 where that depends on how many rows there are."""
    strategy, each, steps = _named(config.save_strategy), config.save_steps, config.max_steps
    if strategy == "steps" and each < 1:
        return math.ceil(1 / each)
    if strategy == "steps" and steps > 0:
        return math.ceil(steps / each)
    if strategy == "epoch" and steps <= 0:
        return math.ceil(config.num_train_epochs)
    return 0


def _named(setting: Any) -> str:
    """Return the name of one of transformers' choices, whether it is one, or text."""
    return str(getattr(setting, "value", setting))
