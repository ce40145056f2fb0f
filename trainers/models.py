"""Loads what is trained: weights in float32, dropout turned off, adapters where they are asked for."""

import contextlib
import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import CONFIG_NAME
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from base.errors import InputError
from critic.local import allocator, embedded
from critic.local.loading import Loaded, load, model_folder, positions
from critic.local.rewards import FILE, read_manifest
from trainers import quantized
from trainers.batches import dropout
from trainers.batches.dropout import Dropped
from trainers.config import TrainConfig
from trainers.folder import finish
from trainers.planning.settings import is_sharded
from trainers.planning.shapes import WeightlessModel
from trainers.planning.trainable import check_context, check_whole


@dataclass(frozen=True)
class Trainee:
    """A model to train, its tokenizer, and the hash of the weights that it starts from.

    ``heads`` names the rewards that it gives already; None where it was no reward model, or does not say.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    revision: str
    heads: tuple[str, ...] | None = None
    dtype: torch.dtype = torch.float32
    """The type that the parent's weights have, and the trained ones will have when they are saved."""
    dropped: Dropped = field(default_factory=dict)
    """What the model's configuration named as dropout, where it was turned off."""


def start_of(config: TrainConfig) -> str:
    """Return the folder, or the hub's id, of the model that training starts from."""
    return str(embedded.fetch()) if config.model == "embedded" else config.model


def policy(config: TrainConfig) -> Trainee:
    """Load the language model that ``config`` names. Raises `InputError` for what can't be trained."""
    return _load(config, None)


def reward_model(config: TrainConfig, heads: int) -> Trainee:
    """Load a model with ``heads`` rewards: new heads on a language model, or those of a reward model."""
    return _load(config, heads)


def _load(config: TrainConfig, heads: int | None) -> Trainee:
    if config.use_cpu:
        allocator.keep_freed_memory()
    auto = AutoModelForCausalLM if heads is None else AutoModelForSequenceClassification
    folder = start_of(config)
    _refuse_adapters(Path(folder).expanduser(), config.model)
    named = None if heads is None else _heads(Path(folder).expanduser())
    if named is not None and len(named) != heads:
        raise InputError(
            f"its heads are {', '.join(named)}, and the data is for {heads}",
            where=config.model,
            fix="train from a language model, or give the data of the model's groups",
        )
    if heads is not None:
        _refuse_labels(Path(folder).expanduser(), heads, config.model)
    check_whole(model_folder(folder), config)
    loaded = _loaded(config, folder, auto, heads)
    model, tokenizer = loaded.model, loaded.tokenizer
    check_context(positions(model), config)
    if heads is not None and model.config.get_text_config().pad_token_id is None:
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    dropped = {} if config.dropout else dropout.turn_off(model, config.model, config.gradient_checkpointing)
    trained = model if config.lora is None else _adapted(model, config, heads)
    return Trainee(trained, tokenizer, loaded.revision, named, finish.stored_dtype(loaded.folder), dropped)


def _refuse_adapters(folder: Path, where: str) -> None:
    """Raise `InputError` for a folder of PEFT's adapters: transformers would add them to a model, and freeze it."""
    if not (folder / CONFIG_NAME).is_file():
        return
    try:
        base = json.loads((folder / CONFIG_NAME).read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError):
        base = None
    raise InputError(
        f"it holds adapters{f' of {base}' if base else ''} ({CONFIG_NAME}), and no model that could be trained further",
        where=where,
        fix="give the model with the adapters merged into it, as `cai train` leaves it in the folder above `adapter`, "
        "or as PEFT's merge_and_unload makes it",
    )


def _refuse_labels(folder: Path, heads: int, where: str) -> None:
    """Raise `InputError` for a classifier whose labels are not as many as the ``heads`` of a reward model."""
    if not (folder / "config.json").is_file():
        return
    config = AutoConfig.from_pretrained(folder)
    made = (getattr(config, "architectures", None) or [""])[0]
    if "ForSequenceClassification" in made and config.num_labels != heads:
        raise InputError(
            f"it is a classifier of {config.num_labels} labels, and the reward model has {heads} head"
            f"{'' if heads == 1 else 's'}",
            where=where,
            fix="train from a language model, or from a reward model of as many heads",
        )


def _loaded(config: TrainConfig, folder: str, auto: type[Any], heads: int | None) -> Loaded:
    """Load the weights in float32 into main memory; those that are quantised go where they are computed with."""
    if config.quantize is None:
        # FSDP gives the other processes of a machine their part of what the first has read.
        with _Unheld() if is_sharded() and config.local_process_index else contextlib.nullcontext():
            return load(folder, torch.float32, torch.device("cpu"), None, auto, heads)
    quantized.check("quantize", is_sharded())
    if not WeightlessModel(folder, heads).quantizes:
        quantized.refuse_layers(config.model)
    loaded = load(folder, torch.float32, config.device, None, auto, heads, quantized.how())
    quantized.compute_as_asked(loaded.model)
    return loaded


class _Unheld(TorchFunctionMode):
    """Lets what transformers fills with zeros, in place of weights that will be received, hold a single number.

    Only matrices: vectors take no room, and some are written to.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `TorchFunctionMode`."""
        if function is torch.zeros_like and isinstance(args[0], nn.Parameter) and args[0].ndim > 1:
            return torch.zeros((), dtype=args[0].dtype, device="cpu").expand(args[0].shape)
        return function(*args, **(kwargs or {}))


def _heads(folder: Path) -> tuple[str, ...] | None:
    """Return the heads that a reward model's folder names; None where it names none."""
    if not (folder / FILE).is_file():
        return None
    return read_manifest(folder, int(AutoConfig.from_pretrained(folder).num_labels)).heads


def _adapted(model: PreTrainedModel, config: TrainConfig, heads: int | None) -> PeftModel:
    kind = "CAUSAL_LM" if heads is None else "SEQ_CLS"
    given = copy.deepcopy(config.lora or {})  # to whose lists PEFT adds the names of heads
    before = dropout.probe(model, config.model)
    try:
        if given.pop("task_type", kind) != kind:
            raise ValueError(f"task_type is {kind} here; leave it out")
        adapted = get_peft_model(model, LoraConfig(task_type=kind, **given))
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"lora: {error}", where=config.model, fix="lora takes the settings of peft.LoraConfig"
        ) from error
    assert isinstance(adapted, PeftModel)
    finish.check_adapters(adapted, config.model)
    _check_targets(adapted, config.lora or {}, config.model)
    if dropout.differ(before, dropout.probe(model, config.model)):
        raise InputError(
            "lora: with these adapters the model answers differently before it has learnt anything",
            where=config.model,
            fix="leave init_lora_weights out",
        )
    return adapted


def _check_targets(model: PeftModel, lora: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` where a name in ``lora`` is that of no module, which PEFT leaves out, or nothing is learnt."""
    names = [name for name, _ in model.named_modules()]
    for setting in ("target_modules", "modules_to_save"):
        given = lora.get(setting)
        for wanted in given if isinstance(given, list) else ():
            if not any(name.endswith(f".{wanted}") for name in names):
                raise InputError(
                    f"lora: the model has no module {wanted!r}, which {setting} names",
                    where=where,
                    fix=f"leave it out, or write it as the model does: {', '.join(_linear_names(model))}",
                )
    if lora.get("lora_alpha") == 0 or not any(weight.requires_grad for weight in model.parameters()):
        raise InputError(
            "lora: with these settings nothing is learnt", where=where, fix="leave inference_mode and lora_alpha out"
        )


def _linear_names(model: PeftModel) -> list[str]:
    """Return what a model calls its linear layers, without their places."""
    inner: Any = model.get_base_model()
    linear = [name for name, module in inner.named_modules() if isinstance(module, nn.Linear)]
    own = [name.removesuffix(".base_layer").removesuffix(".original_module") for name in linear]
    return sorted({name.rpartition(".")[2] for name in own if ".lora_" not in name and ".modules_to_save" not in name})
