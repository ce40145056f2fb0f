"""What would make a run fit that does not: settings, each tried by planning the run again as it would be with them."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from trainers.config import TrainConfig
from trainers.planning.settings import Device, is_kept_by_steps

LORA: Mapping[str, Any] = {"r": 16, "target_modules": "all-linear"}
"""The adapters that are proposed."""
_MOST_PROCESSES = 1024
_LEAST_TOKENS = 128
_SLOTS = 8

Lacking = Callable[[TrainConfig, Device], int]
"""How many bytes a run lacks, of all that it needs together; 0 for one that fits."""


@dataclass(frozen=True)
class Open:
    """What a model and a method leave open: adapters, layers computed again, four bits, processes that share it."""

    adapters: bool
    checkpointing: bool
    quantizing: bool
    sharing: bool


@dataclass(frozen=True)
class ChangedRun:
    """A run with some settings other than they were given. ``shared``: by FSDP, which it was not."""

    config: TrainConfig
    device: Device
    settings: Mapping[str, Any]
    shared: bool = False

    def set(self, **settings: Any) -> "ChangedRun":
        """Return it with these settings as well."""
        config = copy.copy(self.config)
        for name, value in settings.items():
            setattr(config, name, value)
        return replace(self, config=config, settings={**self.settings, **settings})

    def __str__(self) -> str:
        """As a person is told: what to put on the command line, and how to start it."""
        said = [f"{name}={_typed(value)}" for name, value in self.settings.items()]
        if self.shared:
            many = self.device.processes
            how = f"in a dry run, --processes {many} --sharded"
            said.append(f"{many} processes of FSDP (trainers/configs/fsdp.yaml; {how})")
        return " and ".join(said)


def _typed(value: Any) -> str:
    """Return a setting's value as a shell takes it."""
    if isinstance(value, str):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    text = text.removesuffix("...\n").strip()
    return f"'{text}'" if " " in text else text


Change = Callable[[ChangedRun, Open], Iterator[ChangedRun]]
"""Yields a run with one thing changed: first a little, and then more of it."""


def remedies(config: TrainConfig, device: Device, free: Open, lacking: Lacking) -> list[str]:
    """Return what makes a run fit: each change that does it by itself, or if none does, all that do it together."""
    start = ChangedRun(config, device, {})
    alone = [fitting for change in _CHANGES if (fitting := _first(change, start, free, lacking))]
    if alone:
        return [str(changed) for changed in alone]
    ways = [_together(changes, start, free, lacking) for changes in (_ON_ONE, _SHARED)]
    return list(dict.fromkeys(str(way) for way in ways if way is not None))


def _first(change: Change, start: ChangedRun, free: Open, lacking: Lacking) -> ChangedRun | None:
    """Return the least of a change that makes the run fit; None where none does."""
    return next((changed for changed in change(start, free) if not lacking(changed.config, changed.device)), None)


def _together(changes: Sequence[Change], start: ChangedRun, free: Open, lacking: Lacking) -> ChangedRun | None:
    """Return the run with as few of ``changes`` as make it fit, those that cost least preferred; None if none do."""
    kept = list(changes)
    if (fitting := _all_of(kept, start, free, lacking)) is None:
        return None
    for change in reversed(changes):
        fewer = [other for other in kept if other is not change]
        if without := _all_of(fewer, start, free, lacking):
            kept, fitting = fewer, without
    return fitting


def _all_of(changes: Sequence[Change], start: ChangedRun, free: Open, lacking: Lacking) -> ChangedRun | None:
    """Return the run with each of ``changes`` that helps, until it fits; None if it does not."""
    now, least = start, lacking(start.config, start.device)
    for change in changes:
        for tried in change(now, free):
            if (lacks := lacking(tried.config, tried.device)) < least:
                now, least = tried, lacks
            if not least:
                return now
    return None


def _narrow(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if not (run.config.bf16 or run.config.fp16):
        yield run.set(bf16=True)


def _recomputed(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if free.checkpointing and not run.config.gradient_checkpointing:
        yield run.set(gradient_checkpointing=True)


def _fewer_examples(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if run.config.per_device_train_batch_size > 1:
        yield run.set(per_device_train_batch_size=1)


def _fewer_evaluated(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if run.config.per_device_eval_batch_size > 1 and not _writes(run):
        yield run.set(per_device_eval_batch_size=1)


def _fewer_written(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if _writes(run) and getattr(run.config, "rollout_batch", 0) > _SLOTS:
        yield run.set(rollout_batch=_SLOTS)


def _fewer_checkpoints(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if is_kept_by_steps(run.config) and run.config.save_total_limit != 1:
        yield run.set(save_total_limit=1)


def _adapters(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if free.adapters and not run.config.lora:
        yield run.set(lora=dict(LORA))


def _quantized(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if free.quantizing and run.config.lora and not run.config.quantize and not run.device.sharded:
        yield run.set(quantize="nf4")


def _shared(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    """As many processes as it takes, each with a part of the weights. CPUs of a machine share one memory."""
    if not free.sharing or run.config.quantize or run.device.on_cpu:
        return
    processes = run.device.processes if run.device.processes > 1 else 2
    while processes <= _MOST_PROCESSES:
        device = replace(run.device, processes=processes, sharded=True, main=None)
        yield replace(run, device=device, shared=True)
        processes *= 2


def _shorter(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    """Fewer tokens: halved until nearly none are left, answers that are written with their prompts."""
    tokens, answer = run.config.max_length, getattr(run.config, "max_new_tokens", 0)
    while tokens // 2 >= _LEAST_TOKENS:
        tokens, answer = tokens // 2, answer // 2
        if not _writes(run):
            yield run.set(max_length=tokens)
        elif answer:
            yield run.set(max_length=tokens, max_new_tokens=answer)


def _no_checkpoints(run: ChangedRun, free: Open) -> Iterator[ChangedRun]:
    if is_kept_by_steps(run.config) and not run.config.load_best_model_at_end:
        yield run.set(save_strategy="no")


def _writes(run: ChangedRun) -> bool:
    return hasattr(run.config, "rollout_batch")


_CHEAP = (_narrow, _recomputed, _fewer_checkpoints, _fewer_examples, _fewer_evaluated, _fewer_written)
_ON_ONE = (*_CHEAP, _adapters, _quantized, _shorter, _no_checkpoints)
_SHARED = (*_CHEAP, _shared, _adapters, _shorter, _no_checkpoints)
"""From what costs least."""
_CHANGES = (*_CHEAP, _shorter, _adapters, _quantized, _shared, _no_checkpoints)
