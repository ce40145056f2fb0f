"""Methods that learn from rows: their runs, from a config to a model folder. See `trainers.run`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint

from critic.records import Quarantined
from trainers import models
from trainers.batches import data as reading
from trainers.batches.data import Data
from trainers.batches.examples import NAMES, Example
from trainers.config import TrainConfig, check_shares
from trainers.folder import checkpoint, finish, results
from trainers.folder.disk import saving
from trainers.folder.identity import claim, finished, identity
from trainers.folder.metrics import MetricsFile
from trainers.folder.results import Trained, TrainingCounts
from trainers.folder.samples import SHARE, WRITTEN_COSTS, Samples
from trainers.gate import certified, named
from trainers.method import Method, Tell
from trainers.models import Trainee
from trainers.planning.records import StepWork
from trainers.trainer import TreeTrainer, rows_of

C = TypeVar("C", bound=TrainConfig)

Build = Callable[..., TreeTrainer]
"""What makes a trainer of model, config, examples, tokenizer, held-out examples and ``callbacks``, as a class does."""


def _policy(config: TrainConfig, data: Data) -> Trainee:
    return models.policy(config)


@dataclass(frozen=True, kw_only=True)
class Offline(Method[C]):
    """A method that learns from rows.

    ``trainer`` is the class of its trainer, or what makes one. ``rows_of`` says which of the ``rows`` it takes under a
    config, where that depends; ``load`` loads what is trained, a language model unless it is given.
    """

    trainer: Build
    rows_of: Callable[[C], tuple[str, ...]] | None = None
    load: Callable[[C, Data], Trainee] = _policy

    def wanted(self, config: C) -> tuple[type[Example], ...]:
        """Return the kinds of examples that it takes."""
        return tuple(NAMES[name] for name in (self.rows_of(config) if self.rows_of else self.rows))

    def work(self, config: C, processes: int) -> StepWork:
        """See `Method.work`. The largest batch has prompts of next to no tokens: nothing is shared then."""
        step = config.per_device_train_batch_size
        answers = self.plan.answers
        row = min(config.per_device_eval_batch_size, rows_of(answers * config.max_length, config.row_tokens))
        looks = self.plan.compared or config.eval_data or config.eval_share
        return StepWork(
            examples=step,
            answers=answers,
            prompt=0,
            answer=config.max_length,
            packed=config.prefix_packing is not False,
            accumulates=config.gradient_accumulation_steps > 1,
            evaluated=row * answers * config.max_length if looks else 0,
        )

    def train(self, config: C, callbacks: Sequence[TrainerCallback], tell: Tell) -> Trained:
        """See `Method.train`."""
        folder = Path(config.output_dir or "")
        certificates = certified(config, self.wanted(config))
        data, held_out = _data(config, self.wanted(config))
        if done := finished(self.name, config, data.sha256):
            return Trained.of(folder, done, new=False)
        set_seed(config.seed)  # a reward model's new heads are drawn when it is loaded
        trainee = self.load(config, data)
        run = identity(self.name, config, data.sha256, trainee.revision)
        with config.main_process_first(local=False, desc="claiming the folder"):
            claim(folder, run)
        set_seed(config.seed)
        trainer = self.trainer(
            trainee.model, config, data, trainee.tokenizer, held_out, callbacks=[MetricsFile(folder), *callbacks]
        )
        trainer.remove_callback(PrinterCallback)  # metrics.jsonl has what it would print
        refused = (*trainer.examples.refused, *(trainer.held_out.refused if trainer.held_out else ()))
        counts = _counts(trainer, refused)
        if config.process_index == 0:
            results.write_refused(folder, refused)
            tell(counts)
        samples = self._samples(trainer)
        samples.take("before", trainer.model, trainee.tokenizer)
        last = get_last_checkpoint(str(folder))
        if last is not None:
            checkpoint.check(Path(last))
            with config.main_process_first(local=False, desc="finding the best checkpoint"):
                checkpoint.place_best(Path(last), needed=config.load_best_model_at_end)
        trainer.train(resume_from_checkpoint=last)
        if trainer.held_out and not _evaluated(trainer):
            trainer.evaluate()
        samples.take("after", trainer.model, trainee.tokenizer)
        computed = {"batches": trainer.proof.facts(), "saved": _save(trainer, trainee)}
        facts = (
            results.facts(counts, results.figures(folder), trainer.state.global_step) | computed | named(certificates)
        )
        if config.process_index == 0:
            results.write(self.made, config, run, data.constitutions, facts, samples.rows)
        return Trained.of(folder, facts, new=True)

    def _samples(self, trainer: TreeTrainer) -> Samples:
        """Answers to held-out prompts, else to the first ones. Sharded weights can't write any."""
        writes = self.samples and not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
        shown = trainer.held_out or trainer.examples
        prompts = [example.prompt for example in shown.examples] if writes and trainer.args.process_index == 0 else []
        budget = int(SHARE * _tokens(trainer) / WRITTEN_COSTS)
        return Samples(Path(trainer.args.output_dir or ""), prompts, trainer.args.seed, budget)


def _tokens(trainer: TreeTrainer) -> float:
    """Return how many tokens the run trains on, as its examples are on the mean."""
    args, count = trainer.args, len(trainer.examples)
    step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    taken = args.max_steps * step if args.max_steps > 0 else args.num_train_epochs * count
    return taken * trainer.examples.tokens / count


def _data(config: TrainConfig, wanted: tuple[type[Any], ...]) -> tuple[Data, Data | None]:
    data = reading.read_all(config.data, wanted)
    if config.eval_data:
        return data, reading.read_all(config.eval_data, wanted)
    if not config.eval_share:
        return data, None
    data, held_out = reading.hold_out(data, config.eval_share)
    check_shares(config, len(data.examples), len(held_out.examples), "examples")
    return data, held_out


def _counts(trainer: TreeTrainer, refused: tuple[Quarantined, ...]) -> TrainingCounts:
    why: Mapping[str, int] = Data((), refused).why_refused()
    held_out = len(trainer.held_out) if trainer.held_out else 0
    return TrainingCounts(len(trainer.examples), held_out, dict(why), trainer.examples.thoughts)


def _evaluated(trainer: TreeTrainer) -> bool:
    """Whether the weights as they are now have been evaluated; all processes agree on it."""
    now = trainer.state.global_step
    if trainer.args.load_best_model_at_end and trainer.state.best_global_step not in (None, now):
        return False  # the weights are those of an earlier step
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
    with saving("the finished model", folder), trainer.gathering():
        if hasattr(model, "merge_and_unload"):
            trainer.save_model(str(folder / "adapter"), _internal_call=True)
            trainer.model = model.merge_and_unload()
        trainer.stored = trainee.dtype
        trainer.save_model(str(folder))
    if trainer.args.process_index == 0:
        finish.reread_values(trainer.short, before, trainer.reward, folder)
    trainer.accelerator.wait_for_everyone()
    return {"dtype": str(trainee.dtype).removeprefix("torch."), "rounding": None}
