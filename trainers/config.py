"""Settings of a training run: transformers' own, and what these trainers add. Unknown keys are errors.

A config file is YAML with the names of the fields; ``key=value`` on the command line replaces one of them.
"""

import dataclasses
import math
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

import torch
import yaml
from transformers import SchedulerType, TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from base.errors import InputError
from base.nearest import meant
from base.settings_file import read_settings_file
from critic.local.loading import default_device, default_dtype

C = TypeVar("C", bound="TrainConfig")

Bounds = tuple[tuple[str, float, bool], ...]
"""Of settings: the name, the lowest value, and whether that value itself is allowed."""

_BOUNDS: Bounds = (
    ("max_length", 2, True), ("row_tokens", 1, True), ("learning_rate", 0, True), ("weight_decay", 0, True),
    ("max_grad_norm", 0, True), ("num_train_epochs", 0, False), ("per_device_train_batch_size", 1, True),
    ("per_device_eval_batch_size", 1, True), ("gradient_accumulation_steps", 1, True), ("seed", 0, True),
)  # fmt: skip

COMMAND_LINE = "command line"
"""Where a setting stood, in errors."""

WITHOUT_EFFECT = (
    "label_smoothing_factor", "include_num_input_tokens_seen", "auto_find_batch_size", "prediction_loss_only",
    "eval_accumulation_steps", "eval_do_concat_batches", "eval_use_gather_object", "include_for_metrics",
    "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval", "label_names", "length_column_name", "do_predict",
    "resume_from_checkpoint", "save_only_model", "average_tokens_across_devices", "ignore_data_skip",
    "neftune_noise_alpha", "use_liger_kernel", "liger_kernel_config", "parallelism_config",
)  # fmt: skip
"""Settings of transformers that these trainers have no place for, whose losses, evaluations and resuming are their own.

A run that was killed goes on from its optimiser's state, so that a checkpoint of the weights alone is none, and with
the rows that it has not seen. NEFTune scales its noise by the length of a row, which is that of many chats where they
are packed, and DPO would compare with a reference that has none. Liger's kernels replace forward passes that are
replaced here. Batches are no dictionaries that accelerate could split or hand out.
"""

OF_THE_HUB = (
    "push_to_hub", "hub_model_id", "hub_strategy", "hub_always_push", "hub_revision", "hub_token",
)  # fmt: skip
"""Settings of transformers that send a model to the hub while it is trained.

It is sent too early then, without its card and its lineage, and a hub that can't be reached ends the run, even after
the last step. `cai train --push-to-hub` sends what is finished.
"""

Source = str | dict[str, Any]
"""A file, a run's directory or a data set; or ``{path: ..., ratio: ..., columns: prompt=question}``.

``ratio`` says how much to take of it, relative to others, and ``columns`` under which names it has what is read.
"""


@dataclass
class TrainConfig(TrainingArguments):
    """What all trainers share. ``output_dir`` and ``data`` must be given.

    Weights are kept in float32; ``bf16`` computes in bfloat16, by default where the hardware multiplies it fast.
    ``prefix_packing`` computes a prompt once for all of its answers and pads nothing; without it, each answer is a
    padded row of its own and the model's own attention is used. Unset, batches are packed where
    `trainers.batches.proof` finds that it makes no difference; true is packed or refused. ``lora`` has the settings of
    `peft.LoraConfig`.
    """

    without_effect: ClassVar[tuple[str, ...]] = WITHOUT_EFFECT
    deals_out: ClassVar[bool] = True
    """Whether a step's examples are as many for each process: with more processes, it learns from more of them."""

    model: str = "embedded"
    data: list[Source] = field(default_factory=list)
    eval_data: list[Source] = field(default_factory=list)
    eval_share: float = 0.0
    """The share of ``data`` that is held out if there is no ``eval_data``, by a hash of each prompt."""
    max_length: int = 1024
    """The longest prompt with its answer, in tokens. Longer ones are refused and counted, never cut."""
    prefix_packing: bool | None = None
    row_tokens: int = 1 << 14
    """The most tokens in a row of references or evaluations, which nothing is learnt from. No example is ever cut."""
    certificate: str | None = None
    """The certificate of the judge that gave the labels: a file, or the folder of ``certificate.json``.

    Unset, the one that lies beside the data."""
    require_certificate: bool | dict[str, float] = False
    """Whether labels by judges need a certificate; bounds, as in ``{accuracy: 0.7}``, have to be reached."""
    dropout: bool = False
    """Whether to use the dropout of the model's configuration. Without it, DPO starts at its reference."""
    lora: dict[str, Any] | None = None
    quantize: Literal["nf4"] | None = None
    """With ``lora``: how the frozen base is kept, if not in float32. nf4 is QLoRA's four bits (the extra ``qlora``)."""
    bf16: bool | None = None  # type: ignore[assignment]  # None until the hardware is known
    logging_steps: float = 0.005
    """The interval of logging, as a share of all steps; shorter runs log every step."""
    eval_steps: float | None = 0.1
    """The interval of evaluations, as a share of all steps, if ``eval_strategy`` is ``steps``."""
    save_total_limit: int | None = 2
    remove_unused_columns: bool = False
    use_cpu: bool = field(default_factory=lambda: default_device().type == "cpu")
    dataloader_pin_memory: bool = field(default_factory=lambda: default_device().type != "cpu")

    def __post_init__(self) -> None:
        for name in ("data", "eval_data"):
            if isinstance(value := getattr(self, name), str | dict):
                setattr(self, name, [value])
        device = torch.device("cpu") if self.use_cpu else default_device()
        self.use_cpu = device.type == "cpu"  # also where a GPU was meant and there is none
        if self.bf16 is None:
            self.bf16 = not self.fp16 and default_dtype(device).itemsize == 2
        if not 0 <= self.eval_share < 1:
            raise ValueError(f"eval_share is {self.eval_share}; expected at least 0 and less than 1")
        check_bounds(self, _BOUNDS)
        if self.max_steps == 0 or self.max_steps < -1:
            raise ValueError(f"max_steps is {self.max_steps}; expected 1 or more, or -1 for num_train_epochs")
        if self.quantize not in (None, "nf4"):
            raise ValueError(f"quantize is {self.quantize!r}; expected nf4, or null")
        if self.quantize and self.lora is None:
            raise ValueError(
                "quantize keeps a frozen base in four bits, and nothing would be learnt; give lora as well"
            )
        if self.train_sampling_strategy not in ("random", "sequential"):
            raise ValueError(
                f"train_sampling_strategy is {self.train_sampling_strategy!r}; expected random or sequential"
            )
        if self.fp16 and self.use_cpu:
            raise ValueError("fp16 is for GPUs, and this run is on a CPU; leave it out")
        _check_bounds(self.require_certificate)
        _check_effect(self)
        super().__post_init__()  # type: ignore[no-untyped-call]  # untyped there
        _check_trackers(self.report_to or [])
        _check_accelerate(self.accelerator_config)
        _check_schedule(self)

    @property
    def n_gpu(self) -> int:
        """One GPU a process, of however many: ``accelerate launch`` starts a process for each.

        With several, transformers' trainer would put `torch.nn.DataParallel` around the model, which hands a batch of
        trees whole to each copy.
        """
        return min(1, int(super().n_gpu))


def _check_effect(config: "TrainConfig") -> None:
    """Raise `ValueError` for a setting that would change nothing, and for those that send a model too early."""
    for name in _changed(config, config.without_effect):
        raise ValueError(f"{name} has no place in these trainers; leave it out")
    for name in _changed(config, OF_THE_HUB):
        token = "; its token is read from HF_TOKEN" if name == "hub_token" else ""
        raise ValueError(
            f"{name} has no place in these trainers, which send nothing to the hub before a model is finished; leave "
            f"it out, and give `cai train` the option --push-to-hub {config.hub_model_id or 'OWNER/NAME'}{token}"
        )


def _check_trackers(names: str | list[str]) -> None:
    """Raise `ValueError` for a tracker that is unknown or not installed: a trainer finds out once a model is loaded."""
    for tracker in get_reporting_integration_callbacks(names):
        try:
            tracker()
        except (RuntimeError, ImportError) as error:
            raise ValueError(f"report_to names what can't be reported to: {error}") from None


def _check_accelerate(given: Any) -> None:
    """Raise `ValueError` where accelerate is to split batches, hand them out, or give processes unequal numbers."""
    for name, usual in (("split_batches", False), ("dispatch_batches", False), ("even_batches", True)):
        if bool(getattr(given, name)) is not usual:
            raise ValueError(f"accelerator_config: {name} has no place in these trainers; leave it out")


def _check_schedule(config: "TrainConfig") -> None:
    """Raise `ValueError` for what transformers leaves out where the learning rate stays as it is."""
    kind = config.lr_scheduler_type
    if kind == "constant" and config.warmup_steps:
        raise ValueError("lr_scheduler_type is constant, which has no warm-up; expected constant_with_warmup")
    if kind in ("constant", "constant_with_warmup") and config.lr_scheduler_kwargs:
        raise ValueError(f"lr_scheduler_kwargs has no place beside {SchedulerType(kind).value}; leave it out")


def _changed(config: "TrainConfig", names: Sequence[str]) -> Iterator[str]:
    """Yield which of the settings ``names`` are not as they are by default."""
    for setting in dataclasses.fields(config):
        if setting.name not in names:
            continue
        default = setting.default if setting.default_factory is dataclasses.MISSING else setting.default_factory()
        value = getattr(config, setting.name)
        if value != default and (value or default):
            yield setting.name


def _check_bounds(wanted: object) -> None:
    if isinstance(wanted, bool):
        return
    if not isinstance(wanted, dict) or not all(isinstance(bound, int | float) for bound in wanted.values()):
        raise ValueError(f"require_certificate is {wanted!r}; expected true, false, or bounds as in {{accuracy: 0.7}}")


def check_bounds(config: TrainConfig, bounds: Bounds) -> None:
    """Raise `ValueError` for numbers that are too low, or none; None is allowed."""
    for name, low, allowed in bounds:
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and (value > low or (allowed and value == low))):
            raise ValueError(f"{name} is {value}; expected a number {'of at least' if allowed else 'above'} {low}")


def check_above_zero(config: TrainConfig, *names: str) -> None:
    """Raise `ValueError` where a setting is no number above 0."""
    for name in names:
        value = getattr(config, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}; expected a number above 0")


def check_shares(config: TrainConfig, kept: int, held_out: int, what: str) -> None:
    """Raise `InputError` where ``eval_share`` leaves nothing to train on, or nothing to evaluate on."""
    if not kept or not held_out:
        raise InputError(
            f"eval_share={config.eval_share} leaves {kept} {what} to train on and {held_out} to evaluate on",
            where="eval_share",
            fix="give more data, another share, or eval_data",
        )


def check_evaluations(config: TrainConfig, has_held_out: bool) -> None:
    """Raise `InputError` for evaluations of nothing, and for a best checkpoint that nothing is known of."""
    if config.eval_strategy == "no" and (config.load_best_model_at_end or config.save_strategy == "best"):
        raise InputError(
            "the best checkpoint is asked for, and there are no evaluations to tell it by",
            where="eval_strategy",
            fix="give eval_strategy, and eval_data or eval_share",
        )
    if config.eval_strategy != "no" and not has_held_out:
        raise InputError(
            "evaluations are asked for, and there is nothing to evaluate on",
            where="eval_strategy",
            fix="give eval_data or eval_share",
        )


def check_batches(config: TrainConfig, examples: int) -> None:
    """Raise `InputError` where no batch is full, and only full ones are taken."""
    size = config.train_batch_size * config.world_size
    if config.dataloader_drop_last and examples < size:
        raise InputError(
            f"{examples} examples fill no batch of {size}, and one that isn't full is left out",
            where="dataloader_drop_last",
            fix="dataloader_drop_last=false, or a smaller per_device_train_batch_size",
        )


# What others call these settings: no spelling leads from one to the other.
ALIASES = {
    "lr": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "steps": "max_steps",
    "scheduler": "lr_scheduler_type",
    "lr_scheduler": "lr_scheduler_type",
    "warmup": "warmup_steps",
    "grad_accum": "gradient_accumulation_steps",
    "accumulation_steps": "gradient_accumulation_steps",
    "clip_grad": "max_grad_norm",
    "grad_clip": "max_grad_norm",
    "max_len": "max_length",
    "max_seq_length": "max_length",
    "out": "output_dir",
    "output": "output_dir",
    "dataset": "data",
    "train_data": "data",
    "base_model": "model",
    "model_name_or_path": "model",
    "loss_type": "loss",
    "peft": "lora",
    "load_in_4bit": "quantize",
    "qlora": "quantize",
    "num_generations": "samples_per_prompt",
    "max_tokens": "max_new_tokens",
    "kl": "kl_coef",
}


def load(config: type[C], file: Path, overrides: Iterable[str] = ()) -> C:
    """Read a file into ``config``, with ``key=value`` texts on top. Raises `InputError` for what does not fit."""
    said = read_texts(overrides)
    return build(config, read_settings_file(file) | said, str(file), dict.fromkeys(said, COMMAND_LINE))


def read_texts(texts: Iterable[str]) -> dict[str, Any]:
    """Return the settings of ``key=value`` texts, whose values are YAML. Raises `InputError`."""
    given: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{text!r} is no setting", where=COMMAND_LINE, fix="expected key=value")
        if key in given:
            raise InputError(f"{key} is given twice", where=COMMAND_LINE)
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(
                f"{text!r} can't be read: {' '.join(str(error).split())}", where=COMMAND_LINE, fix="put it in quotes"
            ) from None
    return given


def build(config: type[C], given: Mapping[str, Any], where: str, places: Mapping[str, str] = MappingProxyType({})) -> C:
    """Make a config of ``given`` settings. Raises `InputError` for unknown keys and values that don't fit.

    ``where`` names what they come from, and ``places`` what those keys come from that are from elsewhere.
    """
    known = {f.name: f for f in dataclasses.fields(config) if f.init}
    types = typing.get_type_hints(config)
    values = {}
    for key, value in given.items():
        place = places.get(key, where)
        if key not in known:
            raise InputError(f"unknown setting {key!r}", where=place, fix=meant(key, known, ALIASES))
        if value is False and key.endswith("_strategy"):
            value = "no"  # which YAML reads as false
        values[key] = _typed(key, value, types[key], place)
    for key in ("output_dir", "data"):
        if not values.get(key):
            raise InputError(f"{key} is missing", where=where, fix=f"add `{key}: PATH`, or give {key}=PATH")
    try:
        return config(**values)
    except (ValueError, TypeError, ImportError) as error:
        raise InputError(str(error), where=where) from error


def _typed(key: str, value: Any, wanted: Any, where: str) -> Any:
    """Check a plain value against its field's type; YAML reads ``1e-6`` as text, so numbers are made of text too."""
    options = typing.get_args(wanted) if typing.get_origin(wanted) not in (None, list, dict) else (wanted,)
    if typing.get_origin(wanted) is Literal:
        if value not in options:
            raise InputError(f"{key} is {value!r}", where=where, fix=f"expected one of {', '.join(map(str, options))}")
        return value
    plain = [option for option in options if option in (bool, int, float, str)]
    if len(plain) < len([option for option in options if option is not type(None)]) or not plain:
        return value  # lists, dictionaries and transformers' enums: the class itself checks them
    if value is None and type(None) in options:
        return None
    for kind in plain:
        if type(value) is kind or (kind is float and type(value) is int):
            return value
    if float in plain and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    names = " or ".join(kind.__name__ for kind in plain)
    raise InputError(f"{key} is {value!r}", where=where, fix=f"expected {names}")
