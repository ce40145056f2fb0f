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
        self._sizes = [span.end - span.start for span in spans]
        number = {(span.start, span.end): i for i, span in enumerate(spans) if span.end > span.start}
        # Of each span that holds tokens: the spans that it sees, in order, itself the last.
        self._seen = [
            [number[a] for a in (*span.ancestors, (span.start, span.end)) if a in number]
            for span in spans
            if span.end > span.start
        ]
        self._masks: dict[tuple[int, int], Tensor] = {}
        self._device = device

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Plan`."""
        # Cut once: the gradient of a slice would be a whole row of zeros, for each span.
        queries, keys, values = (x.split(self._sizes, 1) for x in (query, key, value))
        out = []
        for seen in self._seen:
            mine = queries[seen[-1]].unflatten(0, (len(key), -1))
            k, v = (torch.cat([parts[i] for i in seen], 1) for parts in (keys, values))
            wide = (len(key), mine.shape[1], *k.shape[1:])
            mixed = scaled_dot_product_attention(
                mine,
                k.unsqueeze(1).expand(wide),
                v.unsqueeze(1).expand(wide),
                attn_mask=self._mask(mine.shape[2], k.shape[1]) if len(seen) > 1 else None,
                is_causal=len(seen) == 1,
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
        self._spans, self._slots, self._cache = spans, slots, cache

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
