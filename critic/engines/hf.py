"""The `hf` engine: a transformers model in this process.

One thread owns the model (`worker.Worker`); callers on any event loop wait for their requests' futures.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from constitution.errors import InputError
from critic.engines import attention
from critic.engines.base import (
    Choices,
    Completion,
    EngineError,
    Identity,
    Lane,
    Node,
    OwnTokens,
    Read,
    Request,
    Score,
    Usage,
    reads,
)
from critic.engines.chat import Chat
from critic.engines.loading import Loaded, default_device, default_dtype, load
from critic.engines.worker import Job, Limits, Worker

_OPTIONS = ("batch", "deterministic", "device", "dtype")
_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_BOOLS = {"true": True, "false": False}
_ROW_TOKENS = 4096
_CACHE_BYTES_CPU = 1 << 30
_INTERACTIVE_SLOTS = 4
# Settings that change a model's arithmetic in places that this engine computes itself.
_FOREIGN_ARITHMETIC = ("attn_logit_softcapping", "final_logit_softcapping", "logit_scale", "logits_scaling")

T = TypeVar("T")


class HfEngine:
    """See the module's docstring, and `critic.engines.base.Engine` for the verbs."""

    whole_trees = True
    _reads: tuple[type[Read], ...] = (Choices, OwnTokens)
    _refusal = "a language model gives no rewards; rm:PATH_OR_ID takes a reward model, systemone: a server that decides"

    def __init__(self, loaded: Loaded, name: str, batch: int = 16, deterministic: bool = False) -> None:
        model = loaded.model
        settings = {"deterministic": str(deterministic).lower(), "dtype": str(model.dtype).removeprefix("torch.")}
        self.identity = Identity(name, loaded.revision, tuple(sorted(settings.items())))
        self.capabilities = {"log-probabilities": "exact", "structured output": "by instruction"}
        self.usage = Usage()
        limits = Limits(
            batch=1 if deterministic else batch,
            interactive=0 if deterministic else _INTERACTIVE_SLOTS,
            row_tokens=_ROW_TOKENS,
            cached_tokens=_cache_bytes(model.device) // _cache_bytes_per_token(model),
            context=context_length(model, name),
            alone=deterministic,
        )
        chat = Chat(loaded.tokenizer, name, getattr(model.config.get_text_config(), "pad_token_id", None))
        self._worker = Worker(model, chat, stop_ids(model, loaded.tokenizer), limits, self.usage)

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Answer one chat."""
        completion = await self._do(Job(request, lane))
        assert isinstance(completion, Completion)
        return completion

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read numbers off a tree of chats."""
        if not all(isinstance(read, self._reads) for _, read, _ in reads(tree)):
            raise EngineError(self._refusal)
        scores = await self._do(Job(tree, lane))
        assert isinstance(scores, tuple)
        return scores

    async def close(self) -> None:
        """End the worker thread."""
        await asyncio.to_thread(self._worker.close)

    async def _do(self, job: Job) -> object:
        self._worker.submit(job)
        return await asyncio.wrap_future(job.future)


def open_engine(path_or_id: str, options: dict[str, str], name: str | None = None) -> HfEngine:
    """Load a model and start its worker.

    Options: ``batch`` (answers written at a time, 16), ``dtype`` (``bfloat16`` or ``float32``; by default bfloat16
    where the hardware multiplies it), ``device`` (by default a GPU if there is one, else ``cpu``), ``deterministic``
    (``true``: every request is computed alone, and its result is the same to the last bit whatever else is asked).
    Raises `InputError` for an unknown option or value, and for a model that can't be used.
    """
    where = name or path_or_id
    chosen = settings(options, _OPTIONS, where)
    loaded = load(path_or_id, chosen.dtype, chosen.device, attention.NAME)
    return HfEngine(loaded, where, chosen.batch, chosen.deterministic)


@dataclass(frozen=True, slots=True)
class Settings:
    """A spec's options, read; `open_engine` says what each does."""

    batch: int
    deterministic: bool
    device: torch.device
    dtype: torch.dtype


def settings(options: Mapping[str, str], known: Collection[str], where: str) -> Settings:
    """Read ``options``, of which those in ``known`` may be given. Raises `InputError` for all others and bad values."""
    if unknown := sorted(set(options) - set(known)):
        raise InputError(f"unknown option {unknown[0]!r}", where=where, fix=f"known options: {', '.join(known)}")
    batch = options.get("batch", "16")
    if not batch.isdecimal() or int(batch) < 1:
        raise InputError(f"batch={batch} is not a whole number above 0", where=where)
    try:
        device = torch.device(options["device"]) if "device" in options else default_device()
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device={options['device']} is no device of this machine: {error}", where=where, fix="try cpu or cuda"
        ) from error
    dtype = _one_of(options, "dtype", _DTYPES, where) or default_dtype(device)
    deterministic = _one_of(options, "deterministic", _BOOLS, where) or False
    return Settings(int(batch), deterministic, device, dtype)


def context_length(model: PreTrainedModel, where: str) -> int:
    """Return how many tokens of a chat the model can see at once, with the arithmetic that this engine uses.

    Raises `InputError` for models whose attention or output it can't compute.
    """
    config = model.config.get_text_config()
    odd = [key for key in _FOREIGN_ARITHMETIC if getattr(config, key, None) not in (None, 1, 1.0)]
    if odd or not model._supports_attention_backend:
        raise InputError(
            f"models of type {config.model_type!r} can't be computed in this process"
            + (f" ({', '.join(odd)})" if odd else ""),
            where=where,
            fix="choose another model; a language model can also be served, and named as openai:MODEL@URL",
        )
    lengths = [int(config.max_position_embeddings)]
    # Within its window a model with sliding windows sees everything, as this engine's attention does.
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        lengths.append(int(config.sliding_window))
    # These rotary embeddings change for all tokens of a row as soon as one chat in it is long.
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        lengths.append(int(rope.get("original_max_position_embeddings") or lengths[0]))
    return min(lengths)


def _one_of(options: Mapping[str, str], key: str, values: Mapping[str, T], where: str) -> T | None:
    """Return the value that option ``key`` names, or None where it is not given."""
    if key not in options:
        return None
    if options[key] not in values:
        raise InputError(f"{key}={options[key]} is none of {', '.join(values)}", where=where)
    return values[options[key]]


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return all ids that end an answer, by the model's generation settings, else by its tokenizer."""
    ids = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if ids is None:
        ids = tokenizer.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or [])


def _cache_bytes(device: torch.device) -> int:
    """Return how much memory the answers under way may take: of a GPU, half of what the weights have left."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _CACHE_BYTES_CPU


def _cache_bytes_per_token(model: PreTrainedModel) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)
