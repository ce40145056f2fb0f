"""Norms that round once: under autocast, a root mean square norm gives what its linear layers compute in.

transformers' norms give float32 there, which each of three or two linear layers after them rounds by itself, and whose
gradients are widened and added again. The numbers are the same: what is rounded once here is rounded alike there.
A norm is replaced where it lies before the linear layers of a decoder's layer, and is proven to compute this formula.
"""

import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_CLOSE = 1e-5
"""How far this formula may be from a norm's own, in float32 and of numbers near 1: rounding is far less."""
_ROWS = 8
"""Rows of numbers that a norm is tried on."""


def round_once(model: PreTrainedModel) -> int:
    """Let the norms before a model's linear layers round once; return how many there are."""
    norms = [norm for norm in _before_linear(model) if _is_proven(norm)]
    for norm in norms:
        _replace(norm)
    return len(norms)


def rms_norm(states: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
    """Return ``weight * states / rms(states)`` over the last dimension: computed in float32, then rounded."""
    normed: Tensor = _RootMeanSquare.apply(states, weight, epsilon, dtype)  # type: ignore[no-untyped-call]  # untyped in torch
    return normed


class _RootMeanSquare(torch.autograd.Function):
    """See `rms_norm`. The inverse root is kept, the normed states are computed again."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
        """Return the normed states."""
        length = torch.linalg.vector_norm(states, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = length.square_().div_(states.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(states, weight, inverse)
        normed: Tensor = (states * inverse).mul_(weight)
        return normed.to(dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of states and weight."""
        states, weight, inverse = ctx.saved_tensors
        normed = states * inverse
        product = normed * grad
        to_weight = product.flatten(0, -2).sum(0)
        share = (product @ weight.to(product.dtype)).div_(states.shape[-1]).unsqueeze(-1)
        to_states = (grad * weight).sub_(normed.mul_(share)).mul_(inverse)
        return to_states.to(states.dtype), to_weight.to(weight.dtype), None, None


def _before_linear(model: PreTrainedModel) -> Iterator[nn.Module]:
    """Yield the two norms of each layer that norms what goes into its attention and its MLP, and nothing else."""
    for layer in model.modules():
        norms = [name for name, _ in layer.named_children() if name.endswith("norm")]
        if norms == ["input_layernorm", "post_attention_layernorm"] and hasattr(layer, "self_attn"):
            yield from (getattr(layer, name) for name in norms)


@torch.no_grad()
def _is_proven(norm: nn.Module) -> bool:
    """Whether ``norm`` has one weight a number and gives what `rms_norm` does, as it stands and with other weights."""
    weights = dict(norm.named_parameters())
    epsilon = getattr(norm, "variance_epsilon", None)
    if list(weights) != ["weight"] or not isinstance(epsilon, float) or weights["weight"].dim() != 1:
        return False
    weight = weights["weight"]
    if weight.dtype != torch.float32 or weight.is_meta:
        return False
    states = torch.linspace(-1.5, 1.0, _ROWS * len(weight), device=weight.device).view(_ROWS, -1)
    own = norm(states)
    return bool(torch.allclose(own, rms_norm(states, weight, epsilon, torch.float32), rtol=_CLOSE, atol=_CLOSE))


def _replace(norm: Any) -> None:
    norm.forward = types.MethodType(_forward, norm)  # bound, so that a copy of the model has its own


def _forward(norm: Any, hidden_states: Tensor) -> Tensor:
    kind = hidden_states.device.type
    normed: Tensor
    if hidden_states.dtype == torch.float32 and torch.is_autocast_enabled(kind):
        normed = rms_norm(hidden_states, norm.weight, norm.variance_epsilon, torch.get_autocast_dtype(kind))
    else:
        normed = type(norm).forward(norm, hidden_states)
    return normed
