"""A dry run of a training: what it will take, on which device, and whether that is there. Nothing is loaded or written.

The largest batch counts that the settings allow: every answer as long as ``max_length`` lets it be.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import InputError
from trainers import quantized
from trainers.config import TrainConfig
from trainers.planning.memory import plan as plan_of
from trainers.planning.records import ComputeSetting, MemoryPlan, ModelShape, Needs, StepWork
from trainers.planning.remedies import LORA, Open, remedies
from trainers.planning.settings import Device, is_bounded, refuse_sharded, setting_of
from trainers.planning.shapes import WeightlessModel, folder_of
from trainers.planning.trainable import check_context, check_whole

GIGA = 10**9
_NOTHING = "nothing that can be set here makes it fit; take a smaller model, or devices with more memory"
_ELSEWHERE = (
    "OpenRLHF or verl, which shard policy, reference and rollouts, take this service's rewards: docs/TRAINING.md"
)


@dataclass(frozen=True)
class Case:
    """A run, as the arithmetic sees it."""

    shape: ModelShape
    needs: Needs
    work: StepWork
    setting: ComputeSetting

    @property
    def plan(self) -> MemoryPlan:
        """What it takes."""
        return plan_of(self.shape, self.needs, self.work, self.setting)


@dataclass(frozen=True)
class PlannedTraining:
    """What a run takes, and what there is. ``free`` are the bytes of the disk that ``output_dir`` is on.

    ``bounded``: it is known how many checkpoints there will be.
    """

    method: str
    plan: MemoryPlan
    device: Device
    free: int
    bounded: bool = True

    @property
    def main(self) -> int:
        """The most main memory that the processes of one machine take together, beside their devices'."""
        plan, beside = self.plan, self.device.beside
        return plan.host + (beside - 1) * plan.others + beside * plan.offloaded

    @property
    def lacks(self) -> int:
        """How many bytes are missing: of a device's memory, of main memory and of the disk; 0 where it fits."""
        lacks = max(0, self.plan.peak - self.device.memory)
        if self.device.main is not None:
            lacks += max(0, self.main - self.device.main)
        return lacks if self.device.elsewhere else lacks + max(0, self.plan.written - self.free)

    def lines(self) -> list[str]:
        """Return it for a person to read: a line a part, in GB of 10^9 bytes."""
        plan, device = self.plan, self.device
        shared = ", shared out" if device.sharded else ""
        kind = "in this machine's memory" if device.on_cpu else "on each device"
        rows = [(name, size, "") for name, size in plan.always.items() if size]
        for phase, parts in plan.phases.items():
            rows += [(name, size, f"while {phase}") for name, size in parts.items() if size]
        text = [f"{self.method}, {device.processes} process{'es' if device.processes > 1 else ''}{shared}; {kind}:"]
        text += [f"  {name:<34} {size / GIGA:>9,.2f} GB  {when}".rstrip() for name, size, when in rows]
        text.append(f"at most {plan.peak / GIGA:,.2f} GB of {device.memory / GIGA:,.2f}, while {plan.fullest}")
        if plan.host:
            others = f", and {plan.others / GIGA:,.2f} GB in each other" if plan.others and device.processes > 1 else ""
            text.append(
                f"main memory while loading and saving: {plan.host / GIGA:,.2f} GB in the first process of a machine"
                f"{others}"
            )
        if plan.offloaded:
            text.append(f"main memory of what is kept off the devices: {plan.offloaded / GIGA:,.2f} GB in each process")
        files = ", ".join(f"{name} {size / GIGA:,.2f} GB" for name, size in plan.disk.items() if size)
        room = "" if device.elsewhere else f"; {self.free / GIGA:,.2f} GB are free"
        text.append(f"disk: {files}{room}")
        if not self.bounded:
            text.append(
                f"without save_total_limit, each checkpoint after the first two takes {self._each:,.2f} GB more"
            )
        return text

    @property
    def _each(self) -> float:
        return self.plan.disk["checkpoints"] / 2 / GIGA

    def facts(self) -> dict[str, Any]:
        """Return it as plain JSON, in bytes."""
        plan, device = self.plan, self.device
        return {
            "method": self.method,
            "processes": device.processes,
            "sharded": device.sharded,
            "always": dict(plan.always),
            "phases": {name: dict(parts) for name, parts in plan.phases.items()},
            "peak": plan.peak,
            "memory": device.memory,
            "host": plan.host,
            "host_of_others": plan.others,
            "offloaded": plan.offloaded,
            "disk": dict(plan.disk),
            "free": self.free,
        }


Work = Callable[[Any, int], StepWork]
"""What a method puts through its model under a config, in each of so many processes: `trainers.method.Method.work`."""


def case_of(config: TrainConfig, needs: Needs, work: StepWork, device: Device) -> Case:
    """Return what ``config`` comes to. Raises `InputError` for models that are not here, or can't be read."""
    return _case(_Subject(config, needs), config, work, device)


class _Subject:
    """The model of a run, read once, and the adapters that it has or could have."""

    def __init__(self, config: TrainConfig, needs: Needs) -> None:
        self.needs = needs
        check_whole(folder_of(config.model), config)
        self.model = WeightlessModel(config.model, 1 if needs.scored else None)
        self.proposed = _proposed(self.model, config)
        if needs.critic and self.proposed:  # another set, and a row with a bias that gives the values
            self.proposed = 2 * self.proposed + self.model.shape.hidden + 1


def _case(subject: _Subject, config: TrainConfig, work: StepWork, device: Device) -> Case:
    setting = setting_of(config, device, None if config.lora is None else subject.proposed)
    return Case(subject.model.shape, subject.needs, work, setting)


def _proposed(model: WeightlessModel, config: TrainConfig) -> int:
    """Return the numbers of the adapters that ``config`` asks for, else of those that could help.

    0 where it asks for none, and the model takes none of the usual ones.
    """
    if config.lora is not None:
        return model.adapters(dict(config.lora))
    try:
        return model.adapters(dict(LORA))
    except InputError:  # PEFT knows layers that adapters can't be put on, as Mamba's
        return 0


def dry_run(
    method: str, config: TrainConfig, needs: Needs, work: Work, device: Device, free: int | None = None
) -> PlannedTraining:
    """Return what a run takes, if it fits. Raises `InputError` where it does not, and says what would.

    ``free`` are the bytes of the disk, by default those that are free where ``output_dir`` will be.
    """
    if needs.writes and device.sharded:
        refuse_sharded(method)
    if config.quantize is not None and device.sharded:
        quantized.refuse_sharded()
    subject = _Subject(config, needs)
    if config.quantize is not None and not subject.model.quantizes:
        quantized.refuse_layers(config.model)
    check_context(subject.model.positions, config)
    there = _free(Path(config.output_dir or ".")) if free is None else free
    case = _case(subject, config, work(config, device.processes), device)
    planned = PlannedTraining(method, case.plan, device, there, is_bounded(config))
    if not planned.lacks:
        return planned

    def lacking(changed: TrainConfig, on: Device) -> int:
        plan = _case(subject, changed, work(changed, on.processes), on).plan
        return PlannedTraining(method, plan, on, there).lacks

    shape = subject.model.shape
    open_to = Open(
        adapters=subject.proposed > 0,
        checkpointing=subject.model.recomputes,
        quantizing=shape.linear > 0 and subject.model.quantizes,
        sharing=not needs.writes,
    )
    raise _refusal(planned, config, remedies(config, device, open_to, lacking), needs.writes)


def _refusal(planned: PlannedTraining, config: TrainConfig, ways: Sequence[str], writes: bool) -> InputError:
    """Return what is said of a run that lacks memory, or room on the disk."""
    plan, device = planned.plan, planned.device
    fix = _NOTHING + (f". {_ELSEWHERE}" if writes else "")
    if ways:
        fix = f"it fits with {'; or with '.join(ways)}"
    if plan.peak > device.memory:
        return InputError(
            f"{planned.method} takes {plan.peak / GIGA:,.1f} GB while {plan.fullest}, and there are "
            f"{device.memory / GIGA:,.1f} GB: {_largest(plan)}",
            where=config.model,
            fix=fix,
        )
    if planned.main > (device.main or planned.main):
        return InputError(
            f"{planned.method} takes {planned.main / GIGA:,.1f} GB of main memory, of all processes of a machine "
            f"together, to load the model or to save it, and there are {(device.main or 0) / GIGA:,.1f} GB",
            where=config.model,
            fix=fix,
        )
    return InputError(
        f"checkpoints and model take {plan.written / GIGA:,.1f} GB of disk, and {planned.free / GIGA:,.1f} GB are free",
        where=config.output_dir or "",
        fix=f"{f'{fix}; or with' if ways else 'take'} an output_dir where there is room",
    )


def _largest(plan: MemoryPlan) -> str:
    """Return the largest parts, with their sizes."""
    parts = [*plan.always.items(), *plan.phases[plan.fullest].items()]
    largest = sorted(parts, key=lambda part: -part[1])[:3]
    return ", ".join(f"{name} {size / GIGA:,.1f}" for name, size in largest if size)


def _free(folder: Path) -> int:
    """Return the free bytes of the disk that ``folder`` is on, or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
