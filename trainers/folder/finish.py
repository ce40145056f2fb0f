"""What every trainer does last: the model is saved in its parent's type, and read again before it counts as finished.

Learning needs float32; the folder gets the type that the parent's has. The weights in memory are rounded to that type
first, so that what is read from the folder must be what is in memory, but for the rounding of float32.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from base.errors import InputError
from critic.chats.tokens import TokenTree
from critic.local.loading import load
from trainers import quantized
from trainers.batches import dropout, forward
from trainers.batches.dropout import Dropped
from trainers.batches.packing import padded

SAME = 1e-3
"""How far apart logits may be that the same weights give, as a share of the largest of them."""
_COARSE = 0.05
"""The same where one side was computed in bfloat16, or rounded to it: on the mean."""
_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float32}

Row = tuple[int, ...]
"""The tokens of a short chat that models are compared on."""


@dataclass(frozen=True, slots=True)
class Saved:
    """How a model was saved: its type, and the most that rounding to it changed of a logit, on a short chat."""

    dtype: str
    rounding: float

    def facts(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def row_of(trees: Sequence[TokenTree]) -> Row:
    """Return a short chat to compare models on, of trees that `trainers.batches.proof.samples` has cut."""
    return (*trees[0].segments[0].ids, *trees[0].segments[1].ids)


def stored_dtype(folder: Path) -> torch.dtype:
    """Return the type that most numbers of a folder's weights have, or float32 where none of its types is known."""
    sizes: Counter[str] = Counter()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118  # it is no dictionary
                part = opened.get_slice(name)
                count = 1
                for size in part.get_shape():
                    count *= size
                sizes[part.get_dtype()] += count
    known = [name for name, _ in sizes.most_common() if name in _TYPES]
    return _TYPES[known[0]] if known else torch.float32


@torch.no_grad()
def logits(model: PreTrainedModel, row: Row) -> Tensor:
    """Return what the model itself says of a chat, in float32 on the CPU: logits at each token, or rewards."""
    own: Any = type(model).forward  # past autocast and whatever else has been put around it
    with forward.attending(model):
        logits: Tensor = own(model, input_ids=torch.tensor([row], device=model.device), use_cache=False).logits
    return logits.float().cpu()


def check(values: Tensor, wanted: Tensor, what: str, where: Path, cause: str) -> None:
    """Raise `InputError` where two readings of what should be the same weights differ."""
    difference = float((values - wanted).abs().max()) if values.shape == wanted.shape else float("inf")
    if not difference <= SAME * (1 + float(wanted.abs().max())):  # NaN is not
        raise InputError(
            f"{what}: its logits differ by {difference:.3g} from those of the model that was trained",
            where=str(where),
            fix=f"{cause}; the last checkpoint holds what was trained",
        )


def check_adapters(model: PeftModel, where: str) -> None:
    """Raise `InputError` for adapters that can't be merged in the end, or would then change what they did not.

    Adapters on an embedding that the output shares would change both.
    """
    inner: Any = model.get_base_model()
    if why := _unmergeable(model.peft_config[model.active_adapter], inner):
        raise InputError(
            f"lora: {why} can't be merged into the model that a run leaves", where=where, fix="leave that setting out"
        )
    read, written = inner.get_input_embeddings(), inner.get_output_embeddings()
    tables = [_base(table) for table in (read, written) if table is not None]
    if len(tables) < 2 or not _are_one(*tables):
        return
    names = {id(table): name for name, table in inner.named_modules()}
    for table in (read, written):
        if hasattr(table, "base_layer") or hasattr(table, "original_module"):
            raise InputError(
                f"lora: {names.get(id(table), 'the embedding')} is trained, and this model's input and output share "
                "that weight: merged, the change of one would be made to both",
                where=where,
                fix="leave embed_tokens and lm_head out of target_modules and modules_to_save",
            )


def _are_one(one: Tensor, other: Tensor) -> bool:
    """Whether two tables are the same numbers. Those of a model without weights lie nowhere."""
    return one is other or (not one.is_meta and one.data_ptr() == other.data_ptr())


def _unmergeable(lora: Any, inner: nn.Module) -> str:
    """Say which of the settings of adapters stands in the way of merging them; nothing where none does."""
    if lora.layer_replication:
        return "layer_replication, whose layers share their weights,"
    if lora.alora_invocation_tokens:
        return "alora_invocation_tokens, which turn adapters on in mid-text,"
    if quantized.is_quantized(inner):
        for name in ("use_dora", "trainable_token_indices", "lora_bias"):
            if getattr(lora, name):
                return f"{name}, with quantize,"
    bases = [layer.get_base_layer() for layer in inner.modules() if isinstance(layer, LoraLayer)]
    if lora.lora_bias and any(getattr(base, "bias", None) is None for base in bases):
        return "lora_bias, on layers that have no bias,"
    return ""


def merge(model: PeftModel, row: Row, where: Path, **how: Any) -> PreTrainedModel:
    """Merge the adapters into the model, and return it. Raises `InputError` where it computes otherwise then."""
    inner: Any = model.get_base_model()
    before = logits(inner, row)
    tuner: Any = model
    merged: PreTrainedModel
    if quantized.is_quantized(inner):
        merged = quantized.merged(model, how.get("adapter_names") or tuner.active_adapters)
    else:
        merged = tuner.merge_and_unload(**how)
    cause = "adapters on weights that are shared, or on layers that can't be merged, are left out of target_modules"
    check(logits(merged, row), before, "the adapters were merged", where, cause)
    return merged


def save(
    model: PreTrainedModel, row: Row, dtype: torch.dtype, dropped: Dropped, folder: Path, write: Callable[[], None]
) -> Saved:
    """Have ``write`` write the model into ``folder`` in ``dtype``, and read it again.

    The weights in memory are rounded to ``dtype``, and stay in the type that they have. Raises `InputError` where what
    is read is not what was to be written.
    """
    trained = logits(model, row)
    _round(model, dtype)
    rounded = logits(model, row)
    with dropout.named(model.config, dropped), _typed(model, dtype):
        write()
    reread(model, rounded, row, folder)
    return Saved(str(dtype).removeprefix("torch."), float((rounded - trained).abs().max()))


def reread(model: PreTrainedModel, wanted: Tensor, row: Row, folder: Path) -> None:
    """Load ``folder`` and compare. Raises `InputError` where it can't be loaded, or says something else."""
    auto = AutoModelForSequenceClassification if forward.is_reward_model(model) else AutoModelForCausalLM
    loaded = load(str(folder), torch.float32, torch.device("cpu"), None, auto)
    cause = "weights that are shared or renamed on the way to the file are the likeliest cause"
    check(logits(loaded.model, row), wanted, "the saved model was loaded again", folder, cause)


def reread_values(trees: Sequence[TokenTree], wanted: Tensor, reward: bool, folder: Path) -> None:
    """Load ``folder`` and compare what is read of ``trees``, coarsely: sharded weights were not rounded before.

    Raises `InputError` where it can't be loaded, or says something else.
    """
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    model = load(str(folder), torch.float32, torch.device("cpu"), None, auto).model
    with torch.no_grad():
        values = forward.values(model, padded(trees, apart=True))
    difference = float((values - wanted).abs().mean())
    if not difference <= _COARSE * (1 + float(wanted.abs().mean())):
        raise InputError(
            f"the saved model was loaded again: what is read of it differs by {difference:.3g} from the model that was "
            "trained",
            where=str(folder),
            fix="the last checkpoint holds what was trained",
        )


def cast(model: PreTrainedModel, weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return gathered ``weights`` of a model in the type that they are saved in; its buffers stay as they are."""
    names = {name for name, _ in model.named_parameters()}
    return {name: value.to(dtype) if name in names and _rounds(value) else value for name, value in weights.items()}


def _base(table: Any) -> Tensor:
    for name in ("base_layer", "original_module"):
        table = getattr(table, name, table)
    weight = table.weight
    assert isinstance(weight, Tensor)
    return weight


def _rounds(value: Tensor) -> bool:
    return value.dtype == torch.float32


@torch.no_grad()
def _round(model: PreTrainedModel, dtype: torch.dtype) -> None:
    for weight in model.parameters():
        if _rounds(weight):
            weight.copy_(weight.to(dtype).float())


@contextlib.contextmanager
def _typed(model: PreTrainedModel, dtype: torch.dtype) -> Iterator[None]:
    """Let the weights that were rounded to ``dtype`` have it, and the configuration name it."""
    named = model.config.dtype
    rounded = [weight for weight in model.parameters() if _rounds(weight)]
    try:
        model.config.dtype = dtype
        for weight in rounded:
            weight.data = weight.data.to(dtype)
        yield
    finally:
        model.config.dtype = named
        for weight in rounded:
            weight.data = weight.data.float()
