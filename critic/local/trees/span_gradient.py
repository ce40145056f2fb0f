"""Attention of packed spans with a gradient of plain matrix products, for CPUs and types of 16 bits.

PyTorch's fused attention is fast forwards on a CPU; its gradient takes several times as long as the products that it
consists of. Here the shares are computed again for the gradient, a block of queries at a time, with grouped heads as
queries of one head. So of what has the size of queries times keys, the mask alone is kept from the one to the other.

Shapes: N tokens in the row, H query heads, K key-value heads, G = H / K, Q queries of a block, W keys, and D
numbers a head.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

_QUERIES = 256
"""Queries of a block: keys after its last one are left out where they aren't seen, and larger blocks leave out few."""
_ROUNDED = 32
"""Tokens: queries and keys of a block are filled up to a multiple. oneDNN compiles a kernel for each new shape, which
takes longer than a block's products do; so few shapes come up, and most of them again in the next step."""
_SHARES = 1 << 24
"""Numbers in the shares of one block, but for a single query: 32 MiB in bfloat16."""

Part = tuple[int, int]
"""Where tokens lie in the row: from one, to before another."""


@dataclass(frozen=True, slots=True)
class SpanPath:
    """The parts of the row that a span sees, itself the last. ``hidden`` gives what it does not see of them.

    That is a function of a number of queries and one of keys, to 0 where one of the path's last Q tokens sees one of
    its first W, and minus infinity elsewhere: ``[Q, W]``. ``is_causal`` says that it hides what comes later, and
    nothing else.
    """

    parts: tuple[Part, ...]
    hidden: Callable[[int, int], Tensor]
    is_causal: bool
    _biases: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def bias(self, queries: int, keys: int, heads: int) -> Tensor:
        """Return ``[1, GQ, W]``: ``hidden``, filled up, for each of G ``heads`` that share a key. All layers use it."""
        if (queries, keys) not in self._biases:
            hidden = pad(self.hidden(queries, keys), (0, 0, 0, _rounded(queries) - queries))
            filled = pad(hidden, (0, _rounded(keys) - keys), value=-torch.inf)
            self._biases[queries, keys] = filled.repeat(heads, 1)[None]
        return self._biases[queries, keys]


def attend_spans(query: Tensor, key: Tensor, value: Tensor, paths: Sequence[SpanPath], scale: float) -> Tensor:
    """Return ``[N, H, D]`` for ``query [H, N, D]``, ``key`` and ``value [K, N, D]``, all of one type.

    ``paths`` holds one for each span that has tokens.
    """
    mixed: Tensor = _Spans.apply(query, key, value, paths, scale)  # type: ignore[no-untyped-call]  # untyped in torch
    return mixed


class _Spans(torch.autograd.Function):
    """See `attend_spans`."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, paths: Sequence[SpanPath], scale: float) -> Tensor:
        """Attend span by span."""
        ctx.save_for_backward(query, key, value)
        ctx.paths, ctx.scale = paths, scale
        out = query.new_empty(query.shape[1], query.shape[0], value.shape[2])
        for path in paths:
            start, end = path.parts[-1]
            keys, values = _along(key, path.parts), _along(value, path.parts)
            alone = path.is_causal and len(path.parts) == 1
            grouped = query[:, start:end].unflatten(0, (len(key), -1))
            shape = (-1, grouped.shape[1], -1, -1)
            mixed = scaled_dot_product_attention(
                grouped,
                keys[:, None].expand(shape),
                values[:, None].expand(shape),
                attn_mask=None if alone else path.hidden(end - start, keys.shape[1]),
                is_causal=alone,
                scale=scale,
            )
            out[start:end] = mixed.flatten(0, 1).transpose(0, 1)
        return out

    @staticmethod
    def backward(ctx: Any, grad_NHD: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of query, key and value."""
        query, key, value = ctx.saved_tensors
        to_query = torch.empty_like(query)
        to_key, to_value = torch.zeros_like(key), torch.zeros_like(value)
        grad_HND = grad_NHD.transpose(0, 1)
        for path in ctx.paths:
            keys, values = (_filled(_along(states, path.parts)) for states in (key, value))
            to_keys, to_values = torch.zeros_like(keys), torch.zeros_like(values)
            for part, width in _blocks(path, len(query)):
                first, last = part
                wide = _rounded(width)
                states = _heads(query, part, len(key)), _heads(grad_HND, part, len(key))
                bias = path.bias(last - first, width, len(query) // len(key))
                of_queries, of_keys, of_values = _block(*states, keys[:, :wide], values[:, :wide], bias, ctx.scale)
                to_query[:, first:last] = of_queries.view(len(query), -1, query.shape[2])[:, : last - first]
                to_keys[:, :wide] += of_keys
                to_values[:, :wide] += of_values
            _add(to_key, to_keys, path.parts)
            _add(to_value, to_values, path.parts)
        return to_query, to_key, to_value, None, None


def _block(
    query: Tensor, grad: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``query [K, GQ, D]``, ``keys`` and ``values [K, W, D]``; ``bias`` is a `SpanPath`'s."""
    # Scale and bias within the product: apart from it, each is a pass that takes as long as the product does.
    scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=scale)
    shares = scores.softmax(-1)
    to_values = torch.bmm(shares.transpose(1, 2), grad)
    to_shares = torch.bmm(grad, values.transpose(1, 2))
    to_scores = torch._softmax_backward_data(to_shares, shares, -1, shares.dtype)
    to_keys = torch.bmm(to_scores.transpose(1, 2), query).mul_(scale)
    return torch.bmm(to_scores, keys).mul_(scale), to_keys, to_values


def _blocks(path: SpanPath, heads: int) -> Iterator[tuple[Part, int]]:
    """Yield parts of a span, and how many of its path's tokens lie before the end of each."""
    start, end = path.parts[-1]
    before = sum(last - first for first, last in path.parts[:-1])
    most = max(1, min(_QUERIES, _SHARES // (heads * (before + end - start))))
    for first in range(start, end, most):
        last = min(first + most, end)
        yield (first, last), before + last - start


def _along(states: Tensor, path: Sequence[Part]) -> Tensor:
    """Return the states ``[K, W, D]`` of a path's tokens."""
    whole = path[0][0], path[-1][1]
    if whole[1] - whole[0] == sum(end - start for start, end in path):  # they lie side by side
        return states[:, whole[0] : whole[1]]
    return torch.cat([states[:, start:end] for start, end in path], 1)


def _heads(states: Tensor, part: Part, heads: int) -> Tensor:
    """Return the states of a part ``[H, N, D]`` as ``[K, GQ, D]``: the heads that share a key one after another.

    They are filled up, and a gradient of zero adds nothing to any other.
    """
    return _filled(states[:, part[0] : part[1]]).reshape(heads, -1, states.shape[-1])


def _filled(states: Tensor) -> Tensor:
    """Return the states ``[..., W, D]`` with zeros behind them, up to a rounded number of tokens."""
    return pad(states, (0, 0, 0, _rounded(states.shape[1]) - states.shape[1]))


def _rounded(tokens: int) -> int:
    """Return ``tokens``, rounded up: see `_ROUNDED`."""
    return -(-tokens // _ROUNDED) * _ROUNDED


def _add(row: Tensor, states: Tensor, path: Sequence[Part]) -> None:
    """Add the states of a path's tokens to where they lie in the row."""
    before = 0
    for start, end in path:
        row[:, start:end] += states[:, before : before + end - start]
        before += end - start
