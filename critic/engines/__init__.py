"""Engines: what answers a chat or reads log-probabilities off it.

A spec names one: ``embedded``, ``hf:PATH_OR_ID``, ``openai:MODEL@URL``, ``rm:PATH_OR_ID`` (a reward model),
``decisions:MODEL@URL`` and ``systemone:MODEL@URL`` (servers of typed decisions), ``scripted:FILE``, ``verify:RULE`` (a
program that checks answers), ``vllm:PATH_OR_ID``; options follow as ``?key=value&key=value``. To add an engine, write
one file here with ``open_engine(target, options) -> Engine`` and ``OPTIONS`` (`critic.engine_options`), and name it in
`REGISTRY`.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Literal
from urllib.parse import parse_qsl

from base.errors import InputError
from base.nearest import nearest
from critic.engine import REASONING_ROOM, Engine

# What an engine gives its callers. Only those that give text write; the others judge, each kind in modes of its own.
Gives = Literal["text", "rewards", "decisions"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of an engine before it is opened.

    ``target`` is what the part after the colon is; None where nothing may follow. ``mode`` is the judge mode that it is
    asked in where nothing else is said. ``room`` is how many tokens it may let a model think beside each limit.
    ``proves`` says that it finds out when it is opened whether its model's branches can be computed together.
    """

    module: str
    target: str | None
    gives: Gives = "text"
    mode: str = "logprob"
    room: int = 0
    proves: bool = False


REGISTRY: dict[str, Kind] = {
    "decisions": Kind("critic.engines.decisions", "MODEL@URL", "decisions", "decision"),
    # A small model's multiple choice says "first".
    "embedded": Kind("critic.engines.embedded", None, mode="contrast"),
    "hf": Kind("critic.engines.hf", "PATH_OR_ID", proves=True),
    "openai": Kind("critic.engines.openai", "MODEL@URL", room=REASONING_ROOM),
    "rm": Kind("critic.engines.rm", "PATH_OR_ID", "rewards", "rm", proves=True),
    "scripted": Kind("critic.engines.scripted", "FILE"),
    "systemone": Kind("critic.engines.systemone", "MODEL@URL", "decisions", "decision"),
    "verify": Kind("critic.engines.verify", "RULE", "rewards", "rm"),
    "vllm": Kind("critic.engines.vllm", "PATH_OR_ID"),
}


# What people call an option that holds a secret. None of ours does.
_SECRET = re.compile(
    r"(?:[a-z]+[-_.])*(?:api[-_]?key|key|token|secret|password|passwd|authorization|bearer)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed engine spec. ``str(spec)`` gives the text back."""

    kind: str
    target: str
    options: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        options = "&".join(f"{key}={value}" for key, value in self.options)
        return self.kind + (f":{self.target}" if self.target else "") + (f"?{options}" if options else "")

    @property
    def gives(self) -> Gives:
        """What its engine gives."""
        return REGISTRY[self.kind].gives

    @property
    def thinks(self) -> bool | None:
        """Whether its model is to think before it answers; None where the spec leaves that open."""
        said = dict(self.options).get("think")
        return None if said is None else said == "true"

    @property
    def room(self) -> int:
        """How many tokens its engine may let a model think beside each limit."""
        return 0 if self.thinks is False else REGISTRY[self.kind].room

    @property
    def writes(self) -> bool:
        """Whether its engine answers chats, critiques and revises; one that doesn't only judges."""
        return self.gives == "text"


def shapes() -> str:
    """Say how specs look, for error messages and help."""
    return ", ".join(name + (f":{kind.target}" if kind.target else "") for name, kind in REGISTRY.items())


def parse_spec(text: str) -> Spec:
    """Parse ``KIND[:TARGET][?key=value&...]``; an `InputError` says what a spec looks like."""
    where = f"engine spec {_without_password(text)!r}"
    head, question, query = text.partition("?")
    kind, _, target = head.partition(":")
    if kind == "verify":  # a rule may hold question marks, and has no options
        target, question = text.removeprefix("verify:"), ""
    if kind not in REGISTRY:
        near = nearest(kind, REGISTRY)
        meant = f"did you mean {near!r}? " if near else ""
        raise InputError(f"there is no engine {kind!r}", where=where, fix=f"{meant}Known specs: {shapes()}")
    wanted = REGISTRY[kind].target
    if bool(target) != (wanted is not None):
        expected = f"{kind}:{wanted}" if wanted else kind
        raise InputError("the spec is not of the engine's form", where=where, fix=f"Write {expected}")
    options = parse_options(query, where) if question else ()
    for key, _ in options:
        if _SECRET.fullmatch(key):
            raise InputError(
                f"a spec must not hold a key: it is shown in reports and logs, and {key} would be in it",
                where=where,
                fix="Put the key into an environment variable, and name that: export MY_KEY=..., then ?key_env=MY_KEY",
            )
    return Spec(kind, target, options)


def parse_options(query: str, where: str) -> tuple[tuple[str, str], ...]:
    """Parse ``key=value&key=value``, what follows the question mark of a spec."""
    try:
        options = tuple(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        raise InputError("options are not of the form key=value", where=where) from None
    if len({key for key, _ in options}) < len(options):
        raise InputError("an option is given twice", where=where)
    return options


def _without_password(text: str) -> str:
    text = re.sub(r"//[^/@]*@", "//***@", text)
    return re.sub(rf"([?&]{_SECRET.pattern}=)[^&]*", r"\1***", text, flags=re.IGNORECASE)


def open_engine(spec: Spec) -> Engine:
    """Open the engine that ``spec`` names. Loading a model can take seconds; `Engine.close` frees it."""
    engine: Engine = import_module(REGISTRY[spec.kind].module).open_engine(spec.target, dict(spec.options))
    return engine
