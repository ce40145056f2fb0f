"""Reads a model's shape off its configuration: no weight is read, and nothing is fetched."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D

from base.errors import InputError
from critic.local import embedded
from critic.local.loading import positions, quiet
from trainers.folder.finish import check_adapters, stored_dtype
from trainers.planning.records import ModelShape
from trainers.planning.trainable import quantized_by

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
_INNER = ("intermediate_size", "ffn_dim", "n_inner")
"""What configurations call the features between a layer's two products."""


def folder_of(model: str) -> Path:
    """Return the folder that has ``model``'s configuration. Raises `InputError` where there is none on this machine."""
    if model == "embedded":
        if embedded.is_fetched():
            return embedded.folder()
        raise InputError(
            "it has not been fetched yet, and a dry run fetches nothing",
            where=model,
            fix="`cai models --fetch` gets it, as does every command that uses it",
        )
    path = Path(model).expanduser()
    if path.name == CONFIG and path.is_file():
        return path.parent
    if path.is_dir():
        if (path / CONFIG).is_file():
            return path
        raise InputError(f"it has no {CONFIG}", where=model, fix="name the folder of a Hugging Face model")
    try:
        cached = try_to_load_from_cache(model, CONFIG)
    except HFValidationError:
        cached = None
    if isinstance(cached, str):
        return Path(cached).parent
    raise InputError(
        "this model isn't here: there is no such folder, it isn't in the Hugging Face cache, and a dry run fetches "
        "nothing",
        where=model,
        fix=f"put its {CONFIG} (a few kilobytes, without weights) into a folder, and name that: model=FOLDER",
    )


class WeightlessModel:
    """A model without weights: its shape, and how many numbers adapters would add. ``heads`` as for reward models."""

    def __init__(self, model: str, heads: int | None = None) -> None:
        self._where, self._folder = model, folder_of(model)
        self._empty = _empty(self._folder, model, heads)
        self._task = "CAUSAL_LM" if heads is None else "SEQ_CLS"
        self.shape = _shape(self._empty, self._folder)
        self.positions = positions(self._empty)
        self.recomputes = bool(self._empty.supports_gradient_checkpointing)
        """Whether layers can be computed again for the gradient."""
        self.quantizes = not any(isinstance(layer, Conv1D) for layer in self._empty.modules())
        """Whether a base in four bits comes back as it was: GPT-2's layers come back with rows for columns."""

    def adapters(self, lora: dict[str, Any]) -> int:
        """Return how many numbers LoRA with these settings of `peft.LoraConfig` has. Raises `InputError`.

        It may be asked once: the adapters stay.
        """
        try:
            with torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PEFT's, of what it decides itself: the run gives them
                adapted = get_peft_model(self._empty, LoraConfig(task_type=self._task, **lora))
        except (TypeError, ValueError) as error:
            fix = "lora takes the settings of peft.LoraConfig"
            raise InputError(f"lora: {error}", where=self._where, fix=fix) from error
        assert isinstance(adapted, PeftModel)
        check_adapters(adapted, self._where)
        return sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)


def _empty(folder: Path, where: str, heads: int | None) -> PreTrainedModel:
    auto = AutoModelForCausalLM if heads is None else AutoModelForSequenceClassification
    labels = {} if heads is None else {"num_labels": heads}
    try:
        with quiet(), torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **labels)
            model = auto.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]  # untyped there
    except Exception as error:  # configurations and models of others raise anything
        what = "language models" if heads is None else "reward models (its sequence classifiers)"
        fix = f"its {CONFIG} has to be whole, and of a type that transformers makes {what} of"
        lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
        said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        raise InputError(f"no model can be made of it: {said}", where=where, fix=fix) from error
    assert isinstance(model, PreTrainedModel)
    return model


def _shape(model: PreTrainedModel, folder: Path) -> ModelShape:
    config = model.config.get_text_config()
    weights = sum(weight.numel() for weight in model.parameters())
    table, read = _table(model), _numel(model.get_input_embeddings())
    output = model.get_output_embeddings()
    tied = output is not None and output.weight is model.get_input_embeddings().weight
    linear = sum(_numel(layer) for layer in model.modules() if isinstance(layer, torch.nn.Linear))
    matrices = sum(weight.numel() for weight in model.parameters() if weight.dim() > 1)
    hidden, heads = _needed(config, "hidden_size"), _largest(config, "num_attention_heads", "num_heads")
    # Layers that keep a state instead of keys and values are taken to hold as much as they are wide.
    queries, keys = (hidden, hidden) if heads is None else _attended(config, heads, hidden)
    return ModelShape(
        weights=weights,
        multiplied=matrices - (0 if tied else read),
        layer=_largest_layer(model),
        embedding=read,
        table=table,
        tied=tied,
        layers=_needed(config, "num_hidden_layers"),
        hidden=hidden,
        queries=queries,
        keys=keys,
        inner=_inner(config),
        vocabulary=_needed(config, "vocab_size"),
        stored=_stored(folder, weights),
        linear=max(0, linear - table),
    )


def _attended(config: PreTrainedConfig, heads: int, hidden: int) -> tuple[int, int]:
    """Return what a token has of queries, and of keys or of values: the mean of both, where they are not as wide."""
    with_place, without = _largest(config, "qk_rope_head_dim"), _largest(config, "qk_nope_head_dim")
    if with_place and without:  # DeepSeek's: keys and values are made of a narrower state, and each head has its own
        size = with_place + without
        return heads * size, heads * (size + (_largest(config, "v_head_dim") or without)) // 2
    size = _largest(config, "head_dim") or hidden // heads
    keyed = _largest(config, "num_key_value_heads") or heads
    return heads * size, keyed * size


def _numel(module: Any) -> int:
    return int(module.weight.numel())


def _table(model: PreTrainedModel) -> int:
    head = model.get_output_embeddings() or getattr(model, "score", None)
    return 0 if head is None else _numel(head)


def _largest_layer(model: PreTrainedModel) -> int:
    """Return the weights of the largest layer: of the longest list of modules, for that is what layers are in."""
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    layers = max(lists, key=lambda layer_list: sum(weight.numel() for weight in layer_list.parameters()), default=None)
    if layers is None:
        return sum(weight.numel() for weight in model.parameters())
    return max(map(_numbers, layers))


def _numbers(layer: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in layer.parameters())


def _inner(config: PreTrainedConfig) -> int:
    """Return the features between a layer's two products, of all experts that a token goes to."""
    chosen, expert = _largest(config, "num_experts_per_tok"), _largest(config, "moe_intermediate_size", *_INNER)
    if chosen and expert:
        shared = (_largest(config, "n_shared_experts", "num_shared_experts") or 0) * expert
        return chosen * expert + (_largest(config, "shared_expert_intermediate_size") or shared)
    # Four times the width is what GPT-2 and its like take where none is named.
    return _largest(config, *_INNER) or 4 * _needed(config, "hidden_size")


def _needed(config: PreTrainedConfig, name: str) -> int:
    number = _largest(config, name)
    if number is None:
        raise InputError(
            f"no memory can be planned for models of type {config.model_type!r}: their configuration has no {name}",
            where=CONFIG,
            fix="run it without --dry-run",
        )
    return number


def _largest(config: PreTrainedConfig, *names: str) -> int | None:
    """Return the number under the first of ``names`` that ``config`` has: the largest, where layers differ."""
    for name in names:
        if numbers := [int(number) for number in _by_layer(config, name) if number]:
            return max(numbers)
    return None


def _by_layer(config: Any, name: str) -> list[Any]:
    try:
        value = getattr(config, name, None)
    except RuntimeError:  # transformers' answer for what can't be told for all layers at once
        return [getattr(layer, name, None) for layer in config.per_layer_config]
    return list(value) if isinstance(value, list | tuple) else [value]


def _stored(folder: Path, weights: int) -> float:
    """Return the bytes of a number in the folder's weights: by the files, the index, or the configuration.

    What is quantised there is not quantised any more once it has been trained: the configuration names the type.
    """
    quantized = quantized_by(folder) is not None
    if not quantized and any(folder.glob("*.safetensors")):
        return float(stored_dtype(folder).itemsize)
    if not quantized and (folder / INDEX).is_file():
        total = json.loads((folder / INDEX).read_text("utf-8")).get("metadata", {}).get("total_size")
        if total:
            return float(total) / weights
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    named = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    known = getattr(torch, named, torch.float32)
    return float(known.itemsize) if isinstance(known, torch.dtype) else 4.0
