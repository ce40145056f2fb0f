"""A transformers language model in this process, as an engine (`critic.engines.hf`).

One thread owns the model (`critic.local.worker`); callers on any event loop wait for their requests' futures.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from base.errors import InputError
from critic.chats.chat import Chat
from critic.chats.stops import end_ids
from critic.chats.template_options import NO_OPTIONS, TemplateOptions, read_template_options
from critic.chats.tokens import from_chats
from critic.engine import (
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
from critic.engine_kinds.capabilities import LOGPROBS, NO, STRUCTURED, THINKS, YES
from critic.engine_kinds.options import SpecOption, check_known
from critic.local.loading import (
    Loaded,
    default_device,
    default_dtype,
    embedding_rows,
    first_line,
    load,
    positions,
    unstretched,
)
from critic.local.local_options import WRITING
from critic.local.openmp import on_thread_that_ends
from critic.local.proving.proof import SCORERS, WRITERS, Proof, prove
from critic.local.trees import attention
from critic.local.worker import PendingRequest, Ways, Worker, WorkerLimits

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_BOOLS = {"true": True, "false": False}
ROW_TOKENS = 4096
"""Tokens that go through a model in one row, unless an engine's option says otherwise."""
_CACHE_BYTES_CPU = 1 << 30
_INTERACTIVE_SLOTS = 4
_UNBOUNDED = 1 << 20

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class HfEngine:
    """See the module's docstring, and `critic.engine.Engine` for the verbs."""

    whole_trees = True
    _reads: tuple[type[Read], ...] = (Choices, OwnTokens)
    _refusal = "a language model gives no rewards; rm:PATH_OR_ID takes a reward model, systemone: a server that decides"

    def __init__(
        self,
        loaded: Loaded,
        name: str,
        batch: int = 16,
        deterministic: bool = False,
        template: TemplateOptions = NO_OPTIONS,
        row_tokens: int = ROW_TOKENS,
    ) -> None:
        model = loaded.model
        context = context_length(model, name, loaded.tokenizer)
        self._ways = self._found_ways(loaded, template, context, name)
        proof = self._ways.proof
        attention.attend_by(model, attention.NAME if proof.is_packed_anywhere else attention.own(model))
        dtype = str(model.dtype).removeprefix("torch.")
        settings = {"deterministic": str(deterministic).lower(), "dtype": dtype}
        settings |= dict(self._ways.settings) | proof.settings()
        self.identity = Identity(name, loaded.revision, tuple(sorted(settings.items())))
        self.capabilities = self._capabilities() | proof.described()
        self._ways.chat.tell(self.capabilities)
        self.usage = Usage()
        limits = WorkerLimits(
            batch=1 if deterministic else batch,
            interactive=0 if deterministic else _INTERACTIVE_SLOTS,
            row_tokens=row_tokens,
            cached_tokens=_cache_bytes(model.device) // max(1, proof.bytes_per_token),
            context=context,
            alone=deterministic,
        )
        if not proof.is_packed:  # on the console: Python's own handler prints warnings to stderr
            _LOG.warning("%s is not computed packed, but slower. %s", name, proof.told())
        self._worker = Worker(model, self._ways, limits, self.usage)

    def _found_ways(self, loaded: Loaded, template: TemplateOptions, context: int, name: str) -> Ways:
        """Return how chats become tokens, and the paths that were found right."""
        chat = opened_chat(loaded, template, name)
        proof = prove(loaded.model, chat, context, name)
        return ways(chat, proof, end_ids(chat, loaded.tokenizer, loaded.model))

    def _capabilities(self) -> dict[str, str]:
        thinks = YES if self._ways.chat.thinks() else NO
        return {LOGPROBS: "exact", STRUCTURED: "by instruction", THINKS: thinks}

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Answer one chat."""
        completion = await self._do(PendingRequest(request, lane))
        assert isinstance(completion, Completion)
        return completion

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read numbers off a tree of chats."""
        if not all(isinstance(read, self._reads) for _, read, _ in reads(tree)):
            raise EngineError(self._refusal)
        scores = await self._do(PendingRequest(tree, lane))
        assert isinstance(scores, tuple)
        return scores

    async def close(self) -> None:
        """End the worker thread."""
        await asyncio.to_thread(self._worker.close)

    async def _do(self, job: PendingRequest) -> object:
        self._worker.submit(job)
        return await asyncio.wrap_future(job.future)


def open_engine(path_or_id: str, options: dict[str, str], name: str | None = None) -> HfEngine:
    """Load a model and start its worker.

    The options are those of `critic.local.local_options.WRITING`. Raises `InputError` for an unknown option or
    value, and for a model that can't be used.
    """
    where = name or path_or_id
    chosen = settings(options, WRITING, where)

    def opened() -> HfEngine:
        loaded = load(path_or_id, chosen.dtype, chosen.device)
        return HfEngine(loaded, where, chosen.batch, chosen.deterministic, chosen.template, chosen.row)

    return on_thread_that_ends(opened)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """A spec's options, read; `open_engine` says what each does."""

    batch: int
    row: int
    deterministic: bool
    device: torch.device
    dtype: torch.dtype
    template: TemplateOptions


def settings(options: Mapping[str, str], known: Sequence[SpecOption], where: str) -> LocalSettings:
    """Read ``options``, of which those in ``known`` may be given. Raises `InputError` for all others and bad values."""
    check_known(options, known, where)
    batch = _count(options, "batch", 16, where)
    row = _count(options, "row", ROW_TOKENS, where)
    device = _device(options, where)
    dtype = _one_of(options, "dtype", _DTYPES, where) or default_dtype(device)
    deterministic = _one_of(options, "deterministic", _BOOLS, where) or False
    return LocalSettings(batch, row, deterministic, device, dtype, read_template_options(options, where))


def _device(options: Mapping[str, str], where: str) -> torch.device:
    """Return the device that is asked for, else the one that is there; it has been tried."""
    given = options.get("device") or str(default_device())
    try:
        device = torch.device(given)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        problem = f"device={given} can't be used on this machine: {first_line(error)}"
        raise InputError(problem, where=where, fix="try device=cpu or device=cuda") from error
    return device


def _count(options: Mapping[str, str], name: str, default: int, where: str) -> int:
    given = options.get(name, str(default))
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{name}={given} is not a whole number above 0", where=where)
    return int(given)


def opened_chat(loaded: Loaded, template: TemplateOptions, name: str) -> Chat:
    """Return what encodes chats for a loaded model. Raises `InputError` where its template can't be used."""
    padding = getattr(loaded.model.config.get_text_config(), "pad_token_id", None)
    chat = Chat(loaded.tokenizer, name, padding, template)
    chat.prove()
    return chat


def ways(chat: Chat, proof: Proof, stop_ids: frozenset[int] = frozenset()) -> Ways:
    """Return how a model computes that was proven with ``chat``, and that ends its answers with one of ``stop_ids``."""
    writers = WRITERS[proof.writing.name if proof.writing else "plain"]
    return Ways(
        chat, chat.settings, partial(from_chats, chat=chat), SCORERS[proof.scoring.name], writers, proof, stop_ids
    )


def context_length(
    model: PreTrainedModel, where: str = "the model", tokenizer: PreTrainedTokenizerBase | None = None
) -> int:
    """Return how many tokens of a chat the model can see at once.

    Raises `InputError` where texts have tokens that are not in the model's embedding.
    """
    if tokenizer is not None:
        _check_vocabulary(model, tokenizer, where)
    bounds = (positions(model), unstretched(model.config))
    return min((bound for bound in bounds if bound is not None), default=_UNBOUNDED)


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    rows = embedding_rows(model)
    control = [token for i, token in tokenizer.added_tokens_decoder.items() if i >= rows]
    template = str(tokenizer.chat_template or "")
    used = [str(token) for token in control if str(token) in template]
    words = len(tokenizer) - len(control)
    if used or words > rows:
        raise InputError(
            f"its tokenizer has {len(tokenizer)} tokens and its embedding {rows} rows"
            + (f": the chat template's {used[0]} is past the end" if used else ""),
            where=where,
            fix="the model and the tokenizer must belong together; resize_token_embeddings makes room for new tokens",
        )


def _one_of(options: Mapping[str, str], key: str, values: Mapping[str, T], where: str) -> T | None:
    """Return the value that option ``key`` names, or None where it is not given."""
    if key not in options:
        return None
    if options[key] not in values:
        raise InputError(f"{key}={options[key]} is none of {', '.join(values)}", where=where)
    return values[options[key]]


def _cache_bytes(device: torch.device) -> int:
    """Return how much memory the answers under way may take: of a GPU, half of what the weights have left."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _CACHE_BYTES_CPU
