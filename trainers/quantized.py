"""QLoRA: a frozen base in four bits under adapters in float32 (Dettmers et al. 2023), by bitsandbytes.

Linear layers of the base are kept as NF4, whose scales are quantised as well: .516 bytes a number. The embedding, the
output's table, heads and norms stay in float32. Products are computed in the type that the run computes in.

What is finished is the dequantised base with its adapters added: the model that was trained. The adapters on the parent
as it was would be another one.
"""

import copy
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from base import extras
from base.errors import InputError
from critic.local.loading import quiet
from critic.local.trees.attention import computed_in

if TYPE_CHECKING:  # an environment that only rolls out has no PEFT, and one with bitsandbytes loads that with it
    from peft import PeftModel

EXTRA = "qlora"
_KEPT = ("lm_head", "embed_out", "score", "classifier")
"""Layers that are no part of the base's stack, by the names that models give them: output tables and heads."""


def check(where: str, sharded: bool) -> None:
    """Raise `InputError` where a base can't be quantised here: without bitsandbytes, and where FSDP would share it."""
    extras.require(EXTRA, where)
    if sharded:
        refuse_sharded()


def refuse_sharded() -> NoReturn:
    """Raise `InputError`: four bits are packed so that a part of them is no part of the weights."""
    raise InputError(
        "a base in four bits can't be shared out by FSDP or DeepSpeed",
        where="quantize",
        fix="quantize=null, or give --num_processes without --config_file: each GPU then holds the base in four bits",
    )


def refuse_layers(where: str) -> NoReturn:
    """Raise `InputError`: what is finished would have other weights than were trained."""
    raise InputError(
        "its layers are of a kind (Conv1D) that doesn't come back from four bits as it was",
        where=where,
        fix="quantize=null",
    )


def how() -> BitsAndBytesConfig:
    """Return what transformers is to do while it loads a base."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=list(_KEPT),
    )


def compute_as_asked(model: PreTrainedModel) -> None:
    """Let the quantised layers compute in the type of their input, or under autocast in its type, as others do."""
    for layer in model.modules():
        if _is_packed(layer):
            bits: Any = layer
            bits.support_avx512bf16_for_cpu = False  # it would pack the weights anew, for writing alone
            bits.forward = types.MethodType(_forward, bits)  # bound, so that a copy of the model has its own


def _forward(layer: Any, states: Tensor) -> Tensor:
    layer.compute_dtype, layer.compute_type_is_set = computed_in(states), True
    out: Tensor = type(layer).forward(layer, states.to(layer.compute_dtype))
    return out


def is_quantized(module: nn.Module) -> bool:
    """Whether a layer, or any layer of a model, is kept in four bits."""
    return any(_is_packed(layer) for layer in module.modules())


def _is_packed(layer: nn.Module) -> bool:
    kind = type(layer)
    return kind.__name__ == "Linear4bit" and kind.__module__.startswith("bitsandbytes")  # PEFT's has the same name


@torch.no_grad()
def whole(layer: Any) -> Tensor:
    """Return a linear layer's weights as plain numbers."""
    if not _is_packed(layer):
        weight: Tensor = layer.weight.data
        return weight
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight  # imports the extra, where it is there

    dense: Tensor = dequantize_bnb_weight(layer.weight)
    return dense


def whole_copy(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Return a copy of ``model``, its quantised layers as plain ones in ``dtype``."""
    copied = copy.deepcopy(model)
    return _dequantized(copied, dtype) if is_quantized(copied) else copied


@torch.no_grad()
def merged(model: "PeftModel", adapters: Sequence[str]) -> PreTrainedModel:
    """Return the base with ``adapters`` added, as a plain model in main memory: four bytes a weight."""
    from peft.utils import ModulesToSaveWrapper

    inner: Any = model.get_base_model()
    deltas = _deltas(inner, adapters)
    for module in inner.modules():
        if isinstance(module, ModulesToSaveWrapper):  # a new head, say, which was trained whole
            wrapper: Any = module  # torch types any attribute of a module as a tensor, too
            trained = wrapper.modules_to_save[wrapper.active_adapters[0]]
            wrapper.original_module.load_state_dict(trained.state_dict())
    tuner: Any = model
    plain: PreTrainedModel = tuner.unload()
    nn.Module.to(plain, "cpu")  # transformers' own refuses to move what is quantised
    plain = _dequantized(plain, torch.float32)
    layers = dict(plain.named_modules())
    for name, delta in deltas.items():
        layer: Any = layers[name]
        layer.weight.add_(delta.to(layer.weight))
    plain.requires_grad_(False)
    plain.eval()
    return plain


def _deltas(inner: nn.Module, adapters: Sequence[str]) -> Mapping[str, Tensor]:
    """Return what the adapters add to each layer's weights, by the layer's name in the model alone."""
    from peft.tuners.lora import LoraLayer

    deltas: dict[str, Tensor] = {}
    for name, module in inner.named_modules():
        if isinstance(module, LoraLayer):
            layer: Any = module  # it is a torch module as well, whose attributes have no types
            for adapter in adapters:
                delta = layer.get_delta_weight(adapter).float().cpu()
                deltas[name] = deltas[name] + delta if name in deltas else delta
    return deltas


def _dequantized(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Make quantised layers plain ones. The model no longer says that it is quantised."""
    with quiet():
        plain: PreTrainedModel = model.dequantize(dtype=dtype)
    return plain
