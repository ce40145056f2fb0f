"""Computes a model in float32, whatever type its weights have: what is left of a difference then is no rounding.

Each operation gets float32 copies of what it is given, which live as long as it does; the weights stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

_NARROW = (torch.bfloat16, torch.float16)
_TYPE: Any = Tensor.dtype  # the attribute itself, as its getter is what a mode is told
# These look at a tensor or at a part of it: a copy would be made for nothing, of all experts' weights for one's.
_LOOKS: frozenset[Callable[..., Any]] = frozenset(
    [Tensor.__getitem__, Tensor.size, Tensor.dim, Tensor.numel, Tensor.stride, Tensor.is_floating_point, Tensor.view]
)


class InFloat32(TorchFunctionMode):
    """A context in which tensors of less precise types are computed with, made and asked about as float32 ones."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `TorchFunctionMode`."""
        if func in _LOOKS:
            return func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "__get__":  # an attribute, of which only the type has to be another
            return _wide(func(*args)) if func == _TYPE.__get__ else func(*args)
        return func(*tree_map(_wide, tuple(args)), **tree_map(_wide, dict(kwargs or {})))


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _NARROW else value
    return torch.float32 if isinstance(value, torch.dtype) and value in _NARROW else value
