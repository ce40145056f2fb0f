"""Loads what is trained: weights in float32, dropout turned off, adapters where they are asked for."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
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
    named = None if heads is None else _heads(Path(folder).expanduser())
    if named is not None and len(named) != heads:
        raise InputError(
            f"its heads are {', '.join(named)}, and the data is for {heads}",
            where=config.model,
            fix="train from a language model, or give the data of the model's groups",
        )
    check_whole(model_folder(folder), config)
    loaded = _loaded(config, folder, auto, heads)
    model, tokenizer = loaded.model, loaded.tokenizer
    check_context(positions(model), config)
    if heads is not None and model.config.get_text_config().pad_token_id is None:
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    dropped = {} if config.dropout else dropout.turn_off(model, config.model, config.gradient_checkpointing)
    trained = model if config.lora is None else _adapted(model, config, heads)
    return Trainee(trained, tokenizer, loaded.revision, named, finish.stored_dtype(loaded.folder), dropped)


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
    try:
        lora = LoraConfig(task_type="CAUSAL_LM" if heads is None else "SEQ_CLS", **(config.lora or {}))
        adapted = get_peft_model(model, lora)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"lora: {error}", where=config.model, fix="lora takes the settings of peft.LoraConfig"
        ) from error
    assert isinstance(adapted, PeftModel)
    finish.check_adapters(adapted, config.model)
    return adapted
