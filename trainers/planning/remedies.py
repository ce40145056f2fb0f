"""What would make a run fit that does not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainers.planning.memory import FLOAT, NF4, ComputeSetting, MemoryPlan, ModelShape, Needs, StepWork, plan

LORA: Mapping[str, Any] = {"r": 16, "target_modules": "all-linear"}
"""The adapters that are proposed."""
_MOST_PROCESSES = 1024
_LEAST_TOKENS = 128


@dataclass(frozen=True)
class Case:
    """A run, as the arithmetic sees it. ``adapters`` are the numbers that `LORA` would have; 0 where it can't be."""

    shape: ModelShape
    needs: Needs
    work: StepWork
    setting: ComputeSetting
    adapters: int

    @property
    def plan(self) -> MemoryPlan:
        """What it takes."""
        return plan(self.shape, self.needs, self.work, self.setting)


def remedies(case: Case, memory: int) -> list[str]:
    """Return what makes ``case`` fit into ``memory`` bytes: each by itself, or if none does, all that help together."""
    alone = [text for text, changed in _changes(case, memory) if changed.plan.peak <= memory]
    if alone:
        return alone
    together: list[str] = []
    for name in _ORDER:
        tried = next((change for change in _changes(case, memory) if change[0].startswith(name)), None)
        if tried is None or tried[1].plan.peak >= case.plan.peak:
            continue
        together.append(tried[0])
        case = tried[1]
        if case.plan.peak <= memory:
            return [" and ".join(together)]
    return []


_ORDER = (
    *("bf16", "gradient_checkpointing", "per_device_train_batch_size", "rollout_batch", "max_", "lora"),
    *("quantize", "processes"),
)
"""From what costs least: the beginnings of what `_changes` says."""


def _changes(case: Case, memory: int) -> Iterator[tuple[str, Case]]:
    """Yield single changes: what to set, and the case with it."""
    work, setting = case.work, case.setting
    if setting.compute == 4:
        yield "bf16=true", replace(case, setting=replace(setting, compute=2))
    if not setting.checkpointing:
        yield "gradient_checkpointing=true", replace(case, setting=replace(setting, checkpointing=True))
    if work.examples > 1:
        yield "per_device_train_batch_size=1", replace(case, work=replace(work, examples=1, accumulates=True))
    if work.slots > 8:
        yield "rollout_batch=8", replace(case, work=replace(work, slots=8))
    yield from _shorter(case, memory)
    if setting.adapters is None and case.adapters:
        text = ", ".join(f"{key}: {value}" for key, value in LORA.items())
        yield f"lora='{{{text}}}'", replace(case, setting=replace(setting, adapters=case.adapters))
    elif setting.adapters is not None and setting.frozen == FLOAT and not setting.sharded:
        yield "quantize=nf4", replace(case, setting=replace(setting, frozen=NF4))
    if not case.needs.writes and setting.frozen == FLOAT:
        yield from _sharded(case, memory)


def _shorter(case: Case, memory: int) -> Iterator[tuple[str, Case]]:
    """Yield fewer tokens: halved until it fits, or nearly none are left."""
    answer = case.work.answer
    changed = case
    while answer // 2 >= _LEAST_TOKENS and changed.plan.peak > memory:
        answer //= 2
        changed = replace(case, work=replace(case.work, answer=answer, evaluated=case.work.evaluated and answer))
    if changed is not case:
        yield f"{'max_new_tokens' if case.needs.writes else 'max_length'}={answer}", changed


def _sharded(case: Case, memory: int) -> Iterator[tuple[str, Case]]:
    """Yield as many processes as it takes, each with a part of the weights."""
    processes = case.setting.processes
    changed = replace(case, setting=replace(case.setting, sharded=True))
    while changed.plan.peak > memory and processes < _MOST_PROCESSES:
        processes *= 2
        changed = replace(case, setting=replace(case.setting, sharded=True, processes=processes))
    if processes > 1:
        yield f"processes of FSDP, {processes} of them (trainers/configs/fsdp.yaml)", changed
