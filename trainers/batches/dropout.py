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

from base.errors import InputError
from critic.local.loading import first_line

_TOLERANCE = 1e-3
_PROBE_TOKENS = 12
_GREAT_JITTER = 0.9
"""A share that changes what a few tokens give, wherever evaluation mode uses it."""

Dropped = dict[str, float]
"""What a configuration named, by the names that it has there: a saved model names it still."""

_Change = tuple[Any, str, float]
"""Whose attribute was set, its name, and what it was."""


def turn_off(model: PreTrainedModel, where: str, gradient_checkpointing: bool) -> Dropped:
    """Turn off whatever ``model`` draws in training mode, and return what its configuration had.

    A model that draws all the same, as some routers do, stays in evaluation mode while it is trained. Raises
    `InputError` where it would have to and is to compute its layers again for the gradient: that needs training mode;
    and for models that can't compute a chat.
    """
    config = model.config.get_text_config()
    still = _logits(model, where, training=False)
    changes = _set(model, "drop", 0.0)
    jitter = _set(model, "jitter", _GREAT_JITTER)
    is_threshold = bool(jitter) and differ(still, _logits(model, where, training=False))
    for holder, name, value in jitter:
        # PhiMoE's router compares with its jitter in evaluation mode, too, and draws among what it leaves: too seldom
        # for a few tokens to show it.
        setattr(holder, name, value if is_threshold else 0.0)
    changes += [] if is_threshold else jitter
    if is_threshold or any(differ(still, _logits(model, where, training=True)) for _ in range(2)):
        if gradient_checkpointing:
            raise InputError(
                f"models of type {config.model_type!r} draw at random in training mode, which gradient checkpointing "
                "needs",
                where=where,
                fix="gradient_checkpointing=false",
            )
        model.train = types.MethodType(_stay, model)  # type: ignore[method-assign]  # for this one model
    return {name: value for holder, name, value in changes if holder is config}


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


def _set(model: PreTrainedModel, word: str, to: float) -> list[_Change]:
    """Set every share that is named with ``word``, in the configuration and in the modules; return what was."""
    changes: list[_Change] = []
    for holder in (model.config.get_text_config(), *model.modules()):
        for name, value in list(vars(holder).items()):
            is_dropout = word == "drop" and name == "p" and isinstance(holder, nn.modules.dropout._DropoutNd)
            if isinstance(value, float) and value > 0 and (is_dropout or word in name.lower()):
                changes.append((holder, name, value))
                setattr(holder, name, to)
    return changes


@torch.no_grad()
def _logits(model: PreTrainedModel, where: str, *, training: bool) -> torch.Tensor | None:
    """Return what the model gives for a few tokens, (1, tokens, outputs); None where its weights are shared out."""
    own: Any = type(model).forward
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Module)
    rows = int(table.weight.shape[0])  # type: ignore[index]  # torch types it as a module, too
    if not rows:
        return None
    ids = torch.arange(_PROBE_TOKENS, device=model.device)[None] * 7 % rows
    was = model.training
    nn.Module.train(model, training)
    try:
        logits: torch.Tensor = own(model, input_ids=ids, use_cache=False).logits.float()
    except Exception as error:  # whatever a foreign model does with a plain chat
        raise not_computed(model, where, error) from error
    finally:
        nn.Module.train(model, was)
    return logits


def not_computed(model: PreTrainedModel, where: str, error: Exception) -> InputError:
    """Return the refusal of a model whose own forward, or its gradient, fails on a plain chat."""
    return InputError(
        f"models of type {model.config.model_type!r} can't be trained here: computing a plain chat failed "
        f"({first_line(error)})",
        where=where,
        fix="train a causal language model, or a classifier that reads chats",
    )


def probe(model: PreTrainedModel, where: str) -> torch.Tensor | None:
    """Return what the model gives for a few tokens in evaluation mode: see `_logits`."""
    return _logits(model, where, training=False)


def differ(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    """Whether two readings of the same tokens are further apart than rounding puts them."""
    if one is None or other is None:
        return False
    return bool((one - other).abs().max() > _TOLERANCE * (1 + float(one.abs().max())))
