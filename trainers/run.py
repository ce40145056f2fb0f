"""One training run, from a config to a model folder: the same command again goes on where it stopped.

``output_dir`` holds ``run.json`` (what the run is: settings, data, parent model), ``checkpoint-N`` folders,
``metrics.jsonl``, ``refused.jsonl`` (rows that were not trained on, each with its reason), and in the end the model
itself, with ``lineage.json``, a model card and ``report.html``.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint

from constitution.errors import InputError
from critic.engines.rewards import Manifest
from critic.run.results import replace_text
from trainers import data as reading
from trainers import models
from trainers.config import DPOConfig, RewardConfig, SFTConfig, TrainConfig
from trainers.data import Data
from trainers.dpo import DPOTrainer
from trainers.examples import Demonstration, Pair, Rated
from trainers.metrics import MetricsFile
from trainers.models import Trainee
from trainers.reward import RewardTrainer, heads
from trainers.sft import SFTTrainer
from trainers.trainer import TreeTrainer

IDENTITY, LINEAGE, REFUSED = "run.json", "lineage.json", "refused.jsonl"

# Settings that may change between the starts of one run: they decide where and what is reported, not what is learnt.
_FREE = {
    "output_dir", "run_name", "report_to", "disable_tqdm", "log_level", "log_level_replica", "logging_first_step",
    "logging_steps", "logging_strategy", "save_steps", "save_strategy", "save_total_limit", "project",
    "dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor", "dataloader_persistent_workers",
    "local_rank", "hub_token", "skip_memory_metrics", "eval_steps", "eval_strategy", "per_device_eval_batch_size",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run came to: its folder, how many examples it learnt from, how many were refused, and its last figures."""

    folder: Path
    examples: int
    refused: Mapping[str, int]
    figures: Mapping[str, float]
    steps: int


def train(config: TrainConfig, callbacks: list[TrainerCallback] | None = None) -> Trained:
    """Train what ``config`` says, or go on with it. Raises `InputError` for whatever a person has to mend."""
    method = _METHODS[type(config)]
    folder = Path(config.output_dir or "")
    set_seed(config.seed)  # a reward model's new heads are drawn when it is loaded
    data, held_out = _data(config, method.wanted(config))
    trainee = method.load(config, data)
    identity = _identity(config, data, trainee)
    _claim(folder, identity)
    set_seed(config.seed)
    trainer = method.build(config, trainee, data, held_out, [MetricsFile(folder), *(callbacks or [])])
    _write_refused(folder, trainer)
    resume = get_last_checkpoint(str(folder))
    trainer.train(resume_from_checkpoint=resume)
    figures = trainer.evaluate() if trainer.held_out else {}
    _finish(trainer, identity | {"figures": figures, "constitutions": list(data.constitutions)})
    counted = reading.Data((), tuple(trainer.examples.refused)).why_refused()
    return Trained(folder, len(trainer.examples), counted, figures, trainer.state.global_step)


@dataclass(frozen=True)
class _Method:
    wanted: Callable[[Any], tuple[type[Any], ...]]
    load: Callable[[Any, Data], Trainee]
    build: Callable[..., TreeTrainer]


def _simple(trainer: type[TreeTrainer]) -> Callable[..., TreeTrainer]:
    def build(config: Any, trainee: Trainee, data: Data, held_out: Data | None, callbacks: list[Any]) -> TreeTrainer:
        return trainer(trainee.model, config, data, trainee.tokenizer, held_out, callbacks=callbacks)

    return build


def _reward(
    config: RewardConfig, trainee: Trainee, data: Data, held_out: Data | None, callbacks: list[Any]
) -> TreeTrainer:
    manifest = Manifest(heads=heads(data.examples, config))
    return RewardTrainer(
        trainee.model, config, data, trainee.tokenizer, held_out, manifest=manifest, callbacks=callbacks
    )


_METHODS: dict[type[TrainConfig], _Method] = {
    SFTConfig: _Method(
        lambda config: (Demonstration,), lambda config, data: models.policy(config), _simple(SFTTrainer)
    ),
    RewardConfig: _Method(
        lambda config: RewardTrainer.wanted,
        lambda config, data: models.reward_model(config, len(heads(data.examples, config))),
        _reward,
    ),
    DPOConfig: _Method(
        lambda config: (Rated,) if config.loss == "kto" else (Pair,),
        lambda config, data: models.policy(config),
        _simple(DPOTrainer),
    ),
}


def _data(config: TrainConfig, wanted: tuple[type[Any], ...]) -> tuple[Data, Data | None]:
    data = reading.read_all(config.data, wanted)
    if config.eval_data:
        return data, reading.read_all(config.eval_data, wanted)
    if not config.eval_share:
        return data, None
    data, held_out = reading.hold_out(data, config.eval_share)
    if not data.examples or not held_out.examples:
        raise InputError(
            f"eval_share={config.eval_share} leaves {len(data.examples)} examples to train on and "
            f"{len(held_out.examples)} to evaluate on",
            where="eval_share",
            fix="give more data, another share, or eval_data",
        )
    return data, held_out


def settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide what is learnt, as plain JSON."""
    plain = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.init and f.name not in _FREE}
    found: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return found


def _identity(config: TrainConfig, data: Data, trainee: Trainee) -> dict[str, Any]:
    return {
        "trainer": type(config).__name__.removesuffix("Config").lower(),
        "settings": settings(config),
        "data": data.sha256,
        "parent": {"name": config.model, "revision": trainee.revision},
    }


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Take ``folder`` for this run. Raises `InputError` where it holds another one, and says how that differs."""
    file = folder / IDENTITY
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        if found == identity:
            return
        raise InputError(
            f"it holds another run: {'; '.join(_differences(found, identity))}",
            where=str(folder),
            fix="choose another output_dir, or the settings of the run that is there",
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            "it is not empty, and holds no training run", where=str(folder), fix="choose another output_dir"
        )
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(file, json.dumps(identity, indent=2) + "\n")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    pairs = [(key, old.get(key), new.get(key)) for key in ("trainer", "data", "parent")]
    keys = sorted({*old.get("settings", {}), *new["settings"]})
    pairs += [(key, old.get("settings", {}).get(key), new["settings"].get(key)) for key in keys]
    return [f"{key} was {before!r}, is {now!r}" for key, before, now in pairs if before != now]


def _write_refused(folder: Path, trainer: TreeTrainer) -> None:
    rows = [*trainer.examples.refused, *(trainer.held_out.refused if trainer.held_out else ())]
    replace_text(folder / REFUSED, "".join(row.model_dump_json() + "\n" for row in rows))


def _finish(trainer: TreeTrainer, lineage: dict[str, Any]) -> None:
    """Save the model where `from_pretrained` finds it: adapters merged into it, and apart in ``adapter``."""
    if not trainer.args.should_save:
        return
    folder = Path(trainer.args.output_dir or "")
    if hasattr(trainer.model, "merge_and_unload"):
        trainer.save_model(str(folder / "adapter"), _internal_call=True)
        trainer.model = trainer.model.merge_and_unload()
    trainer.save_model(str(folder))
    replace_text(folder / LINEAGE, json.dumps(lineage, indent=2) + "\n")
