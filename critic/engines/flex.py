"""Attention for packed trees on GPUs: one fused kernel over the whole row, by PyTorch's FlexAttention.

On CPUs FlexAttention has no gradient, and `critic.engines.attention.TreePlan` is the faster one.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from critic.engines.attention import Plan, TreePlan
from critic.engines.tokens import Span


class FlexPlan:
    """Each span sees itself, causally, and all of its ancestors; blocks of the mask that are empty are not computed."""

    def __init__(self, spans: list[Span], device: torch.device) -> None:
        node_N, sees_SS = relation(spans, device)

        def mask(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            # Ancestors lie before their descendants, so one comparison serves both kinds of tokens.
            return sees_SS[node_N[query], node_N[key]] & (key <= query)

        size = len(node_N)
        self._mask = create_block_mask(mask, None, None, size, size, device=device)
        kernel: Any = flex_attention
        self._kernel = _compiled() if device.type == "cuda" else kernel

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `critic.engines.attention.Plan`."""
        mixed = self._kernel(
            query[None], key[None], value[None], block_mask=self._mask, scale=scale, enable_gqa=len(query) != len(key)
        )
        assert isinstance(mixed, Tensor)
        return mixed[0].transpose(0, 1)


def tree_plan(spans: list[Span], device: torch.device) -> Plan:
    """Return the attention plan for packed trees that is the fastest on ``device``."""
    return FlexPlan(spans, device) if device.type == "cuda" else TreePlan(spans, device)


def relation(spans: list[Span], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return which span each of N tokens is in, ``[N]``, and which of S spans sees which, ``[S, S]``."""
    number = {(span.start, span.end): i for i, span in enumerate(spans) if span.end > span.start}
    sees = torch.eye(len(spans), dtype=torch.bool)
    node: list[int] = []
    for i, span in enumerate(spans):
        node += [i] * (span.end - span.start)
        for ancestor in span.ancestors:
            if ancestor in number:
                sees[i, number[ancestor]] = True
    return torch.tensor(node, device=device), sees.to(device)


@cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=True)
