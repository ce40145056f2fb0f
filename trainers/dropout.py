"""Dropout, turned off: answers that are compared with a reference, or with each other, must not differ by chance.

transformers' models read dropout off modules, off attributes of layers, or off their configuration, wherever they are
in training mode; some draw more there (a router's jitter, layers that are left out). So all of these are set to 0, and
then the model is asked whether training mode still changes anything.
"""

import contextlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from constitution.errors import InputError

_NAMES = ("drop", "jitter")
_TOLERANCE = 1e-3
_PROBE_TOKENS = 12

Dropped = dict[str, float]
"""What a configuration named, by the names that it has there: a saved model names it still."""


def turn_off(model: PreTrainedModel, where: str, gradient_checkpointing: bool) -> Dropped:
    """Turn off whatever ``model`` draws in training mode, and return what its configuration had.

    A model that draws all the same, as some routers do, stays in evaluation mode while it is trained. Raises
    `InputError` where it would have to and is to compute its layers again for the gradient: that needs training mode.
    """
    config = model.config.get_text_config()
    named = {name: float(value) for name, value in vars(config).items() if _is_chance(name, value)}
    for name in named:
        setattr(config, name, 0.0)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if _is_chance(name, value):
                setattr(module, name, 0.0)
    if _differs_in_training(model):
        if gradient_checkpointing:
            raise InputError(
                f"models of type {config.model_type!r} draw at random in training mode, which gradient checkpointing "
                "needs",
                where=where,
                fix="gradient_checkpointing=false",
            )
        model.train = types.MethodType(_stay, model)  # type: ignore[method-assign]  # for this one model
    return named


@contextlib.contextmanager
def named(config: PreTrainedConfig, dropped: Mapping[str, float]) -> Iterator[None]:
    """Let ``config`` name what was turned off, while it is saved."""
    inner = config.get_text_config()
    try:
        for name, value in dropped.items():
            setattr(inner, name, value)
        yield
    finally:
        for name in dropped:
            setattr(inner, name, 0.0)


def _stay(model: PreTrainedModel, mode: bool = True) -> PreTrainedModel:
    return nn.Module.train(model, False)


def _is_chance(name: str, value: Any) -> bool:
    return isinstance(value, float) and value > 0 and any(part in name.lower() for part in _NAMES)


@torch.no_grad()
def _differs_in_training(model: PreTrainedModel) -> bool:
    """Whether two answers of the model in training mode differ from each other, or from those in evaluation mode."""
    own: Any = type(model).forward
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Module)
    rows = int(table.weight.shape[0])  # type: ignore[index]  # torch types it as a module, too
    if not rows:  # the weights are shared out over processes already
        return False
    ids = torch.arange(_PROBE_TOKENS, device=model.device)[None] * 7 % rows
    was = model.training
    found = []
    for mode in (False, True, True):
        nn.Module.train(model, mode)
        found.append(own(model, input_ids=ids, use_cache=False).logits.float())
    nn.Module.train(model, was)
    still, first, second = found
    bound = _TOLERANCE * (1 + float(still.abs().max()))
    return bool((first - still).abs().max() > bound or (second - still).abs().max() > bound)
