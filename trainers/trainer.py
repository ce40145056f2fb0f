"""What all methods share that learn from rows: transformers' `Trainer` on batches of trees.

A batch is a number of examples, whatever their lengths. Every loss is ``sum_i w_i L_i / sum_i n_i`` over all examples
of an optimiser step, those of all accumulated batches and all processes: so it does not matter how they were split
(but for KTO, whose reference point is a mean over a batch).
"""

import contextlib
import math
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.fsdp import StateDictType
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints

from base.errors import InputError
from critic.local.trees import attention
from trainers.batches import data as reading
from trainers.batches import forward, norms, proof, vocabulary
from trainers.batches.data import Data
from trainers.batches.encoding import Encoder
from trainers.batches.examples import Example
from trainers.batches.inputs import Collator, Examples, Inputs
from trainers.config import TrainConfig, check_batches, check_evaluations
from trainers.folder import checkpoint, finish
from trainers.folder.disk import saving

_PROVEN_ON = 16
"""Examples that the proof is taken from."""


class NotFinite(InputError):
    """The loss of a batch is not a number. The last checkpoint is from before it."""


def rows_of(tokens: int, row: int) -> int:
    """Return how many examples of so many ``tokens`` a row of ``row`` tokens holds: one at least."""
    return max(1, row // max(tokens, 1))


Watched = dict[str, Tensor]
"""Numbers of single examples to report, by name: each ``[n]`` for the n examples that have one."""


def accuracies(lead_E: Tensor, probability_E: Tensor) -> Tensor:
    """Return whether the side that the label prefers leads, ``[n]``, of the n pairs whose label prefers one.

    ``lead_E`` is that of the chosen answer, which a probability below 0.5 speaks against. An even lead is half right.
    """
    towards_E = lead_E * torch.sign(probability_E - 0.5)
    return ((towards_E > 0).float() + 0.5 * (lead_E == 0).float())[probability_E != 0.5]


class TreeTrainer(Trainer):
    """See the module's docstring. A trainer says which examples it takes, and their losses.

    ``train_dataset`` and ``eval_dataset`` are `trainers.batches.data.Data`, or rows as TRL's trainers take them (a
    `datasets.Dataset`). ``processing_class`` is the tokenizer, with a chat template.
    """

    wanted: ClassVar[tuple[type[Example], ...]]
    reward: ClassVar[bool] = False
    examples_of: ClassVar[type[Examples]] = Examples
    args: TrainConfig
    model: Any
    data_collator: Any

    def __init__(
        self,
        model: PreTrainedModel | nn.Module,
        args: TrainConfig,
        train_dataset: Data | Sequence[Mapping[str, Any]],
        processing_class: PreTrainedTokenizerBase,
        eval_dataset: Data | Sequence[Mapping[str, Any]] | None = None,
        **others: Any,
    ) -> None:
        padding = self._padding(model, processing_class)
        self.encoder = Encoder(processing_class, args.model, args.max_length, padding)
        self.examples = self._examples(train_dataset, "train_dataset")
        self.held_out = None if eval_dataset is None else self._examples(eval_dataset, "eval_dataset")
        check_evaluations(args, self.held_out is not None)
        check_batches(args, len(self.examples))
        self._watched: dict[str, list[float]] = defaultdict(list)
        self._staging, self._loaded_from = False, ""
        self.stored: torch.dtype | None = None  # that gathered weights are saved in, once they are finished
        inner = _innermost(model)
        parts = [part for part in (self.examples, self.held_out) if part is not None]
        highest = max(part.highest for part in parts)
        longest = max(part.longest for part in parts)
        if padding is not None:
            inner.config.get_text_config().pad_token_id = padding
        first = [self.examples[i].tree for i in range(min(len(self.examples), _PROVEN_ON))]
        vocabulary.check_rows(inner, processing_class, highest, args.model)
        if not self.reward:
            vocabulary.learn_end(inner, processing_class, args.model)
        forward.enable(inner)
        norms.round_once(inner)
        self.short = proof.samples(first, proof.needed(inner.config, longest))
        """Short trees of the run's own tokens, to compare models on."""
        super().__init__(
            model=model,
            args=args,
            data_collator=Collator("padded"),  # type: ignore[arg-type]  # its batch is no dictionary
            train_dataset=self.examples,
            eval_dataset=self.held_out,
            processing_class=processing_class,
            **others,
        )
        self.model_accepts_loss_kwargs = True  # the loss is divided here, by all that an optimiser step holds
        # The model is where it will be trained by now, and the attention of a GPU is another than that of a CPU.
        self.proof = proof.prove(inner, self.short, longest, args.prefix_packing, args.model, first)
        if args.prefix_packing is None and args.process_index == 0:
            self.proof.tell()
        attention.attend_by(inner, attention.NAME if self.proof.path == "packed" else attention.own(inner))
        self.data_collator = Collator(self.proof.path)

    def losses(self, values: Tensor, inputs: Inputs) -> tuple[Tensor, Watched]:
        """Return the loss of each example, ``[E]``, and what to report. ``values``: see `forward.enable`."""
        raise NotImplementedError  # each trainer has its own

    def counts(self, inputs: Inputs) -> list[float]:
        """Return n of each example: what the summed, weighted losses are divided by. Its weight, unless overridden."""
        return [example.weight for example in inputs.examples]

    def figures(self, watched: Mapping[str, list[float]]) -> dict[str, float]:
        """Make the figures of an evaluation of what was reported of each held-out example: means, unless overridden."""
        return {name: sum(values) / len(values) for name, values in watched.items() if values}

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Inputs,  # type: ignore[override]  # no dictionary
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the batch's share of the loss of the optimiser step that it is part of."""
        losses_E, watched = self.losses(model(batch=inputs.batch), inputs)
        weights_E = inputs.column("weight", losses_E.device)
        total = (losses_E * weights_E).sum()
        if not math.isfinite(float(total.detach())):
            self._stop(losses_E, inputs)
        for name, values in watched.items():
            self._watched[name] += values.detach().tolist()
        assert num_items_in_batch is not None
        share: Tensor = total / num_items_in_batch * self.accelerator.num_processes
        return share

    def _stop(self, losses_E: Tensor, inputs: Inputs) -> None:
        bad = [row.example.where for row, ok in zip(inputs.rows, losses_E.isfinite().tolist(), strict=True) if not ok]
        raise NotFinite(
            f"the loss is not a number at step {self.state.global_step + 1}",
            where=", ".join(bad or [row.example.where for row in inputs.rows]),
            fix="the last checkpoint is from before this batch; look at these rows, or lower learning_rate",
        )

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the weights that decay: none of norms and biases, whatever a model calls them."""
        vectors = {
            name for name, weight in model.named_parameters() if len(getattr(weight, "ds_shape", weight.shape)) < 2
        }
        return [name for name in super().get_decay_parameter_names(model) if name not in vectors]

    def create_optimizer(self, *args: Any, **named: Any) -> torch.optim.Optimizer:
        """Make the optimiser. Raises `InputError` for one whose package is missing, or whose settings don't fit."""
        try:
            optimizer: torch.optim.Optimizer = super().create_optimizer(*args, **named)
        except (ImportError, ValueError) as error:
            raise InputError(str(error), where="optim", fix="take another optimiser, or other settings") from error
        return optimizer

    def create_scheduler(self, *args: Any, **named: Any) -> Any:
        """Make the learning rate's schedule. Raises `InputError` for one that lacks a setting, or has one too many."""
        try:
            return super().create_scheduler(*args, **named)
        except (TypeError, ValueError) as error:
            raise InputError(
                str(error), where="lr_scheduler_type", fix="give what it needs in lr_scheduler_kwargs, or take another"
            ) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._loaded_from = resume_from_checkpoint
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        self._loaded_from = str(self.state.best_model_checkpoint)
        super()._load_best_model()

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Load what the checkpoint has under other names. Weights that are shared are saved once, and not missing."""
        weights = dict(self.model.named_parameters(remove_duplicate=False))
        absent = weights.keys() & set(load_result.missing_keys)
        there = {weight.data_ptr() for name, weight in weights.items() if name not in absent}
        if any(weights[name].data_ptr() not in there for name in absent):
            checkpoint.load_renamed(_innermost(self.model), Path(self._loaded_from))

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | float | None = None) -> Tensor | float | None:
        norm: Tensor | float | None = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]  # untyped there
        if norm is not None and not math.isfinite(float(norm)) and self.accelerator.scaler is None:
            raise NotFinite(
                f"the gradient is not a number at step {self.state.global_step + 1}",
                where=str(self.args.output_dir),
                fix="the last checkpoint is from before this step; lower learning_rate",
            )
        return norm

    def _get_num_items_in_batch(self, batch_samples: list[Inputs], device: torch.device) -> Tensor:
        total = torch.tensor(sum(sum(self.counts(inputs)) for inputs in batch_samples), device=device)
        gathered: Tensor = self.accelerator.gather(total)
        return gathered.sum()

    def _prepare_inputs(self, inputs: Inputs) -> Inputs:  # type: ignore[override]  # no dictionary
        return inputs.to(self.args.device)

    def _prepare_context_parallel_inputs(self, model: nn.Module, inputs: Inputs) -> Any:  # type: ignore[override]  # no dictionary
        return contextlib.nullcontext, inputs

    def floating_point_ops(self, inputs: Inputs) -> int:  # type: ignore[override]  # no dictionary
        """Return 0: transformers counts a padded batch, which there is none of."""
        return 0

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = []  # type: ignore[assignment]  # declared as None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what was watched since the last time to ``logs``."""
        if "loss" in logs:
            parts = gather_object([dict(self._watched)])  # of all processes, also of those that watched nothing
            for name in dict.fromkeys(name for part in parts for name in part):
                values = [value for part in parts for value in part.get(name, ())]
                if values:
                    logs[name] = sum(values) / len(values)
            self._watched.clear()
        super().log(logs, start_time)

    @torch.no_grad()
    def evaluate(  # type: ignore[override]  # of our own data sets only
        self, eval_dataset: Examples | None = None, ignore_keys: object = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return figures over held-out examples, each counted once however many processes there are."""
        examples = eval_dataset or self.held_out
        if examples is None:
            raise InputError("there is nothing to evaluate on", where="eval_data", fix="give eval_data or eval_share")
        model = self._wrap_model(self.model, training=False)
        model.eval()
        total, count = 0.0, 0.0
        watched: dict[str, list[float]] = defaultdict(list)
        for inputs, counted in self.shards(examples):
            with self.accelerator.autocast():  # as in training, before it as well
                losses_E, watched_now = self.losses(model(batch=inputs.batch), inputs)
            if not counted:
                continue
            total += float((losses_E * inputs.column("weight", losses_E.device)).sum())
            count += sum(self.counts(inputs))
            for name, values in watched_now.items():
                watched[name] += values.tolist()
        parts = gather_object([(total, count, dict(watched))])
        merged: dict[str, list[float]] = defaultdict(list)
        for _, _, part in parts:
            for name, values in part.items():
                merged[name] += values
        whole = sum(part[0] for part in parts)
        of = sum(part[1] for part in parts)
        figures = {"loss": whole / of} | self.figures(merged)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        try:
            return bool(super()._determine_best_metric(metrics, trial))
        except KeyError as error:
            raise InputError(
                f"no evaluation gives {self.args.metric_for_best_model}",
                where="metric_for_best_model",
                fix=f"expected one of {', '.join(sorted(metrics))}",
            ) from error

    def shards(self, examples: Examples, only: Sequence[int] | None = None) -> Iterator[tuple[Inputs, list[int]]]:
        """Yield this process's batches, and which examples each holds: none where it is there for the others' sake.

        ``only`` names the examples that are wanted, if not all. All processes get equally many batches, as sharded
        models need, and none has more tokens than `rows_of` allows.
        """
        rank, world = self.args.process_index, self.args.world_size
        size = min(self.args.eval_batch_size, rows_of(examples.widest, self.args.row_tokens))
        wanted = range(len(examples)) if only is None else only
        mine = list(wanted[rank::world])
        for start in range(0, math.ceil(len(wanted) / world), size):
            chosen = mine[start : start + size]
            yield self.data_collator([examples[i] for i in chosen or [0]]).to(self.args.device), chosen

    @torch.no_grad()
    def short_values(self) -> Tensor:
        """Return what all processes together read off the short trees, in the type that the run computes in."""
        model = self._wrap_model(self.model, training=False).eval()
        with self.accelerator.autocast():
            values: Tensor = model(batch=self.data_collator.batch(self.short).to(self.args.device))
        return values.float().cpu()

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Have `save_model` gather what FSDP has spread over processes, whatever checkpoints are made of."""
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        if plugin is None:
            yield
            return
        before = plugin.state_dict_type
        try:
            plugin.state_dict_type = StateDictType.FULL_STATE_DICT
            yield
        finally:
            plugin.state_dict_type = before

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save gathered weights in the type that the finished model is to have."""
        if self.stored is None or state_dict is None:
            super()._save(output_dir, state_dict)
            return
        inner = _innermost(self.model)
        inner.config.dtype = self.stored
        super()._save(output_dir, finish.cast(inner, state_dict, self.stored))

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / ".saving") if self._staging else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save beside the checkpoints and move the whole one into place: a half-written one is never taken for one."""
        out = Path(super()._get_output_dir(trial))
        staging, name = out / ".saving", f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._staging = True
        try:
            with saving(f"the checkpoint of step {self.state.global_step}", out):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    self._move(staging / name, out / name)
        finally:
            self._staging = False
            if self.args.should_save:
                shutil.rmtree(staging, ignore_errors=True)
        if self.args.should_save:
            rotate_checkpoints(
                output_dir=str(out),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=False,
            )

    def _move(self, source: Path, target: Path) -> None:
        if self.state.best_model_checkpoint == str(source):  # its own state names the folder that it was written in
            self.state.best_model_checkpoint = str(target)
            self.state.save_to_json(str(source / TRAINER_STATE_NAME))
        shutil.rmtree(target, ignore_errors=True)
        source.rename(target)

    def _examples(self, given: Data | Sequence[Mapping[str, Any]], name: str) -> Examples:
        data = given if isinstance(given, Data) else reading.from_rows(given, self.wanted, name)
        return self.examples_of(data, self.encoder.reward if self.reward else self.encoder.policy)

    def _padding(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> int | None:
        """Return what the saved model will take for padding: transformers' trainer gives it the tokenizer's."""
        config = model.config.get_text_config()  # type: ignore[union-attr, operator]  # torch types any attribute of a module as a tensor
        padding: int | None = config.pad_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        return padding if self.reward else None


def _innermost(model: nn.Module) -> PreTrainedModel:
    """Return the transformers model inside of PEFT's wrapper, if there is one."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]  # likewise
    assert isinstance(inner, PreTrainedModel)
    return inner
