"""The `openai` engine: any OpenAI-compatible chat server as policy or judge (vLLM, SGLang, llama.cpp, Ollama, hosted).

Spec: ``openai:MODEL@URL?key_env=NAME&concurrency=64&timeout=120``. MODEL is a name that the server lists, and may
hold slashes; URL is the server's base, such as ``http://127.0.0.1:8000/v1``. Without ``@URL`` it is the `openai`
library's default server: ``OPENAI_BASE_URL``, else the hosted one. The API key comes from the environment variable
``key_env`` (default ``OPENAI_API_KEY``), and a server that asks for none needs none.

The server tokenises, so four things differ from the engines in this process. Parts of one turn are one text, not
tokenised apart. Contents are defused as text: see `critic.engines.defuse`. ``seed`` is passed on, but how far a server
keeps to it is its own affair. And choices are read off the 20 likeliest tokens, where one that is not among them counts
as impossible; only vLLM can be asked for a choice's own token, however unlikely it is.

Prefixes are computed once where the server caches them (vLLM, SGLang): the reads of a tree are sent depth first,
siblings one after the other. vLLM on CPUs dies of a prompt with a seed that it computes in several pieces: start it
with ``--no-enable-chunked-prefill``, and with ``--max-num-batched-tokens`` of at least its context.

What can't be known from outside: the weights. The identity holds what a server tells of its model and keeps over
restarts (name, root, parent); hosted models change behind their names, and so do weights behind a path. Ollama cuts
prompts that are too long without a word: give it a large enough ``num_ctx``.
"""

import asyncio
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from urllib.parse import urlsplit

from constitution.digest import digest
from constitution.errors import InputError
from critic.engines.base import Choices, Completion, EngineError, Identity, Lane, Node, Request, Score, Usage, reads
from critic.engines.chat_server import Address, ChatServer, Choice, Position, Reply, Tokens
from critic.engines.defuse import defuse
from critic.records import Message

_OPTIONS = ("concurrency", "key_env", "timeout")
_KEY_ENV = "OPENAI_API_KEY"
_TOP = 20  # the most that vLLM (by default) and the hosted API give
# Servers write -inf as this, since JSON has no infinity.
_NO_LOGPROB = -9999.0
# llama.cpp's seeds have 32 bits; a seed in 31 is one number everywhere.
_SEEDS = 2**31
# vLLM takes what a request leaves open from the model's generation_config.json: said out loud, nothing is left open.
_VLLM_PLAIN: dict[str, object] = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
_VLLM_CONTINUE: dict[str, object] = {"continue_final_message": True, "add_generation_prompt": False}


class OpenAIEngine:
    """See the module's docstring, and `critic.engines.base.Engine` for the verbs. For one event loop."""

    whole_trees = False

    def __init__(self, server: ChatServer, model: str, concurrency: int) -> None:
        card = server.card
        self.identity = Identity(model, digest(["openai", card.id, card.root, card.parent]))
        self.usage = Usage()
        self._server, self._model = server, model
        self._is_vllm = card.owned_by == "vllm"
        self.capabilities: dict[str, str] = {}
        # The interactive lane doesn't queue behind the batch lane on this side.
        self._slots: dict[Lane, asyncio.Semaphore] = {
            "batch": asyncio.Semaphore(concurrency),
            "interactive": asyncio.Semaphore(concurrency),
        }
        self._ids: dict[str, int | None] = {}
        self._limit = "max_tokens"
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
        if self._is_vllm:
            body |= _VLLM_PLAIN
        reply = await self._ask(body, sampling.max_tokens, lane)
        choice, usage = _only(reply), reply.usage or Tokens()
        text = choice.message.content
        if text is None:
            why = f"it refused: {choice.message.refusal}" if choice.message.refusal else "its content is null"
            raise EngineError(f"the server's answer holds no text: {why}")
        return Completion(
            text,
            "length" if choice.finish_reason == "length" else "stop",
            usage.prompt_tokens,
            usage.completion_tokens,
        )

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read choices off a tree, one request a read. A chat server can't read a given text's likelihood."""
        wanted: list[tuple[tuple[Message, ...], Choices]] = []
        for path, read, _ in reads(tree):
            if not isinstance(read, Choices):
                raise EngineError("a chat server can't tell how likely a given text is; use the judge mode logprob")
            wanted.append((path, read))
        if self._is_vllm:
            await self._look_up({text for _, read in wanted for text in read.texts})
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read(path, read, lane)) for path, read in wanted]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return tuple(task.result() for task in tasks)

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    async def _read(self, path: tuple[Message, ...], read: Choices, lane: Lane) -> Score:
        # At temperature 1 and top_p 1 a server that reports log-probabilities after scaling says the same as one that
        # reports them before; at 0 the former would put everything on one token. Which token is drawn doesn't matter,
        # so there is no seed.
        body = self._chat(path) | {"temperature": 1.0, "top_p": 1.0, "logprobs": True, "top_logprobs": _TOP}
        if self._is_vllm:
            body |= _VLLM_PLAIN
        names, ids = list(read.texts), [self._ids.get(text) for text in read.texts]
        if None not in ids:
            names = [f"token_id:{number}" for number in ids]
            body |= {"logprob_token_ids": ids, "return_tokens_as_token_ids": True}
        choice = _only(await self._ask(body, 1, lane))
        content = choice.logprobs.content if choice.logprobs else None
        if content is None or (content and not content[0].top_logprobs):
            raise EngineError(
                "this server offers no log-probabilities (logprobs, top_logprobs), which the judge mode logprob reads; "
                "use a server that offers them, such as vLLM, SGLang or llama.cpp"
            )
        # Content without a token: the model ended its turn at once, and nothing can be read.
        return Score(tuple(logprob(name, content[0]) if content else -math.inf for name in names), 0)

    async def _look_up(self, texts: set[str]) -> None:
        """Ask vLLM for the choices' ids, once; behind a gateway that hides them the likeliest tokens must do."""
        for text in sorted(texts - self._ids.keys()):
            ids = await self._server.tokenize(text)
            if ids is not None and len(ids) != 1:
                raise EngineError(
                    f"the choice {text!r} is {len(ids)} tokens in this model's vocabulary; it must be one"
                )
            self._ids[text] = ids[0] if ids else None

    def _chat(self, messages: Iterable[Message]) -> dict[str, object]:
        """Return the part of a request that says what is asked: parts of one turn joined, and defused."""
        turns = [(role, "".join(m.content for m in parts)) for role, parts in groupby(messages, key=lambda m: m.role)]
        if not turns:
            raise EngineError("there is nothing to answer: the chat has no message")
        body: dict[str, object] = {
            "model": self._model,
            "messages": [{"role": role, "content": defuse(text)} for role, text in turns],
        }
        if turns[-1][0] == "assistant":
            if not self._is_vllm:
                raise EngineError(
                    "the chat ends with the beginning of an answer, and this server is not known to continue one: "
                    "others than vLLM would answer it as if it were whole"
                )
            body |= _VLLM_CONTINUE
        return body

    async def _ask(self, body: dict[str, object], max_tokens: int, lane: Lane) -> Reply:
        """Send one request. The limit's name is learned: only newer hosted models refuse the one all others know."""
        async with self._slots[lane]:
            with self._counted():
                limit = self._limit
                try:
                    reply = await self._server.ask(body | {limit: max_tokens})
                except EngineError as error:
                    if limit != "max_tokens" or "max_completion_tokens" not in str(error):
                        raise
                    self._limit = "max_completion_tokens"
                    reply = await self._server.ask(body | {self._limit: max_tokens})
        self.usage.calls += 1
        if reply.usage:
            self.usage.prompt_tokens += reply.usage.prompt_tokens
            self.usage.completion_tokens += reply.usage.completion_tokens
        return reply

    @contextmanager
    def _counted(self) -> Iterator[None]:
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


def logprob(text: str, position: Position) -> float:
    """Return the log-probability that exactly ``text`` comes next; -inf where it isn't among the likeliest tokens.

    Tokens count whose text is exactly ``text``: ``" A"`` is not ``"A"``, as in every engine. Vocabularies can hold
    several tokens with one text; their probabilities are summed. The token that was drawn counts only where it is
    listed, so that chance plays no part.
    """
    listed = position.top_logprobs or ()
    found = [likely.logprob for likely in listed if likely.token == text and not likely.logprob <= _NO_LOGPROB]
    if not found:
        return -math.inf
    top = max(found)
    return top + math.log(math.fsum(math.exp(value - top) for value in found))


def open_engine(target: str, options: dict[str, str]) -> OpenAIEngine:
    """Find the server and its model; see the module's docstring for target and options.

    Raises `InputError` for an unknown option or value, a server that isn't there or refuses the key, and a model that
    it doesn't serve.
    """
    model, url = _split(target)
    where = f"openai:{model}"
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise InputError(f"unknown option {unknown[0]!r}", where=where, fix=f"Known options: {', '.join(_OPTIONS)}")
    concurrency, timeout = (
        _whole(options, key, default, where) for key, default in (("concurrency", 64), ("timeout", 120))
    )
    key_env = options.get("key_env", _KEY_ENV)
    key = os.environ.get(key_env, "").strip()
    if "key_env" in options and not key:
        raise InputError(f"the environment variable {key_env} is not set", where=where, fix="Set it to the API key.")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the environment variable {key_env} holds no API key", where=where, fix="Set it to the key.")
    return OpenAIEngine(ChatServer(Address(url, key_env, timeout, key), model), model, concurrency)


def _only(reply: Reply) -> Choice:
    """Return the reply's answer, if there is one that ended as an answer does."""
    if not reply.choices:
        raise EngineError("the server answered without a choice")
    choice = reply.choices[0]
    if choice.finish_reason not in ("stop", "length"):
        raise EngineError(f"the server ended the answer with the finish reason {choice.finish_reason!r}")
    return choice


def _split(target: str) -> tuple[str, str | None]:
    """Split ``MODEL@URL``. A model's name may hold an ``@`` itself where a URL follows."""
    at = max(target.rfind("@http://"), target.rfind("@https://"))
    model, url = (target[:at], target[at + 1 :]) if at >= 0 else (target, None)
    form = "Write openai:MODEL@URL, as in openai:my-model@http://127.0.0.1:8000/v1"
    if not model or (url is None and "@" in model):
        raise InputError("the spec is not of the engine's form", where="openai:", fix=form)
    if url is None:
        return model, None
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        valid = False
    if not valid:
        raise InputError("the spec's URL is not valid", where=f"openai:{model}", fix=form)
    if "@" in parts.netloc:
        raise InputError(
            "the URL holds a user name or a password, which would end up in logs",
            where=f"openai:{model}",
            fix="Put the key in an environment variable, and name that with ?key_env=NAME",
        )
    return model, url


def _whole(options: dict[str, str], key: str, default: int, where: str) -> int:
    text = options.get(key, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{key}={text} is not a whole number above 0", where=where)
    return int(text)
