"""Engines: what answers a chat or reads log-probabilities off it.

A spec names one: ``embedded``, ``hf:PATH_OR_ID``, ``openai:MODEL@URL``, ``rm:PATH_OR_ID`` (a reward model),
``decisions:MODEL@URL`` and ``systemone:MODEL@URL`` (servers of typed decisions), ``scripted:FILE``, ``verify:RULE`` (a
program that checks answers), ``vllm:PATH_OR_ID``; options follow as ``?key=value&key=value``. To add an engine, write
one file here that holds an `EngineKind` as ``ENGINE``. What a kind needs to compute is imported when one is opened, so
that a machine without it can name the others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qsl

from base.errors import InputError
from base.extras import told_missing
from base.nearest import perhaps
from base.plugins import by_name, imported
from critic.engine import Engine
from critic.engine_kinds.kind import EngineKind, Gives
from critic.engine_kinds.options import check_known

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
        return kinds()[self.kind].gives

    @property
    def holds_weights(self) -> bool:
        """Whether opening it loads a model onto a device of this machine."""
        return kinds()[self.kind].holds_weights

    @property
    def thinks(self) -> bool | None:
        """Whether its model is to think before it answers; None where the spec leaves that open."""
        said = dict(self.options).get("think")
        return None if said is None else said == "true"

    @property
    def room(self) -> int:
        """How many tokens its engine may let a model think beside each limit."""
        return 0 if self.thinks is False else kinds()[self.kind].room

    @property
    def writes(self) -> bool:
        """Whether its engine answers chats, critiques and revises; one that doesn't only judges."""
        return self.gives == "text"

    @property
    def is_trainable(self) -> bool:
        """Whether it names a model whose weights are on this machine."""
        return kinds()[self.kind].is_trainable


@cache
def kinds() -> dict[str, EngineKind]:
    """Return the kinds of engines there are, by name.

    Raises `InputError` for a file here that holds none, and for two of one name.
    """
    return by_name("an engine", _found())


def _found() -> Iterator[tuple[str, str, EngineKind]]:
    for module in imported(__name__, __path__):
        kind = getattr(module, "ENGINE", None)
        if not isinstance(kind, EngineKind):
            raise InputError("it holds no engine", where=module.__name__, fix="ENGINE = EngineKind(...) is expected")
        yield kind.name, module.__name__, kind


def shapes(*, trainable: bool = False) -> str:
    """Say how specs look, for error messages and help: all, or those of ``trainable`` models."""
    known = [kind for kind in kinds().values() if kind.is_trainable or not trainable]
    return ", ".join(kind.name + (f":{kind.target}" if kind.target else "") for kind in known)


def parse_spec(text: str) -> Spec:
    """Parse ``KIND[:TARGET][?key=value&...]``; an `InputError` says what a spec looks like."""
    where = f"engine spec {_without_password(text)!r}"
    head, question, query = text.partition("?")
    kind, _, target = head.partition(":")
    if kind not in kinds():
        fix = f"{perhaps(kind, kinds())}Known specs: {shapes()}"
        raise InputError(f"there is no engine {kind!r}", where=where, fix=fix)
    if kinds()[kind].is_text:
        target, question = text.partition(":")[2], ""
    wanted = kinds()[kind].target
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


def check_spec(spec: Spec) -> None:
    """Raise `InputError` for an engine that can't be opened, as far as its spec says so: for dry runs, and at once."""
    kind = kinds()[spec.kind]
    if kind.options:
        check_known(dict(spec.options), kind.options, f"{spec.kind}:{spec.target}" if spec.target else spec.kind)
    if kind.check is not None:
        kind.check(spec.target, dict(spec.options))


def expect(spec: Spec, *, there: bool = True) -> None:
    """Raise `InputError` where what an engine needs is missing: a script, a model's files, a package, a server.

    It takes seconds, where opening the engines before it may take minutes. Unless ``there``, only this machine counts:
    for dry runs.
    """
    kind = kinds()[spec.kind]
    look = kind.expect_there if there else kind.expect_here
    if look is not None:
        look(spec.target, dict(spec.options))


def open_engine(spec: Spec) -> Engine:
    """Open the engine that ``spec`` names. Loading a model can take seconds; `Engine.close` frees it."""
    with told_missing(str(spec)):
        return kinds()[spec.kind].open(spec.target, dict(spec.options))
