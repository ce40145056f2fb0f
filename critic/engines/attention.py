"""Attention for packed rows, in place of the one that a transformers model comes with.

The model runs over one row of tokens, ``[1, N]``, whatever that row holds: trees of chats to score, prompts to read,
or the newest token of each answer that is being written. Who sees whom is the business of the `Plan` that goes with
the row; every layer of the model calls it. So there is no padding, and no mask over the whole row.

Shapes: N tokens in the row, H query heads, K key-value heads, G = H / K, D numbers a head.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from critic.engines.kv_cache import KeyValueCache
from critic.engines.tokens import Span

NAME = "cai_packed"


class Plan(Protocol):
    """Says who sees whom in one row of tokens."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Return ``[N, H, D]`` for ``query [H, N, D]``, ``key`` and ``value [K, N, D]`` of one layer."""
        ...


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    plan: Plan,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend by ``plan``: the signature is that of transformers' attention functions."""
    layer = module.layer_idx
    assert isinstance(layer, int)
    return plan.attend(layer, query[0], key[0], value[0], scaling).unsqueeze(0), None


AttentionInterface.register(NAME, packed_attention)


class TreePlan:
    """Each span sees itself, causally, and all of its ancestors: one call a span, of exactly the keys it needs."""

    def __init__(self, spans: list[Span], device: torch.device) -> None:
        self._spans = [span for span in spans if span.end > span.start]
        self._masks: dict[tuple[int, int], Tensor] = {}
        self._device = device

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Plan`."""
        out = []
        for span in self._spans:
            pieces = [*span.ancestors, (span.start, span.end)]
            keys, values = (torch.cat([x[:, a:b] for a, b in pieces], 1) for x in (key, value))
            mine = query[:, span.start : span.end].reshape(key.shape[0], -1, span.end - span.start, key.shape[2])
            wide = (keys.shape[0], mine.shape[1], *keys.shape[1:])
            mixed = scaled_dot_product_attention(
                mine,
                keys.unsqueeze(1).expand(wide),
                values.unsqueeze(1).expand(wide),
                attn_mask=self._mask(span.end - span.start, keys.shape[1]) if span.ancestors else None,
                is_causal=not span.ancestors,
                scale=scale,
            )
            out.append(mixed.flatten(0, 1).transpose(0, 1))
        return torch.cat(out)

    def _mask(self, queries: int, keys: int) -> Tensor:
        """Return ``[queries, keys]``: true where a query may look, the last query at all keys."""
        if (queries, keys) not in self._masks:
            full = torch.ones(queries, keys, dtype=torch.bool, device=self._device)
            self._masks[queries, keys] = full.tril(keys - queries)
        return self._masks[queries, keys]


class PrefillPlan(TreePlan):
    """Prompts, one span each, whose keys and values are kept in the ``slots`` of a cache (several for one prompt)."""

    def __init__(self, spans: list[Span], slots: list[list[int]], cache: KeyValueCache, device: torch.device) -> None:
        super().__init__(spans, device)
        self._slots, self._cache = slots, cache

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Plan`."""
        for span, slots in zip(self._spans, self._slots, strict=True):
            for slot in slots:
                self._cache.store(layer, slot, key[:, span.start : span.end], value[:, span.start : span.end])
        return super().attend(layer, query, key, value, scale)


class DecodePlan:
    """One new token for each of N consecutive slots of a cache, from ``first`` on: it sees its slot and itself."""

    def __init__(self, cache: KeyValueCache, first: int, lengths: list[int], device: torch.device) -> None:
        self._cache, self._rows = cache, slice(first, first + len(lengths))
        self._last = torch.tensor(lengths, device=device)
        self._slots = torch.arange(first, first + len(lengths), device=device)
        self._width = max(lengths) + 1
        self._mask = (torch.arange(self._width, device=device) <= self._last[:, None])[:, None, None, :]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Plan`."""
        keys, values = self._cache.layer(layer, key)
        keys[self._slots, :, self._last] = key.transpose(0, 1)
        values[self._slots, :, self._last] = value.transpose(0, 1)
        mixed = scaled_dot_product_attention(  # the G heads that share a key are G queries of one head
            query.reshape(key.shape[0], -1, *query.shape[1:]).permute(2, 0, 1, 3),
            keys[self._rows, :, : self._width],
            values[self._rows, :, : self._width],
            attn_mask=self._mask,
            scale=scale,
        )
        return mixed.flatten(1, 2)
