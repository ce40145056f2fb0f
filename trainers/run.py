"""One training run, from a config to a model folder: the same command again goes on where it stopped.

``output_dir`` holds ``run.json`` (what the run is: settings, data, parent model), ``checkpoint-N`` folders,
``metrics.jsonl``, ``refused.jsonl`` (rows that were not trained on, each with its reason), and in the end the model
itself with `trainers.folder.results`' files, of which ``lineage.json`` comes last: a folder with one is finished.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint

from base.errors import InputError
from critic.local.rewards import Manifest
from critic.run.folder.results import replace_text
from trainers import models, ppo_run
from trainers.batches import data as reading
from trainers.batches.data import Data
from trainers.batches.examples import Demonstration, Pair, Rated
from trainers.config import DPOConfig, RewardConfig, SFTConfig, TrainConfig
from trainers.dpo import DPOTrainer
from trainers.folder import finish, results
from trainers.folder.disk import saving
from trainers.folder.identity import claim, finished, identity
from trainers.folder.metrics import MetricsFile
from trainers.folder.results import Counts, Trained
from trainers.folder.samples import Samples
from trainers.gate import certified, named
from trainers.models import Trainee
from trainers.online.config import PPOConfig
from trainers.reward import RewardTrainer, heads
from trainers.sft import SFTTrainer
from trainers.trainer import TreeTrainer

REFUSED = "refused.jsonl"

Tell = Callable[[Counts], None]


def train(
    config: TrainConfig, callbacks: list[TrainerCallback] | None = None, tell: Tell = lambda counts: None
) -> Trained:
    """Train what ``config`` says, or go on with it; a finished run is left as it is.

    ``tell`` hears what is trained on before the first step. Raises `InputError` for whatever a person has to mend.
    """
    if isinstance(config, PPOConfig):
        return ppo_run.train(config, callbacks or [], tell)
    method = _METHODS[type(config)]
    folder = Path(config.output_dir or "")
    certificates = certified(config, method.wanted(config))
    data, held_out = _data(config, method.wanted(config))
    if done := finished(config, data.sha256):
        return Trained.of(folder, done, new=False)
    set_seed(config.seed)  # a reward model's new heads are drawn when it is loaded
    trainee = method.load(config, data)
    run = identity(config, data.sha256, trainee.revision)
    with config.main_process_first(local=False, desc="claiming the folder"):
        claim(folder, run)
    set_seed(config.seed)
    trainer = method.build(config, trainee, data, held_out, [MetricsFile(folder), *(callbacks or [])])
    trainer.remove_callback(PrinterCallback)  # metrics.jsonl has what it would print
    counts = _counts(trainer)
    if config.process_index == 0:
        _write_refused(folder, trainer)
        tell(counts)
    samples = _samples(trainer)
    samples.take("before", trainer.model, trainee.tokenizer)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    if trainer.held_out and not _evaluated(trainer):
        trainer.evaluate()
    samples.take("after", trainer.model, trainee.tokenizer)
    computed = {"batches": trainer.proof.facts(), "saved": _save(trainer, trainee)}
    found = results.facts(counts, results.figures(folder), trainer.state.global_step) | computed
    if config.process_index == 0:
        results.write(config, run, data.constitutions, found | named(certificates), samples.rows)
    return Trained.of(folder, found, new=True)


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
    if trainee.heads not in (None, manifest.heads):
        raise InputError(
            f"its heads are {', '.join(trainee.heads or ())}, and the data is for {', '.join(manifest.heads)}",
            where=config.model,
            fix="train from a language model, or give the data of the model's groups",
        )
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


def _counts(trainer: TreeTrainer) -> Counts:
    refused = [*trainer.examples.refused, *(trainer.held_out.refused if trainer.held_out else ())]
    why: Mapping[str, int] = Data((), tuple(refused)).why_refused()
    return Counts(len(trainer.examples), len(trainer.held_out) if trainer.held_out else 0, dict(why))


def _write_refused(folder: Path, trainer: TreeTrainer) -> None:
    rows = [*trainer.examples.refused, *(trainer.held_out.refused if trainer.held_out else ())]
    replace_text(folder / REFUSED, "".join(row.model_dump_json() + "\n" for row in rows))


def _samples(trainer: TreeTrainer) -> Samples:
    """Answers to held-out prompts, else to the first ones. Reward models write none, and sharded weights can't."""
    writes = not (trainer.reward or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
    shown = trainer.held_out or trainer.examples
    prompts = [example.prompt for example in shown.examples] if writes and trainer.args.process_index == 0 else []
    return Samples(Path(trainer.args.output_dir or ""), prompts, trainer.args.seed)


def _evaluated(trainer: TreeTrainer) -> bool:
    """Whether the weights as they are now have been evaluated; all processes agree on it."""
    now = trainer.state.global_step
    return any(row.get("step") == now and "eval_loss" in row for row in trainer.state.log_history)


def _save(trainer: TreeTrainer, trainee: Trainee) -> dict[str, Any]:
    """Save the model where `from_pretrained` finds it: adapters merged into it, and apart in ``adapter``.

    Return how it was saved, as plain JSON.
    """
    folder = Path(trainer.args.output_dir or "")
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return _save_sharded(trainer, trainee, folder)
    saved: dict[str, Any] = {}
    if trainer.args.process_index == 0:  # all have the same weights, and what is read again has to be written
        saved = _save_whole(trainer, trainee, folder)
    trainer.accelerator.wait_for_everyone()
    return saved


def _save_whole(trainer: TreeTrainer, trainee: Trainee, folder: Path) -> dict[str, Any]:
    row = finish.row_of(trainer.short)
    model: Any = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if isinstance(model, PeftModel):
        with saving("the adapters", folder):
            trainer.save_model(str(folder / "adapter"), _internal_call=True)
        model = trainer.model = finish.merge(model, row, folder)

    def write() -> None:
        trainer.save_model(str(folder))

    with saving("the finished model", folder):
        return finish.save(model, row, trainee.dtype, trainee.dropped, folder, write).facts()


def _save_sharded(trainer: TreeTrainer, trainee: Trainee, folder: Path) -> dict[str, Any]:
    """Save gathered weights. What all processes together read off them before is compared with the folder's."""
    model: Any = trainer.model
    before = trainer.short_values()
    with saving("the finished model", folder):
        if hasattr(model, "merge_and_unload"):
            trainer.save_model(str(folder / "adapter"), _internal_call=True)
            trainer.model = model.merge_and_unload()
        trainer.stored = trainee.dtype
        trainer.save_model(str(folder))
    if trainer.args.process_index == 0:
        finish.reread_values(trainer.short, before, trainer.reward, folder)
    trainer.accelerator.wait_for_everyone()
    return {"dtype": str(trainee.dtype).removeprefix("torch."), "rounding": None}
