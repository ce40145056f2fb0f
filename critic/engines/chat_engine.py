"""An engine whose model is behind a chat server.

The server tokenises, so four things differ from the engines in this process. Parts of one turn are one text, not
tokenised apart. Contents are defused as text: see `critic.engines.defuse`. ``seed`` is passed on, but how far a server
keeps to it is its own affair. And choices are read off the 20 likeliest tokens, where one that is not among them counts
as impossible; only vLLM can be asked for a choice's own token, however unlikely it is. Prefixes are computed once where
the server caches them (vLLM, SGLang).

What can't be known from outside: the weights. The identity holds what a server tells of its model and keeps over
restarts (name, root, parent); hosted models change behind their names, and so do weights behind a path. Where a server
says who answered, one start takes the answers of one model only.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby

from constitution.digest import digest
from critic.engines import survey
from critic.engines.base import (
    Choices,
    Completion,
    EngineError,
    Identity,
    Lane,
    Node,
    Request,
    Score,
    Unavailable,
    Usage,
    reads,
)
from critic.engines.chat_reply import Choice, Reply
from critic.engines.chat_server import ChatServer, NotOffered
from critic.engines.defuse import defuse
from critic.records import Message

_TOP = 20  # the most that vLLM (by default) and the hosted API give
# llama.cpp's seeds have 32 bits; a seed in 31 is one number everywhere.
_SEEDS = 2**31
# vLLM takes what a request leaves open from the model's generation_config.json: said out loud, nothing is left open.
_VLLM_PLAIN: dict[str, object] = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
# vLLM's and SGLang's words; llama.cpp continues without being asked.
_CONTINUE: dict[str, object] = {"continue_final_message": True, "add_generation_prompt": False}


class ChatEngine:
    """See the module's docstring, and `critic.engines.base.Engine` for the verbs. For one event loop.

    ``must_count`` makes an answer without token counts an error. Retries, rates and limits come around it.
    """

    whole_trees = False

    def __init__(self, server: ChatServer, known: survey.Known, usage: Usage, must_count: bool) -> None:
        card = known.card
        self.identity = Identity(card.id, digest(["openai", card.id, card.root, card.parent]))
        self.usage = usage
        self.capabilities = known.capabilities
        self._server, self._known, self._must_count = server, known, must_count
        self._is_vllm = card.owned_by == "vllm"
        self._busy, self._since = 0, 0.0

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Answer one chat. An answer that ended otherwise than by ``stop`` or ``length`` is an `EngineError`."""
        sampling = request.sampling
        if sampling.max_tokens < 1:
            raise EngineError("max_tokens must be at least 1")
        body = self._chat(request.messages) | {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": request.seed % _SEEDS,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if request.json_schema is not None:
            body |= self._form(request.json_schema)
        reply = await self._ask(body, sampling.max_tokens)
        choice, usage = _ended(reply), reply.usage
        text = choice.message.content
        if text is None:
            why = f"it refused: {choice.message.refusal}" if choice.message.refusal else "its content is null"
            raise EngineError(f"the server's answer holds no text: {why}")
        done = Completion(
            text,
            "length" if choice.finish_reason == "length" else "stop",
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
        )
        if request.json_schema is not None:
            self._check_form(done)
        return done

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read choices off a tree, one request after the other. A chat server can't read a given text's likelihood."""
        wanted: list[tuple[tuple[Message, ...], Choices]] = []
        for path, read, _ in reads(tree):
            if not isinstance(read, Choices):
                raise EngineError("a chat server can't tell how likely a given text is; use the judge mode logprob")
            wanted.append((path, read))
        if self.capabilities[survey.LOGPROBS] == survey.NONE:
            raise _no_logprobs()
        if self._is_vllm:
            await self._look_up({text for _, read in wanted for text in read.texts})
        return tuple([await self._read(path, read) for path, read in wanted])

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    async def _read(self, path: tuple[Message, ...], read: Choices) -> Score:
        # At temperature 1 and top_p 1 a server that reports log-probabilities after scaling says the same as one that
        # reports them before; at 0 the former would put everything on one token. Which token is drawn doesn't matter,
        # so there is no seed.
        body = self._chat(path) | {"temperature": 1.0, "top_p": 1.0, "logprobs": True, "top_logprobs": _TOP}
        names, ids = list(read.texts), [self._known.ids.get(text) for text in read.texts]
        if None not in ids:
            names = [f"token_id:{number}" for number in ids]
            body |= {"logprob_token_ids": ids, "return_tokens_as_token_ids": True}
        choice = _ended(await self._ask(body, 1))
        content = choice.logprobs.content if choice.logprobs else None
        if content is None or (content and not content[0].top_logprobs):
            if self.capabilities[survey.LOGPROBS] == survey.UNKNOWN:
                raise _no_logprobs()
            raise Unavailable("the server's answer lacks the log-probabilities that it gave before")
        self.capabilities[survey.LOGPROBS] = survey.TOP_20 if None in ids else survey.BY_TOKEN_ID
        # Content without a token: the model ended its turn at once, and nothing can be read.
        return Score(tuple(content[0].logprob_of(name) if content else -math.inf for name in names), 0)

    async def _look_up(self, texts: set[str]) -> None:
        """Ask vLLM for the choices' ids, once; behind a gateway that hides them the likeliest tokens must do."""
        for text in sorted(texts - self._known.ids.keys()):
            ids = await self._server.tokenize(text)
            if ids is not None and len(ids) != 1:
                raise EngineError(
                    f"the choice {text!r} is {len(ids)} tokens in this model's vocabulary; it must be one"
                )
            self._known.ids[text] = ids[0] if ids else None

    def _chat(self, messages: Iterable[Message]) -> dict[str, object]:
        """Return the part of a request that says what is asked: parts of one turn joined, and defused."""
        turns = [(role, "".join(m.content for m in parts)) for role, parts in groupby(messages, key=lambda m: m.role)]
        if not turns:
            raise EngineError("there is nothing to answer: the chat has no message")
        body: dict[str, object] = {
            "model": self._known.card.id,
            "messages": [{"role": role, "content": defuse(text)} for role, text in turns],
        }
        if self._is_vllm:
            body |= _VLLM_PLAIN
        if turns[-1][0] == "assistant":
            if self.capabilities[survey.CONTINUED] != survey.YES:
                raise NotOffered(
                    "the chat ends with the beginning of an answer, and this server is not known to continue one: "
                    "it would answer as if that were whole; use one that does, such as vLLM"
                )
            body |= _CONTINUE
        return body

    def _form(self, json_schema: str) -> dict[str, object]:
        """Return the part of a request that holds its answer to a schema."""
        if self.capabilities[survey.STRUCTURED] == survey.NONE:
            raise _no_form()
        schema = {"name": "answer", "schema": json.loads(json_schema), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def _check_form(self, answer: Completion) -> None:
        """Refuse a text from a server that may have overlooked the schema; one that heeds it is trusted."""
        unknown = self.capabilities[survey.STRUCTURED] == survey.UNKNOWN
        if unknown and answer.finish == "stop" and not survey.is_json(answer.text):
            raise _no_form()

    async def _ask(self, body: dict[str, object], max_tokens: int) -> Reply:
        """Send one request. The limit's name is learned: only newer hosted models refuse the one all others know."""
        limit = self._known.limit
        with self._timed():
            try:
                reply = await self._server.ask(body | {limit: max_tokens})
            except NotOffered as error:
                if limit != "max_tokens" or "max_completion_tokens" not in str(error):
                    raise
                self._known.limit = "max_completion_tokens"
                reply = await self._server.ask(body | {self._known.limit: max_tokens})
        self._count(reply)
        self._check_model(reply.model)
        return reply

    def _count(self, reply: Reply) -> None:
        self.usage.calls += 1
        if reply.usage:
            self.usage.prompt_tokens += reply.usage.prompt_tokens
            self.usage.completion_tokens += reply.usage.completion_tokens
        elif self._must_count:
            raise EngineError("the server's answer holds no token counts, which prices and tpm need")

    def _check_model(self, model: str | None) -> None:
        """Whoever answered first must answer always: labels are not bound to a gateway's other model."""
        known = self.capabilities[survey.MODEL]
        if model is not None and known == survey.UNKNOWN:
            self.capabilities[survey.MODEL] = model
        elif model is not None and model != known:
            raise EngineError(f"another model answered: {model!r}, and {known!r} before")

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time in which at least one request is under way."""
        if not self._busy:
            self._since = time.perf_counter()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self.usage.seconds_busy += time.perf_counter() - self._since


def _ended(reply: Reply) -> Choice:
    """Return the reply's answer, if it ended as an answer does."""
    choice = reply.choice
    if choice.finish_reason not in ("stop", "length"):
        raise EngineError(f"the server ended the answer with the finish reason {choice.finish_reason!r}")
    return choice


def _no_logprobs() -> NotOffered:
    return NotOffered(
        "this server offers no log-probabilities (logprobs, top_logprobs), which the judge mode logprob reads; use "
        "--mode verdict, or a server that offers them, such as vLLM, SGLang or llama.cpp"
    )


def _no_form() -> NotOffered:
    return NotOffered(
        "this server does not hold its answers to a JSON schema (response_format), which was asked for; use --mode "
        "logprob where it gives log-probabilities, or a server such as vLLM, SGLang or llama.cpp"
    )
