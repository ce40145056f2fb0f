"""Attention for packed trees on GPUs: one fused kernel over the whole row, by PyTorch's FlexAttention.

On CPUs FlexAttention has no gradient, and `critic.local.trees.attention.TreePlan` is the faster one.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from critic.chats.tokens import SegmentSpan
from critic.local.trees.attention import AttentionPlan, AttentionRule, Mask, TreePlan, computed_in
from critic.local.trees.blocks import block_mask

_VARIANTS = 64
"""Kernels of one process: with a gradient or without, of each type of numbers, for one block and for more, for each
kind of mask, cap and sinks. PyTorch's own limit is 8. Beyond a limit it computes all scores one by one, which takes ten
times as long; ``fullgraph`` makes that an error."""


class FlexPlan:
    """Each span sees itself, causally, and all of its ancestors; blocks of the mask that are empty are not computed."""

    def __init__(self, spans: list[SegmentSpan], device: torch.device) -> None:
        self._node_N, self._sees_SS = relation(spans, device)
        self._place_N = places(spans, device)
        self._blocks: dict[Mask, BlockMask] = {}
        kernel: Any = flex_attention
        self._kernel = _compiled() if device.type == "cuda" else kernel

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, rule: AttentionRule) -> Tensor:
        """See `critic.local.trees.attention.AttentionPlan`."""
        # Under autocast layers give queries and keys in float32 and values in bfloat16: all three are cast here, so
        # that the gradient, too, goes through casts that autograd knows.
        query, key, value = (states.to(computed_in(query)) for states in (query, key, value))
        more = {} if rule.sinks is None else {"return_aux": AuxRequest(lse=True)}
        with torch.autocast(query.device.type, enabled=False):  # nothing is left to cast, and one kernel serves both
            attended = self._kernel(
                query[None],
                key[None],
                value[None],
                score_mod=None if rule.softcap is None else _capped(torch.full((), rule.softcap, device=query.device)),
                block_mask=self._block(rule.mask),
                scale=rule.scale,
                enable_gqa=len(query) != len(key),
                **more,
            )
        mixed: Tensor = attended if rule.sinks is None else attended[0]
        if rule.sinks is not None:  # a sink takes its share of the probability, and gives nothing
            mixed = mixed * (attended[1].lse - rule.sinks.float()[None, :, None]).sigmoid()[..., None].to(mixed.dtype)
        return mixed[0].transpose(0, 1)

    def _block(self, mask: Mask) -> BlockMask:
        if mask not in self._blocks:
            self._blocks[mask] = self._made(mask)
        return self._blocks[mask]

    def _made(self, limits: Mask) -> BlockMask:
        node_N, sees_SS, place_N = self._node_N, self._sees_SS, self._place_N

        def mask(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            # Ancestors lie before their descendants, so one comparison serves both kinds of tokens.
            seen = sees_SS[node_N[query], node_N[key]] & (key <= query)
            return seen if limits.sees is None else seen & limits.sees(0, 0, place_N[query], place_N[key])

        return block_mask(mask, len(node_N), node_N.device)


def tree_plan(spans: list[SegmentSpan], device: torch.device) -> AttentionPlan:
    """Return the attention plan for packed trees that is the fastest on ``device``."""
    return FlexPlan(spans, device) if device.type == "cuda" else TreePlan(spans, device)


def relation(spans: list[SegmentSpan], device: torch.device) -> tuple[Tensor, Tensor]:
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


def places(spans: list[SegmentSpan], device: torch.device) -> Tensor:
    """Return the position of each of N tokens in its path, ``[N]``."""
    depths: list[int] = []
    for span in spans:
        depth = sum(end - start for start, end in span.ancestors)
        depths += range(depth, depth + span.end - span.start)
    return torch.tensor(depths, device=device)


def _capped(softcap: Tensor) -> Callable[..., Tensor]:
    # Of a number, the compiler would make a symbol that no whole graph can hold.
    def capped(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return softcap * (score / softcap).tanh()

    return capped


@cache
def _compiled() -> Callable[..., Any]:
    """Return the fused kernel, which is compiled again for each of its `_VARIANTS`."""
    compiler: Any = torch.compile  # its types leave out the last two settings
    kernel: Callable[..., Any] = compiler(
        flex_attention, dynamic=True, fullgraph=True, recompile_limit=_VARIANTS, isolate_recompiles=True
    )
    return kernel
