"""Attention for packed rows, in place of the one that a transformers model comes with.

The model runs over one row of tokens, ``[1, N]``, whatever that row holds: trees of chats to score, prompts to read,
or the newest token of each answer that is being written. Who sees whom is the business of the `AttentionPlan` that
goes with the row; every layer of the model calls it. So there is no padding, and no mask over the whole row.

What a layer asks for beyond that (a window, a chunk, a cap on its scores, sinks) is its `AttentionRule`. The model's
own mask function says who sees whom by position; here it is asked with the positions in a chat's path, not in the row.
What a layer asks for and nothing here computes is an error, never left out: `critic.local.proving.proof` then takes
another way.

Shapes: N tokens in the row, H query heads, K key-value heads, G = H / K, D numbers a head.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import causal_mask_function

from critic.chats.tokens import SegmentSpan
from critic.local.trees.kv_cache import KeyValueCache
from critic.local.trees.span_gradient import SpanPath, attend_spans

NAME = "cai_packed"
# What layers tell attention functions that changes nothing here: positions are in the queries and keys already, and the
# rest describes rows of the kind that transformers packs itself.
_WITHOUT_EFFECT = frozenset(
    [
        *("cache_position", "is_causal", "position_embeddings", "position_ids", "sliding_window"),
        *("cu_seq_lens_k", "cu_seq_lens_q", "cu_seqlens", "max_length_k", "max_length_q"),
        *("output_attentions", "output_hidden_states", "return_dict", "use_cache"),
    ]
)


class Unpackable(Exception):
    """A layer asks for something that a packed row can't give."""


@dataclass(frozen=True, slots=True)
class Mask:
    """What transformers gets in place of a mask: the model's own function of positions that says who sees whom.

    Paths of up to ``reach`` tokens see everything before them, whatever ``sees`` says. It is called with batch, head,
    query and key, and is None where that holds for every length.
    """

    sees: Callable[[int, int, Tensor, Tensor], Tensor] | None
    reach: int | None

    def among(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return ``[Q, W]``: true where a query at a position ``queries [Q, 1]`` sees a key at ``keys [1, W]``."""
        causal = keys <= queries
        return causal if self.sees is None else causal & self.sees(0, 0, queries, keys)

    def limits(self, tokens: int) -> bool:
        """Whether in a path of so many ``tokens`` some token does not see all before it."""
        return self.sees is not None and (self.reach is None or tokens > self.reach)


CAUSAL = Mask(None, None)


@dataclass(frozen=True, slots=True)
class AttentionRule:
    """How one layer attends: scores are ``scale`` times the product, held below ``softcap``, beside ``sinks [H]``."""

    scale: float
    mask: Mask = CAUSAL
    softcap: float | None = None
    sinks: Tensor | None = None


class AttentionPlan(Protocol):
    """Says who sees whom in one row of tokens."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, rule: AttentionRule) -> Tensor:
        """Return ``[N, H, D]`` for ``query [H, N, D]``, ``key`` and ``value [K, N, D]`` of one layer."""
        ...


_PLAN: ContextVar[AttentionPlan | None] = ContextVar("plan", default=None)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Mask | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    *,
    plan: AttentionPlan | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend by ``plan``, or by that of `planned`: the signature is that of transformers' attention functions.

    Raises `Unpackable` where the layer made a mask of its own, or asks for dropout, or anything that isn't known here.
    """
    plan = plan or _PLAN.get()
    if plan is None:
        raise Unpackable("its layers pass nothing on to their attention")
    if attention_mask is not None and not isinstance(attention_mask, Mask):
        raise Unpackable("its layers make masks of their own")
    if unknown := sorted(key for key in kwargs if kwargs[key] is not None and key not in _WITHOUT_EFFECT):
        raise Unpackable(f"its attention takes {unknown[0]}")
    if dropout:
        raise Unpackable("its attention draws dropout, which packed rows leave out: dropout=false turns it off")
    layer = module.layer_idx
    assert isinstance(layer, int)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    rule = AttentionRule(scale, attention_mask or CAUSAL, softcap, s_aux)
    return plan.attend(layer, query[0], key[0], value[0], rule).unsqueeze(0), None


def packed_mask(
    *,
    mask_function: Callable[..., Tensor],
    local_size: int | None = None,
    use_vmap: bool = False,
    **_kwargs: Any,
) -> Mask:
    """Return the model's ``mask_function`` itself: the signature is that of transformers' mask functions.

    Raises `Unpackable` for functions that are not of positions alone.
    """
    if use_vmap:
        raise Unpackable("its masks depend on more than positions")
    causal: Callable[..., object] = causal_mask_function
    given: Callable[..., object] = mask_function
    return CAUSAL if given is causal else Mask(mask_function, local_size)


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, packed_mask)


def own(model: PreTrainedModel) -> str:
    """Return the name of the model's own attention: ``sdpa``, else ``eager``.

    transformers' ``sdpa`` leaves out a cap on the scores (`sdpa_attention_forward` takes none), its ``eager`` has it.
    """
    capped = getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None
    return "sdpa" if model._supports_sdpa and not capped else "eager"


@contextlib.contextmanager
def planned(plan: AttentionPlan) -> Iterator[None]:
    """Let layers attend by ``plan`` that pass none on to their attention, as some types' don't."""
    before = _PLAN.set(plan)
    try:
        yield
    finally:
        _PLAN.reset(before)


@contextlib.contextmanager
def attending(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Let ``model`` attend by the function registered as ``name``, and afterwards as it did before.

    Raises `Unpackable` where that can't be changed.
    """
    before = model.config._attn_implementation
    try:
        attend_by(model, name)
        yield
    finally:
        attend_by(model, before)


def attend_by(model: PreTrainedModel, name: str) -> None:
    """Let ``model`` attend by the function registered as ``name``. Raises `Unpackable` where that can't be changed."""
    if model.config._attn_implementation == name:
        return
    if name == NAME and not model._can_set_attn_implementation():
        raise Unpackable("its attention can't be replaced")
    model.set_attn_implementation(name)
    if model.config._attn_implementation != name:
        raise Unpackable("its attention can't be replaced")


def mixed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    rule: AttentionRule,
    sinks: Tensor | None,
) -> Tensor:
    """Return the values ``[..., W, D']``, mixed for each query ``[..., Q, D]`` by its scores of keys ``[..., W, D]``.

    ``mask`` is true where a query sees a key; without one all are seen, or by ``causal`` those up to the query's own.
    ``sinks [..., 1, 1]`` take their share of the probability and give nothing.
    """
    if rule.softcap is None and sinks is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, scale=rule.scale)
    scores = (query @ key.transpose(-1, -2)).float() * rule.scale
    if rule.softcap is not None:
        scores = rule.softcap * (scores / rule.softcap).tanh()
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks.float().expand(*scores.shape[:-1], 1)], -1)
    shares = scores.softmax(-1)[..., : key.shape[-2]]
    return shares.to(value.dtype) @ value


class TreePlan:
    """Each span sees itself, causally, and all of its ancestors: one call a span, of exactly the keys it needs."""

    def __init__(self, spans: list[SegmentSpan], device: torch.device) -> None:
        self._sizes = [span.end - span.start for span in spans]
        number = {(span.start, span.end): i for i, span in enumerate(spans) if span.end > span.start}
        # Of each span that holds tokens: the spans that it sees, in order, itself the last.
        self._seen = []
        for span in spans:
            if span.end > span.start:
                self._seen.append([number[a] for a in (*span.ancestors, (span.start, span.end)) if a in number])
        held = [(span.start, span.end) for span in spans]
        self._parts = [tuple(map(held.__getitem__, seen)) for seen in self._seen]
        self._paths: dict[tuple[Mask, torch.dtype], list[SpanPath]] = {}
        self._masks: dict[tuple[Mask, int, int], Tensor] = {}
        self._biases: dict[tuple[Mask, torch.dtype, int, int], Tensor] = {}
        self._device = device

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, rule: AttentionRule) -> Tensor:
        """See `AttentionPlan`."""
        if rule.softcap is None and rule.sinks is None and _gains_by_products(query):
            query, key, value = (x.to(computed_in(query)) for x in (query, key, value))
            return attend_spans(query, key, value, self._along(rule.mask, query.dtype), rule.scale)
        # Cut once: the gradient of a slice would be a whole row of zeros, for each span.
        queries, keys, values = (x.split(self._sizes, 1) for x in (query, key, value))
        sinks = None if rule.sinks is None else rule.sinks.view(len(key), -1, 1, 1)
        out = []
        for seen in self._seen:
            mine = queries[seen[-1]].unflatten(0, (len(key), -1))
            k = torch.cat([keys[i] for i in seen], 1)
            v = torch.cat([values[i] for i in seen], 1)
            limited = rule.mask.limits(k.shape[1])
            heads = mine.shape[1]
            masked = limited or len(seen) > 1
            sees = rule.mask if limited else CAUSAL
            span = mixed(
                mine,
                k.unsqueeze(1).expand(-1, heads, -1, -1),
                v.unsqueeze(1).expand(-1, heads, -1, -1),
                self._mask(sees, mine.shape[2], k.shape[1]) if masked else None,
                not masked,
                rule,
                sinks,
            )
            out.append(span.flatten(0, 1).transpose(0, 1))
        return torch.cat(out)

    def _along(self, mask: Mask, dtype: torch.dtype) -> list[SpanPath]:
        """Return the path of each span that holds tokens, for products in ``dtype``."""
        if (mask, dtype) not in self._paths:
            limited = []
            for parts in self._parts:
                limited.append(mask.limits(sum(end - start for start, end in parts)))
            self._paths[mask, dtype] = [
                SpanPath(parts, partial(self._hidden, mask if limits else CAUSAL, dtype), not limits)
                for parts, limits in zip(self._parts, limited, strict=True)
            ]
        return self._paths[mask, dtype]

    def _hidden(self, mask: Mask, dtype: torch.dtype, queries: int, keys: int) -> Tensor:
        """Return ``[queries, keys]``: 0 where one of a path's last ``queries`` tokens may look, else minus infinity."""
        bias = self._biases.get((mask, dtype, queries, keys))
        if bias is None:
            sees = self._made_mask(mask, queries, keys)
            bias = torch.zeros_like(sees, dtype=dtype).masked_fill_(~sees, -torch.inf)
            self._biases[mask, dtype, queries, keys] = bias
        return bias

    def _mask(self, mask: Mask, queries: int, keys: int) -> Tensor:
        """Return ``[queries, keys]``: true where one of a path's last ``queries`` tokens may look."""
        if (mask, queries, keys) not in self._masks:
            self._masks[mask, queries, keys] = self._made_mask(mask, queries, keys)
        return self._masks[mask, queries, keys]

    def _made_mask(self, mask: Mask, queries: int, keys: int) -> Tensor:
        """Return what `_mask` does, and don't keep it."""
        places = torch.arange(keys, device=self._device)
        return mask.among(places[keys - queries :, None], places[None])


def _gains_by_products(query: Tensor) -> bool:
    """Whether a gradient is to be taken, and faster so: on CPUs PyTorch's own is as fast in float32 alone."""
    return query.requires_grad and query.device.type == "cpu" and computed_in(query).itemsize == 2


def computed_in(states: Tensor) -> torch.dtype:
    """Return the type that attention has under autocast, if that is on."""
    kind = states.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype


class PrefillPlan(TreePlan):
    """Prompts, one span each, whose keys and values are kept in the ``slots`` of a cache (several for one prompt)."""

    def __init__(
        self, spans: list[SegmentSpan], slots: list[list[int]], cache: KeyValueCache, device: torch.device
    ) -> None:
        super().__init__(spans, device)
        self._spans, self._slots, self._cache = spans, slots, cache

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, rule: AttentionRule) -> Tensor:
        """See `AttentionPlan`."""
        for span, slots in zip(self._spans, self._slots, strict=True):
            for slot in slots:
                self._cache.store(layer, slot, key[:, span.start : span.end], value[:, span.start : span.end])
        return super().attend(layer, query, key, value, rule)


class DecodePlan:
    """One new token for each of N consecutive slots of a cache, from ``first`` on: it sees its slot and itself."""

    def __init__(self, cache: KeyValueCache, first: int, lengths: list[int], device: torch.device) -> None:
        self._cache, self._rows = cache, slice(first, first + len(lengths))
        self._last = torch.tensor(lengths, device=device)
        self._slots = torch.arange(first, first + len(lengths), device=device)
        self._width = max(lengths) + 1
        self._masks: dict[Mask, Tensor] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, rule: AttentionRule) -> Tensor:
        """See `AttentionPlan`."""
        keys, values = self._cache.layer(layer, key, value)
        keys[self._slots, :, self._last] = key.transpose(0, 1)
        values[self._slots, :, self._last] = value.transpose(0, 1)
        out = mixed(  # the G heads that share a key are G queries of one head
            query.reshape(key.shape[0], -1, *query.shape[1:]).permute(2, 0, 1, 3),
            keys[self._rows, :, : self._width],
            values[self._rows, :, : self._width],
            self._mask(rule.mask),
            False,
            rule,
            None if rule.sinks is None else rule.sinks.view(1, len(key), -1, 1),
        )
        return out.flatten(1, 2)

    def _mask(self, mask: Mask) -> Tensor:
        """Return ``[N, 1, 1, width]``: true where an answer's newest token may look."""
        wanted = mask if mask.limits(self._width) else CAUSAL
        if wanted not in self._masks:
            places = torch.arange(self._width, device=self._last.device)
            self._masks[wanted] = wanted.among(self._last[:, None], places[None])[:, None, None, :]
        return self._masks[wanted]
