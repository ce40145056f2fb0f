"""The verbs of the `vllm` engine, on vLLM's asynchronous engine: every request is a request of vLLM's own.

Prompts go in as the token ids that the `hf` engine computes, and what the model's ``generation_config.json`` says of
sampling plays no part. Temperatures go up to 2; vLLM takes those between 0 and 0.01 for 0.01.

A tree is read path by path. The whole blocks of tokens that paths begin with alike are computed once (32 tokens on
CPUs, 16 on GPUs), also where the paths are asked for in the same moment: vLLM finds a block in its cache as soon as the
request that computes it is in the same step. But `OwnTokens` are read off a prompt's log-probabilities, and for those
vLLM computes each prompt from its beginning: the judge mode `contrast` shares nothing.

Log-probabilities are exact, however unlikely the token, and the last layer's arithmetic is in float32: in bfloat16
logits come in steps of 1/16, and the votes of a judge with them.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from vllm import CompletionOutput, RequestOutput, SamplingParams  # type: ignore[import-not-found]
from vllm.exceptions import VLLMError  # type: ignore[import-not-found]
from vllm.inputs import tokens_input  # type: ignore[import-not-found]
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams  # type: ignore[import-not-found]
from vllm.v1.engine.exceptions import EngineDeadError  # type: ignore[import-not-found]

from base.together import together
from critic.chats.chat import Chat
from critic.chats.stops import Piece, beyond_thoughts
from critic.chats.tokens import Pack, TokenRead, from_chats, pack
from critic.engine import (
    Choices,
    Completion,
    EngineDown,
    EngineError,
    Identity,
    Lane,
    Node,
    OwnTokens,
    Request,
    RequestTooLong,
    Sampling,
    Score,
    Usage,
    reads,
)
from critic.engine_kinds.capabilities import LOGPROBS, NO, STRUCTURED, THINKS, VARIES, YES
from critic.local.loading import revision
from critic.vllm.process import arguments, load_tokenizer, start, stop_ids
from critic.vllm.process_log import ProcessLog
from critic.vllm.settings import VllmSettings

# vLLM takes the smallest number first.
_PRIORITIES: dict[Lane, int] = {"interactive": 0, "batch": 1}


class VllmEngine:
    """See the module's docstring, and `critic.engine.Engine` for the verbs. For one event loop."""

    whole_trees = False

    def __init__(self, folder: Path, name: str, chosen: VllmSettings, log: ProcessLog) -> None:
        tokenizer = load_tokenizer(folder)
        self._chat = Chat(tokenizer, name, options=chosen.template)
        self._chat.prove()
        weights = revision(folder)
        self._log = log
        self._llm = start(arguments(folder, chosen), is_shown=log.is_shown)
        config = self._llm.model_config
        settings = {"dtype": str(config.dtype).removeprefix("torch.")} | dict(self._chat.settings)
        self.identity = Identity(name, weights, tuple(sorted(settings.items())))
        self.capabilities = {
            LOGPROBS: "exact",
            STRUCTURED: "json_schema",
            THINKS: YES if self._chat.thinks() else NO,
            VARIES: "batches and prefix cache",
        }
        self._chat.tell(self.capabilities)
        self.usage = Usage()
        self._context = config.max_model_len
        self._stop_ids = stop_ids(self._llm, tokenizer, self._chat)
        self._numbers = count()
        self._under_way: set[str] = set()
        self._since = 0.0
        self._closed = False

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Answer one chat. Where a JSON schema is given, the model can write nothing else."""
        sampling = request.sampling
        if sampling.max_tokens < 1:
            raise EngineError("max_tokens must be at least 1")
        prompt = self._chat.encode(request.messages)
        self._check_length(len(prompt), sampling.max_tokens)

        async def go_on(before: Sequence[int]) -> Piece:
            output = await self._ask(
                [*prompt, *before],
                lane,
                max_tokens=sampling.max_tokens - len(before),
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=request.seed + len(before),
                stop=list(sampling.stop),
                detokenize=bool(sampling.stop),
                structured_outputs=StructuredOutputsParams(json=request.json_schema) if request.json_schema else None,
                logprobs=0,
            )
            answer = output.outputs[0]
            self.usage.completion_tokens += len(answer.token_ids)
            _check_numbers(answer)
            return Piece(tuple(answer.token_ids), answer.finish_reason == "stop", isinstance(answer.stop_reason, str))

        ids, ended = await beyond_thoughts(
            go_on, lambda ids: sampling.stop_in(self._chat.split(prompt, ids)[0]) is None, sampling.max_tokens
        )
        return self._completed(ids, ended, prompt, sampling)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read log-probabilities off a tree of chats, one request a read."""
        if not all(isinstance(read, Choices | OwnTokens) for _, read, _ in reads(tree)):
            raise EngineError(
                "a language model gives no rewards; rm:PATH_OR_ID takes a reward model, and systemone:MODEL@URL is a "
                "server of typed decisions"
            )
        tokens = from_chats(tree, self._chat)
        row = pack([tokens])
        return tuple(await together(self._read(row, read, lane) for read in tokens.reads))

    async def close(self) -> None:
        """End vLLM's processes. Calls under way end with `EngineError`."""
        if self._closed:
            return
        self._closed = True
        with suppress(EngineDeadError):
            await self._llm.abort(list(self._under_way))
        await asyncio.to_thread(self._llm.shutdown)
        self._log.close()
        del self._llm  # else it would be shut down once more when the interpreter ends, and fail at that

    async def _read(self, row: Pack, read: TokenRead, lane: Lane) -> Score:
        """Ask for one path of a tree, up to the node that is read."""
        span = row.spans[read.segment]
        ids = [row.ids[i] for begin, end in (*span.ancestors, (span.start, span.end)) for i in range(begin, end)]
        self._check_length(len(ids), 1)
        if read.summed:
            logprobs = (await self._ask(ids, lane, max_tokens=1, prompt_logprobs=0)).prompt_logprobs
            after = [row.positions[row.spans[segment].start + offset] + 1 for segment, offset in read.places]
            values = [logprobs[i][target].logprob for i, target in zip(after, read.targets, strict=True)]
            return Score((sum(values),), read.tokens)
        answer = (await self._ask(ids, lane, max_tokens=1, logprob_token_ids=list(read.targets))).outputs[0]
        return Score(tuple(answer.logprobs[0][target].logprob for target in read.targets), read.tokens)

    async def _ask(self, ids: Sequence[int], lane: Lane, **how: object) -> RequestOutput:
        """Send one request, greedy unless told otherwise, and return its whole output."""
        if self._closed:
            raise EngineError("the engine is closed")
        prompt, number = tokens_input(list(ids)), f"{next(self._numbers):012}"
        try:
            # The ids that end an answer are given here: vLLM would add its own.
            stops = {"ignore_eos": True, "stop_token_ids": sorted(self._stop_ids)}
            plain = {"temperature": 0.0, "detokenize": False, "output_kind": RequestOutputKind.FINAL_ONLY}
            params = SamplingParams(**stops | plain | how)
            with self._counted(number):
                [output] = [out async for out in self._llm.generate(prompt, params, number, priority=_PRIORITIES[lane])]
        except EngineDeadError:
            reason = self._log.reason()
            raise EngineDown("vLLM's processes have ended" + (f": {reason}" if reason else "")) from None
        except VLLMError as error:
            raise EngineError(f"vLLM can't answer this request: {error.__cause__ or error}") from error
        ended = output.outputs[0].finish_reason
        if ended not in ("stop", "length"):
            raise EngineError("the engine was closed before it answered" if self._closed else f"vLLM said {ended!r}")
        self.usage.calls += 1
        self.usage.prompt_tokens += len(ids) - (output.num_cached_tokens or 0)
        return output

    def completion(self, answer: CompletionOutput, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """Return vLLM's answer to one request. Raises `EngineError` where the model's arithmetic failed."""
        _check_numbers(answer)
        return self._completed(answer.token_ids, answer.finish_reason == "stop", prompt, sampling)

    def _completed(self, written: Sequence[int], ended: bool, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """Return what was ``written`` without the token, or the text, that ended it."""
        ids = list(written)
        if ids[-1] in self._stop_ids:
            ids.pop()
        text, reasoning = self._chat.split(prompt, ids)
        if (cut := sampling.stop_in(text)) is not None:
            text, ended = text[:cut], True
        return Completion(text, "stop" if ended else "length", len(prompt), len(ids), reasoning)

    def _check_length(self, tokens: int, more: int) -> None:
        if tokens + more > self._context:
            raise RequestTooLong(
                f"the chat holds {tokens} tokens and up to {more} more to write; the model's context is {self._context}"
            )

    @contextmanager
    def _counted(self, number: str) -> Iterator[None]:
        """Keep the requests that are under way, and count the time in which there is one."""
        if not self._under_way:
            self._since = time.perf_counter()
        self._under_way.add(number)
        try:
            yield
        finally:
            self._under_way.remove(number)
            if not self._under_way:
                self.usage.seconds_busy += time.perf_counter() - self._since


def _check_numbers(answer: CompletionOutput) -> None:
    if math.isnan(answer.cumulative_logprob):
        raise EngineError("the model's arithmetic failed: its logits are not numbers")
