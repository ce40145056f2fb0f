"""A dry run of a training: what it will take, on which device, and whether that is there. Nothing is loaded or written.

The largest batch counts that the settings allow: every answer as long as ``max_length`` lets it be.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import InputError
from trainers import quantized
from trainers.config import TrainConfig
from trainers.planning.memory import MemoryPlan, Needs, StepWork
from trainers.planning.remedies import LORA, Case, remedies
from trainers.planning.settings import Device, refuse_sharded, setting_of
from trainers.planning.shapes import WeightlessModel

GIGA = 10**9
_ELSEWHERE = (
    "OpenRLHF or verl, which shard policy, reference and rollouts, take this service's rewards: docs/TRAINING.md"
)


@dataclass(frozen=True)
class PlannedTraining:
    """What a run takes, and what there is. ``free`` are the bytes of the disk that ``output_dir`` is on."""

    method: str
    plan: MemoryPlan
    device: Device
    free: int

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
            where = "the first process of a machine" if device.sharded else "each process"
            text.append(f"main memory while loading: {plan.host / GIGA:,.2f} GB in {where}")
        files = ", ".join(f"{name} {size / GIGA:,.2f} GB" for name, size in plan.disk.items() if size)
        return [*text, f"disk: {files}; {self.free / GIGA:,.2f} GB are free"]

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
            "disk": dict(plan.disk),
            "free": self.free,
        }


def case_of(config: TrainConfig, needs: Needs, work: StepWork, device: Device) -> Case:
    """Return what ``config`` comes to. Raises `InputError` for models that are not here, or can't be read."""
    model = WeightlessModel(config.model, 1 if needs.scored else None)
    proposed = _proposed(model, config)
    if needs.critic and proposed:  # another set, and a row with a bias that gives the values
        proposed = 2 * proposed + model.shape.hidden + 1
    setting = setting_of(config, device, None if config.lora is None else proposed)
    return Case(model.shape, needs, work, setting, proposed)


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
    method: str, config: TrainConfig, needs: Needs, work: StepWork, device: Device, free: int | None = None
) -> PlannedTraining:
    """Return what a run takes, if it fits. Raises `InputError` where it does not, and says what would.

    ``free`` are the bytes of the disk, by default those that are free where ``output_dir`` will be.
    """
    if needs.writes and device.sharded:
        refuse_sharded(method)
    if config.quantize is not None and device.sharded:
        quantized.refuse_sharded()
    case = case_of(config, needs, work, device)
    there = _free(Path(config.output_dir or ".")) if free is None else free
    return checked(PlannedTraining(method, case.plan, device, there), case, config)


def checked(planned: PlannedTraining, case: Case, config: TrainConfig) -> PlannedTraining:
    """Return ``planned`` if it fits. Raises `InputError` where it does not."""
    plan, device = planned.plan, planned.device
    if plan.peak > device.memory:
        ways = remedies(case, device.memory)
        elsewhere = f"nothing that can be set here makes it fit; take a smaller model{_or(case.needs.writes)}"
        raise InputError(
            f"{planned.method} takes {plan.peak / GIGA:,.1f} GB while {plan.fullest}, and there are "
            f"{device.memory / GIGA:,.1f} GB: {_largest(plan)}",
            where=config.model,
            fix=f"it fits with {'; or with '.join(ways)}" if ways else elsewhere,
        )
    if plan.written > planned.free:
        raise InputError(
            f"checkpoints and model take {plan.written / GIGA:,.1f} GB of disk, and {planned.free / GIGA:,.1f} GB "
            "are free",
            where=config.output_dir or "",
            fix="save_total_limit=1, or lora, or another output_dir",
        )
    return planned


def _or(writes: bool) -> str:
    return f". {_ELSEWHERE}" if writes else ", or more processes"


def _largest(plan: MemoryPlan) -> str:
    """Return the largest parts, with their sizes."""
    parts = [*plan.always.items(), *plan.phases[plan.fullest].items()]
    largest = sorted(parts, key=lambda part: -part[1])[:3]
    return ", ".join(f"{name} {size / GIGA:,.1f}" for name, size in largest if size)


def _free(folder: Path) -> int:
    """Return the free bytes of the disk that ``folder`` is on, or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
