"""Loads what is trained: weights in float32, an attention that follows trees, adapters where they are asked for."""

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from constitution.errors import InputError
from critic.engines import attention, embedded
from critic.engines.hf import context_length
from critic.engines.loading import load
from critic.engines.rewards import FILE, read_manifest
from trainers.config import TrainConfig


@dataclass(frozen=True)
class Trainee:
    """A model to train, its tokenizer, and the hash of the weights that it starts from.

    ``heads`` names the rewards that it gives already; None where it was no reward model, or does not say.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    revision: str
    heads: tuple[str, ...] | None = None


def policy(config: TrainConfig) -> Trainee:
    """Load the language model that ``config`` names. Raises `InputError` for what can't be trained."""
    return _load(config, None)


def reward_model(config: TrainConfig, heads: int) -> Trainee:
    """Load a model with ``heads`` rewards: new heads on a language model, or those of a reward model."""
    return _load(config, heads)


def _load(config: TrainConfig, heads: int | None) -> Trainee:
    auto = AutoModelForCausalLM if heads is None else AutoModelForSequenceClassification
    kind = attention.NAME if config.prefix_packing else "sdpa"
    folder = str(embedded.fetch()) if config.model == "embedded" else config.model
    named = None if heads is None else _heads(Path(folder).expanduser())
    if named is not None and len(named) != heads:
        raise InputError(
            f"its heads are {', '.join(named)}, and the data is for {heads}",
            where=config.model,
            fix="train from a language model, or give the data of the model's groups",
        )
    loaded = load(folder, torch.float32, torch.device("cpu"), kind, auto, heads)
    model, tokenizer = loaded.model, loaded.tokenizer
    if config.prefix_packing:
        _check(model, config)
    if heads is not None and model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return Trainee(model if config.lora is None else _adapted(model, config, heads), tokenizer, loaded.revision, named)


def _heads(folder: Path) -> tuple[str, ...] | None:
    """Return the heads that a reward model's folder names; None where it names none."""
    if not (folder / FILE).is_file():
        return None
    return read_manifest(folder, int(AutoConfig.from_pretrained(folder).num_labels)).heads


def _check(model: PreTrainedModel, config: TrainConfig) -> None:
    """Raise `InputError` for arithmetic that can't be packed, and for a context shorter than ``max_length``."""
    try:
        context = context_length(model, config.model)
    except InputError as error:
        raise InputError(
            error.problem, where=config.model, fix="prefix_packing=false trains it the plain way"
        ) from error
    if config.max_length > context:
        raise InputError(
            f"max_length is {config.max_length}; the model's context is {context}",
            where=config.model,
            fix=f"max_length={context}",
        )


def _adapted(model: PreTrainedModel, config: TrainConfig, heads: int | None) -> PeftModel:
    try:
        lora = LoraConfig(task_type="CAUSAL_LM" if heads is None else "SEQ_CLS", **(config.lora or {}))
        adapted = get_peft_model(model, lora)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"lora: {error}", where=config.model, fix="lora takes the settings of peft.LoraConfig"
        ) from error
    assert isinstance(adapted, PeftModel)
    return adapted
