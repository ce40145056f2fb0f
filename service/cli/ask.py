"""``cai critique`` and ``cai compare``: one prompt, no files; every record is printed."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import typer

from base.errors import InputError
from critic.settings.asking import CompareSettings, CritiqueSettings
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.shown.display import print_chain, print_comparison

if TYPE_CHECKING:
    from constitution import Constitution
    from critic.engine import Engine
    from critic.records import Prompt, Record, Row

T = TypeVar("T")


@expand
def critique(settings: CritiqueSettings, root: Root = None, as_json: Json = False, config: ConfigFile = None) -> None:
    """Critique a response, and revise it."""
    from constitution import load
    from critic.asking import critiqued, drawn
    from critic.engine import Sampling

    constitution, prompt, seed = load(settings.principles), _prompt(settings.prompt), settings.seed
    chosen = drawn(constitution, prompt, settings.rounds, seed, settings.principle)
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature)
    chain = _with_engine(
        settings.judge, lambda engine: critiqued(engine, prompt, settings.response, chosen, sampling, seed)
    )
    if as_json:
        _print_json(chain, constitution)
    else:
        print_chain(prompt, chain)


@expand
def compare(settings: CompareSettings, root: Root = None, as_json: Json = False, config: ConfigFile = None) -> None:
    """Say which of two or more responses is better, principle by principle."""
    from constitution import load
    from critic.asking import compared
    from critic.engines import parse_spec
    from critic.judging import mode_of

    if len(settings.response) < 2:
        raise InputError("there is one response", where="--response", fix="Give --response twice or more.")
    constitution, prompt = load(settings.principles), _prompt(settings.prompt)
    how = mode_of(settings.mode, parse_spec(settings.judge))

    async def ask(engine: "Engine") -> "Row":
        return await compared(
            engine,
            how,
            constitution,
            prompt,
            settings.response,
            judge_principles=settings.judge_principles,
            pooling=settings.pooling(),
            seed=settings.seed,
        )

    row = _with_engine(settings.judge, ask)
    if as_json:
        _print_json(row, constitution)
    else:
        print_comparison(row, {p.id: p for p in constitution.principles})


def _prompt(text: str) -> "Prompt":
    from pydantic import ValidationError

    from critic.records import Message, Prompt

    try:
        return Prompt(messages=(Message(role="user", content=sys.stdin.read() if text == "-" else text),))
    except ValidationError as error:
        raise InputError(error.errors()[0]["msg"].removeprefix("Value error, "), where="--prompt") from None


def _with_engine(text: str, ask: Callable[["Engine"], Awaitable[T]]) -> T:
    """Open the engine, ask it, and close it; what it can't answer is told as bad input."""
    from critic.engine import EngineError, RunStopped
    from critic.engines import open_engine, parse_spec

    async def whole() -> T:
        engine = open_engine(parse_spec(text))
        try:
            return await ask(engine)
        finally:
            await engine.close()

    try:
        return asyncio.run(whole())
    except (EngineError, RunStopped) as error:
        raise InputError(str(error), where="--judge") from None


def _print_json(record: "Record", constitution: "Constitution") -> None:
    source = {"constitution": constitution.ref, "constitution_hash": constitution.digest}
    typer.echo(json.dumps(source | record.model_dump(mode="json"), indent=2))
