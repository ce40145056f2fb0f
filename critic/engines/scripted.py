"""A deterministic engine without a model: rules, a queue, and failures on purpose. For tests and for trying a set-up.

The script is YAML, every key optional::

    replies:                      # the first rule whose regular expression is found in the last message answers
      - match: "(?i)which answer"
        reply: "It should be kinder."
      - reply: "Answer {seed}"    # no match: always; {seed} and {last} (the last message) are filled in
    queue: ["first answer"]       # answers given before any rule, in order, each once
    choose: hash                  # a choice's log-probability, a decision's too: hash | first | longest (choice)
    likelihood: hash              # of a text: hash | short | long (which is likelier); a reward, too
    fail: {every: 10, how: raise} # each tenth call: raise | empty | nan | repeat (the previous answer again)
    varies: the time of day       # what its answers are said to vary by, so that a share is asked twice
    latency: 0.01                 # seconds a call
    log: calls.log                # one line a call, with its answer: how tests count them

It is never chosen silently: a run that uses it says so in its manifest.
"""

import asyncio
import math
import os
import re
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from base.digest import canonical_json, digest, unit_interval
from base.errors import InputError
from critic.chats.reasoning import split
from critic.engine import (
    Choices,
    Completion,
    Decision,
    EngineError,
    Identity,
    Lane,
    Node,
    Read,
    Request,
    Reward,
    Score,
    Usage,
    reads,
)
from critic.engine_kinds.capabilities import VARIES
from critic.engine_kinds.kind import EngineKind
from critic.engine_kinds.options import check_known
from critic.records import Message


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedRule(_Strict):
    """Answer ``reply`` where ``match`` is found in the last message."""

    reply: str
    match: str = ""


class Failure(_Strict):
    """Fail each ``every``-th call in the way ``how``."""

    every: Annotated[int, Field(ge=1)]
    how: Literal["raise", "empty", "nan", "repeat"]


class Script(_Strict):
    """A script file; see the module's docstring."""

    replies: tuple[ScriptedRule, ...] = (ScriptedRule(reply="Answer {seed}"),)
    queue: tuple[str, ...] = ()
    choose: Literal["hash", "first", "longest"] = "hash"
    likelihood: Literal["hash", "short", "long"] = "hash"
    fail: Failure | None = None
    varies: str | None = None
    latency: Annotated[float, Field(ge=0)] = 0.0
    log: str | None = None


class ScriptedEngine:
    """An `Engine` that follows a `Script`."""

    whole_trees = True
    capabilities: Mapping[str, str] = MappingProxyType({})

    def __init__(self, script: Script, name: str = "scripted") -> None:
        self.script = script
        answers = script.model_dump(mode="json", exclude={"latency", "log", "varies"})
        self.identity = Identity(name, digest(answers))
        self.usage = Usage()
        if script.varies is not None:
            self.capabilities = {VARIES: script.varies}
        self._rules = [(re.compile(rule.match), rule.reply) for rule in script.replies]
        self._queue = deque(script.queue)
        self._last = ""
        self._file = os.open(script.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if script.log else None

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """Answer from the queue, else by the first rule that matches."""
        failure = await self._call()
        if failure == "empty":
            text = ""
        elif failure == "repeat":
            text = self._last
        else:
            text = self._answer(request)
        self._last = text
        self._log([text, "stop"])
        answer, reasoning = split(text)
        read = sum(len(m.content) // 4 for m in request.messages)
        return Completion(answer, "stop", read, len(text) // 4, reasoning)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """Read every node by the script's ``choose`` and ``likelihood``; each read is a call."""
        return tuple([await self._read(path, read, own) for path, read, own in reads(tree)])

    async def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def _read(self, path: tuple[Message, ...], read: Read, own: tuple[Message, ...]) -> Score:
        failure = await self._call()
        chat = [[m.role, m.content] for m in path]
        if isinstance(read, Choices):
            values, tokens = self._choice_logprobs(chat, read.texts), 1
        elif isinstance(read, Decision):
            names = tuple(option.name for option in read.options) or ("true", "false")
            values, tokens = self._choice_logprobs([*chat, [read.type, read.instructions]], names), 0
        else:
            text = "".join(m.content for m in own)
            tokens = max(1, len(text) // 4)
            mean = self._mean_logprob(chat, text)
            values = (mean if isinstance(read, Reward) else tokens * mean,)
        self._log(list(values))
        return Score(tuple(math.nan for _ in values) if failure == "nan" else values, tokens)

    def _answer(self, request: Request) -> str:
        if self._queue:
            return self._queue.popleft()
        last = request.messages[-1].content
        for pattern, reply in self._rules:
            if pattern.search(last):
                return reply.replace("{seed}", str(request.seed)).replace("{last}", last)
        raise EngineError(f"no rule of the script matches the message {last[:80]!r}")

    def _choice_logprobs(self, chat: list[list[str]], choices: tuple[str, ...]) -> tuple[float, ...]:
        weigh: dict[str, Callable[[int, str], float]] = {
            "hash": lambda i, choice: unit_interval("choice", chat, choice),
            "first": lambda i, choice: 0.9 if i == 0 else 0.1,
            "longest": lambda i, choice: float(len(choice)),
        }
        weights = [weigh[self.script.choose](i, choice) for i, choice in enumerate(choices)]
        return tuple(math.log(weight / sum(weights)) for weight in weights)

    def _mean_logprob(self, chat: list[list[str]], text: str) -> float:
        match self.script.likelihood:
            case "short":
                return -len(text) / 100
            case "long":
                return -1 / (1 + len(text))
            case _:
                return -unit_interval("likelihood", chat)

    async def _call(self) -> str | None:
        """Count the call, wait the latency, and say how it must fail, if it must."""
        self.usage.calls += 1
        number = self.usage.calls
        if self.script.latency:
            await asyncio.sleep(self.script.latency)
        fail = self.script.fail
        if fail is None or number % fail.every:
            return None
        if fail.how == "raise":
            self._log(None)
            raise EngineError(f"scripted failure at call {number}")
        return fail.how

    def _log(self, answer: list[object] | None) -> None:
        if self._file is not None:
            os.write(self._file, f"{canonical_json(answer)}\n".encode())


def read_script(target: str, options: dict[str, str]) -> Script:
    """Read the script file ``target``, without opening its log. There are no options. Raises `InputError`."""
    _check(target, options)
    try:
        script = Script.model_validate(yaml.safe_load(Path(target).read_text(encoding="utf-8")) or {})
        for rule in script.replies:
            re.compile(rule.match)
    except OSError as error:
        raise InputError(f"the script can't be read: {error.strerror}", where=target) from None
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError, re.error) as error:
        raise InputError(f"the script is not valid: {error}", where=target) from None
    return script


def open_engine(target: str, options: dict[str, str]) -> ScriptedEngine:
    """Open the engine of the script file ``target``."""
    script = read_script(target, options)
    try:
        return ScriptedEngine(script, name=f"scripted:{Path(target).name}")
    except OSError as error:
        raise InputError(f"its log can't be written: {error.strerror}", where=target) from None


def _check(target: str, options: dict[str, str]) -> None:
    check_known(options, (), f"scripted:{target}")


ENGINE = EngineKind(
    name="scripted",
    open=open_engine,
    check=_check,
    expect_here=read_script,
    expect_there=read_script,
    target="FILE",
)
