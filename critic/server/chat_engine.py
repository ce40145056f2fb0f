"""An engine whose model is behind a chat server.

The server tokenises, so four things differ from the engines in this process. Parts of one turn are one text, not
tokenised apart. Contents are defused as text: see `critic.server.defuse`. ``seed`` is passed on, but how far a server
keeps to it is its own affair. And choices are read off the likeliest tokens (20, or as many as the server gives), where
one that is not among them counts as likely as the least that is, which it is at most; only vLLM can be asked for a
choice's own token, however unlikely it is. Prefixes are computed once where the server caches them (vLLM, SGLang).

How each server wants to be asked is learnt: see `critic.server.manners`. What the model thought is told apart from its
answer. Where it thinks, limits leave room for that, so that they are limits of the answer.

What can't be known from outside: the weights. The identity holds what a server tells of its model and keeps over
restarts (name, root, parent); hosted models change behind their names, and so do weights behind a path. Where a server
says who answered, one start takes the answers of one model only.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

from base.digest import digest
from critic.engine import (
    Choices,
    Completion,
    EngineError,
    HeldBack,
    Identity,
    Lane,
    Node,
    Request,
    RequestTooLong,
    Score,
    Signature,
    Unavailable,
    Usage,
    reads,
)
from critic.records import Message
from critic.server import survey
from critic.server.chat_reply import Choice, Reply, Tokens
from critic.server.chat_server import ChatServer, NotOffered
from critic.server.defuse import defuse
from critic.server.manners import MOST_LISTED
from critic.server.served import ServedEngine

# llama.cpp's seeds have 32 bits; a seed in 31 is one number everywhere.
_SEEDS = 2**31
# vLLM takes what a request leaves open from the model's generation_config.json: said out loud, nothing is left open.
_VLLM_PLAIN: dict[str, object] = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
# vLLM's and SGLang's words; llama.cpp continues without being asked.
_CONTINUE: dict[str, object] = {"continue_final_message": True, "add_generation_prompt": False}


class ChatEngine(ServedEngine):
    """See the module's docstring, and `critic.engine.Engine` for the verbs."""

    whole_trees = False

    def __init__(self, server: ChatServer, known: survey.KnownServer, usage: Usage, must_count: bool) -> None:
        card = known.card
        identity = Identity(card.id, digest(["openai", card.id, card.root, card.parent]), known.settings())
        super().__init__(server, identity, known.capabilities, usage, must_count)
        self._known = known
        self._is_vllm = card.owned_by == "vllm"

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
        if sampling.stop and self.capabilities.get(survey.THINKS) != survey.YES:
            body["stop"] = list(sampling.stop)  # of a model that thinks it would end the thoughts, too
        if request.json_schema is not None:
            body |= self._form(request.json_schema)
        manners, room = self._known.manners, self._known.manners.room
        done = await self._written(body, sampling.max_tokens)
        if not room and _is_eaten(done):
            manners.make_room(self._known.card.max_model_len)
            self.usage.room = manners.room
            self.capabilities.update({survey.THINKS: survey.YES} | manners.told())
            done = await self._written(body, sampling.max_tokens)
        if "stop" in body and done.reasoning is not None and not done.text:
            del body["stop"]
            done = await self._written(body, sampling.max_tokens)
        if request.json_schema is not None:
            self._check_form(done)
        cut = sampling.stop_in(done.text)
        return done if cut is None else replace(done, text=done.text[:cut], finish="stop")

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

    async def _read(self, path: tuple[Message, ...], read: Choices) -> Score:
        # At temperature 1 and top_p 1 a server that reports log-probabilities after scaling says the same as one that
        # reports them before; at 0 the former would put everything on one token. Which token is drawn doesn't matter,
        # so there is no seed.
        body = self._chat(path) | {"temperature": 1.0, "top_p": 1.0, "logprobs": True, "top_logprobs": MOST_LISTED}
        names, ids = list(read.texts), [self._known.ids.get(text) for text in read.texts]
        if None not in ids:
            names = [f"token_id:{number}" for number in ids]
            body |= {"logprob_token_ids": ids, "return_tokens_as_token_ids": True}
        choice = (await self._ask(body, 1)).choice
        _check_ending(choice)
        content = choice.logprobs.content if choice.logprobs else None
        if content is None or (content and not content[0].top_logprobs):
            if self.capabilities[survey.LOGPROBS] == survey.UNKNOWN:
                raise _no_logprobs()
            raise Unavailable("the server's answer lacks the log-probabilities that it gave before")
        listed = f"top {self._known.manners.top}"
        self.capabilities[survey.LOGPROBS] = listed if None in ids else survey.BY_TOKEN_ID
        if not content:  # without a token the model ended its turn at once, and nothing can be read
            return Score((math.nan,) * len(names), 0, 0.0)
        values, mass = content[0].read(names)
        return Score(values, 0, None if math.isnan(mass) else mass)

    async def _written(self, body: dict[str, object], limit: int) -> Completion:
        """Ask for an answer of at most ``limit`` tokens, beside what the model may think."""
        room = self._known.manners.room
        try:
            reply = await self._ask(body, limit + room)
        except RequestTooLong:  # it may be the room that is too much
            if not room:
                raise
            room, reply = 0, await self._ask(body, limit)
        return self._completion(reply, limit, limit + room)

    def _completion(self, reply: Reply, limit: int, most: int) -> Completion:
        """Return what was written, and how it ended: ``most`` tokens were let, and ``limit`` of them for the answer.

        Raises `EngineError` where it is no answer.
        """
        choice, usage = reply.choice, reply.usage or Tokens()
        _check_ending(choice)
        text, reasoning = choice.message.split()
        is_cut = choice.ending == "length" or (choice.ending == "untold" and usage.completion_tokens >= most)
        if choice.ending == "untold":
            self.capabilities[survey.FINISH] = survey.NO_FINISH
        if text is None and not is_cut:
            if choice.message.refusal:
                raise HeldBack(f"the server's answer holds no text: it refused: {choice.message.refusal}")
            if reasoning is None:
                raise EngineError("the server's answer holds no text: its content is null")
        if reasoning is not None or usage.thought:
            self.capabilities[survey.THINKS] = survey.YES
        # Where the server counts thoughts apart from the answer, the limit is the answer's.
        is_long = usage.thought > 0 and usage.completion_tokens - usage.thought > limit
        ending: Literal["stop", "length"] = "length" if is_cut or is_long else "stop"
        return Completion(text or "", ending, usage.prompt_tokens, usage.completion_tokens, reasoning)

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
        turns = self._known.manners.turns(messages)
        if not turns:
            raise EngineError("there is nothing to answer: the chat has no message")
        body: dict[str, object] = {
            "model": self._known.card.id,
            "messages": [_defused(turn) for turn in turns],
        }
        if self._known.template:
            body["chat_template_kwargs"] = dict(self._known.template)
        if self._is_vllm:
            body |= _VLLM_PLAIN
        if turns[-1]["role"] == "assistant":
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
        """Send one request, as the server takes it: what it refuses is learnt, and asked in another way."""
        manners = self._known.manners
        with self._timed():
            while True:
                sent = manners.adapted(body, max_tokens)
                try:
                    reply = await self._server.ask(sent)
                    break
                except NotOffered as error:
                    if error.fault is not None:
                        manners.learn(error.fault, sent)
                    if manners.adapted(body, max_tokens) == sent or not manners.top:
                        raise
                    self.capabilities.update(manners.told())
        used = reply.usage
        self._count((used.prompt_tokens, used.completion_tokens) if used else None)
        self._check_model(reply.model)
        return reply


def _is_eaten(done: Completion) -> bool:
    """Whether the limit was reached before there was any answer, so that thoughts took it all, seen or not.

    A model that writes nothing but white space does not think: that is its answer.
    """
    return done.finish == "length" and not done.text


def _check_ending(choice: Choice) -> None:
    """Raise where an answer did not end as one does: its end is called `stop` or `length`, in any server's words."""
    said = f"the server ended the answer with the finish reason {choice.finish_reason!r}"
    signature = Signature("finish reason", code=choice.finish_reason or "")
    match choice.ending:
        case "filtered":
            raise HeldBack(f"{said}: a filter held it back")
        case "tools":
            raise EngineError(f"{said}: the model called a tool in place of answering", signature)
        case "failed":
            raise Unavailable(said, signature=signature)
        case "unknown":
            raise EngineError(said, signature)
        case "stop" | "length" | "untold":
            pass


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


def _defused(value: Any) -> Any:
    """Return JSON with every text in it defused, those in calls of tools too; names of fields stay."""
    if isinstance(value, str):
        return defuse(value)
    if isinstance(value, list):
        return [_defused(item) for item in value]
    return {key: _defused(item) for key, item in value.items()} if isinstance(value, dict) else value
