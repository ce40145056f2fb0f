"""``run.json``: what a training run is, so that only the same run goes on in its folder, and ``lineage.json``: that it
is finished, and all that its model comes from.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from base.errors import InputError
from critic.run.folder.results import replace_text
from trainers.config import TrainConfig

IDENTITY, LINEAGE = "run.json", "lineage.json"
PACKAGES = ("cai-feedback", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy")

# Settings that may change between the starts of one run: they decide where and what is reported, not what is learnt.
# The data may lie elsewhere: its hash says whether it is the same.
_FREE = {
    "output_dir", "data", "run_name", "report_to", "disable_tqdm", "log_level", "log_level_replica",
    "logging_first_step", "logging_steps", "logging_strategy", "save_steps", "save_strategy", "save_total_limit",
    "project", "dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor",
    "dataloader_persistent_workers", "local_rank", "hub_token", "skip_memory_metrics", "eval_steps", "eval_strategy",
    "per_device_eval_batch_size", "certificate", "require_certificate",
}  # fmt: skip
_SECRET = {"hub_token"}


def settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide what is learnt, as plain JSON."""
    free = (*_FREE, *(key for key in resolved(config) if key.startswith("alarm_")))
    return {key: value for key, value in resolved(config).items() if key not in free}


def resolved(config: TrainConfig) -> dict[str, Any]:
    """Return all settings as plain JSON, but those that are secret."""
    plain = {f.name: getattr(config, f.name) for f in fields(config) if f.init and f.name not in _SECRET}
    settings: dict[str, Any] = json.loads(json.dumps(plain, default=_plain))
    return settings


def identity(method: str, config: TrainConfig, data: str, revision: str) -> dict[str, Any]:
    """Return what a run is: ``data`` is the hash of its examples, ``revision`` that of the weights it starts from."""
    return {
        "trainer": method,
        "settings": settings(config),
        "data": data,
        "parent": {"name": config.model, "revision": revision},
        "processes": config.world_size if config.deals_out else 1,
    }


def claim(folder: Path, identity: Mapping[str, Any], file: str = IDENTITY) -> None:
    """Take ``folder`` for this run. Raises `InputError` where it holds another one, and says how that differs.

    One that never took a step holds nothing: a wrong setting can be mended where it was found.
    """
    if (folder / file).is_file():
        kept = json.loads((folder / file).read_text(encoding="utf-8"))
        now = json.loads(json.dumps(identity))
        different = _differences(_as_started(kept, now), now)
        if not different:
            return
        left = sorted(folder.iterdir())
        if not all(_is_preparation(path.name) for path in left):
            many = kept.get("processes")
            processes = f", in {many} processes" if many not in (None, now.get("processes")) else ""
            raise InputError(
                f"it holds another run: {'; '.join(different)}",
                where=str(folder),
                fix=f"choose another folder, or the settings of the run that is there{processes}",
            )
        for path in left:  # the samples and references of a run that ended before its first step, and said why
            path.unlink()
    expect_folder(folder, file)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / file, json.dumps(identity, indent=2) + "\n")


def expect_folder(folder: Path, file: str = IDENTITY) -> None:
    """Raise `InputError` where no run can have ``folder``, as far as that can be told before it is known what it is."""
    if folder.is_dir() and not (folder / file).is_file() and any(folder.iterdir()):
        raise InputError("it is not empty, and holds no such run", where=str(folder), fix="choose another folder")
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise InputError("this is a file", where=str(nearest), fix="choose another folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError("nothing can be written here", where=str(nearest), fix="choose another folder")


def _as_started(kept: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return ``kept`` as if it had been started in as many processes as ``now``, where that learns the same.

    A step's examples are dealt out to processes in turn: half as many that add up twice as many batches each learn from
    the same ones. Runs of earlier versions do not say in how many processes they were started.
    """
    if "processes" not in kept:
        return {**kept, "processes": now.get("processes")}
    batches = [run["processes"] * run["settings"].get("gradient_accumulation_steps", 1) for run in (kept, now)]
    if batches[0] != batches[1]:
        return kept
    same = {name: now["settings"][name] for name in ("gradient_accumulation_steps",) if name in now["settings"]}
    return {**kept, "processes": now["processes"], "settings": {**kept["settings"], **same}}


def _is_preparation(name: str) -> bool:
    """Whether a run leaves a file of this name before its first step, in which nothing is learnt."""
    return name in (IDENTITY, "refused.jsonl", "samples.jsonl") or name.startswith("reference-")


def finished(method: str, config: TrainConfig, data: str) -> dict[str, Any] | None:
    """Return the lineage of the run that ``config`` describes, if it is finished, else None.

    Raises `InputError` where the folder's finished run is another one.
    """
    folder = Path(config.output_dir or "")
    if not (folder / LINEAGE).is_file():
        return None
    lineage: dict[str, Any] = json.loads((folder / LINEAGE).read_text(encoding="utf-8"))
    asked = identity(method, config, data, lineage["parent"]["revision"])
    if "processes" in lineage:  # a finished run is the same wherever it is asked for
        asked["processes"] = lineage["processes"]
    claim(folder, asked)
    return lineage


def lineage(
    run: Mapping[str, Any], constitutions: Sequence[str], facts: Mapping[str, Any], others: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the content of ``lineage.json``: the ``run``'s identity, and all that its model comes from.

    ``constitutions`` are the hashes that its own data names, and ``others`` further models that taught it (a reward
    model): all constitutions of those and of the parent are named too. ``facts`` holds counts and figures.
    """
    parents = [own for name in (run["parent"]["name"], *others) if (own := inherited(name))]
    constitution_hashes = [*constitutions, *(name for parent in parents for name in parent["constitutions"])]
    return {
        **run,
        "constitutions": list(dict.fromkeys(constitution_hashes)),
        "ancestors": parents,
        **facts,
        "packages": versions(),
        "python": platform.python_version(),
    }


def inherited(model: str) -> dict[str, Any] | None:
    """Return where a model that was trained here comes from; None for models from elsewhere."""
    file = Path(model).expanduser() / LINEAGE
    if not file.is_file():
        return None
    card = json.loads(file.read_text(encoding="utf-8"))
    kept = ("trainer", "data", "parent", "constitutions", "ancestors")
    return {"name": model} | {key: card[key] for key in kept}


def versions() -> dict[str, str]:
    """Return the versions of the packages that can change a number."""
    installed: dict[str, str] = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted({*old, *new})
            for line in _differences(old.get(key), new.get(key), f"{path}.{key}".removeprefix(".settings").lstrip("."))
        ]
    return [] if old == new else [f"{path} was {old!r}, is {new!r}"]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return vars(value) if hasattr(value, "__dict__") else str(value)
