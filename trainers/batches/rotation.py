"""Rotary positions in fewer passes: under autocast, queries and keys are rotated and rounded by one function.

transformers turns them by six operations in float32, each of which keeps or makes a whole tensor, and their gradients
go back through all of them; attention then rounds what comes out. Here the same numbers come from three buffers, and
nothing is kept but the angles. An attention layer is changed where its own code turns by a function that is proven to
compute this formula: the layer gets a copy of its ``forward`` with this function under that name.
"""

import types
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_NAME = "apply_rotary_pos_emb"
"""What all of transformers' attention layers call the function by."""
_CLOSE = 1e-6
"""How far a function may be from this formula, in float32 and of numbers near 1: rounding is less."""
_HEADS, _TOKENS, _NUMBERS = 3, 5, 8
"""What a function is tried on."""


def rotate_once(model: PreTrainedModel) -> int:
    """Let a model's attention layers rotate by `rotated`; return how many do."""
    layers = [layer for layer in model.modules() if _is_proven(layer)]
    for layer in layers:
        _replace(layer)
    return len(layers)


def rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return ``states [1, H, N, D]`` turned by the angles of ``cos`` and ``sin [1, N, D]``, rounded to their type.

    ``x cos + rotate_half(x) sin`` (Su et al. 2021, in the arrangement of GPT-NeoX), computed in float32.
    """
    turned: Tensor = _Rotated.apply(states, cos[:, None], sin[:, None])  # type: ignore[no-untyped-call]  # untyped in torch
    return turned


class _Rotated(torch.autograd.Function):
    """See `rotated`."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the states, turned."""
        ctx.save_for_backward(cos, sin)
        wide, half = states.float(), states.shape[-1] // 2
        crossed = torch.empty_like(wide)
        torch.mul(wide[..., half:], -sin[..., :half], out=crossed[..., :half])
        torch.mul(wide[..., :half], sin[..., half:], out=crossed[..., half:])
        return wide.mul_(cos).add_(crossed).to(states.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient, turned back."""
        cos, sin = ctx.saved_tensors
        wide, half = grad.float(), grad.shape[-1] // 2
        crossed = torch.empty_like(wide)
        torch.mul(wide[..., half:], sin[..., half:], out=crossed[..., :half])
        torch.mul(wide[..., :half], -sin[..., :half], out=crossed[..., half:])
        return wide.mul_(cos).add_(crossed).to(grad.dtype), None, None


Rotate = Callable[..., tuple[Tensor, Tensor]]


def _is_proven(layer: nn.Module) -> bool:
    """Whether ``layer`` has its type's own ``forward``, which turns by a function that gives what `rotated` does.

    Those with norms of their own are left: one that comes afterwards would be given what is rounded already.
    """
    own: Any = type(layer).forward
    code = getattr(own, "__code__", None)
    if code is None or hasattr(own, "__wrapped__") or "forward" in vars(layer) or _NAME not in code.co_names:
        return False
    return not any("norm" in name for name, _ in layer.named_children()) and _turns(own.__globals__[_NAME])


@torch.no_grad()
def _turns(rotate: Rotate) -> bool:
    """Whether a function gives what `rotated` does."""
    angles = torch.linspace(-3, 3, _TOKENS * _NUMBERS).view(1, _TOKENS, _NUMBERS)
    query = torch.linspace(-1, 1.5, _HEADS * angles.numel()).view(1, _HEADS, _TOKENS, _NUMBERS)
    try:
        both = rotate(query, query[:, :1], angles.cos(), angles.sin())
    except (TypeError, RuntimeError, ValueError):  # of other arguments, or other shapes
        return False
    expected = rotated(query, angles.cos(), angles.sin())
    return all(
        mine.shape == its.shape and torch.allclose(its, mine, rtol=_CLOSE, atol=_CLOSE)
        for mine, its in zip((expected, expected[:, :1]), both, strict=True)
    )


def _replace(layer: Any) -> None:
    own = type(layer).forward
    names = own.__globals__
    changed = names | {_NAME: partial(_rotate, names[_NAME])}
    forward = types.FunctionType(own.__code__, changed, own.__name__, own.__defaults__, own.__closure__)
    forward.__kwdefaults__ = own.__kwdefaults__
    layer.forward = types.MethodType(forward, layer)  # bound, so that a copy of the model has its own


def _rotate(own: Rotate, query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, *args: Any, **named: Any) -> Any:
    """Rotate by `rotated` what autocast gives on a CPU, and all else by the layer's ``own`` function."""
    computed = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    plain = query.device.type == "cpu" and query.dtype == key.dtype == computed and cos.dtype == torch.float32
    if args or named or not plain or cos.dim() != 3 or cos.shape[-1] != query.shape[-1]:
        return own(query, key, cos, sin, *args, **named)
    return rotated(query, cos, sin), rotated(key, cos, sin)
