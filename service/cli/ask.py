"""``cai critique`` and ``cai compare``: one prompt, no files; every record is printed."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from base.errors import InputError
from service.cli.given.config import ConfigFile
from service.cli.given.options import (
    INPUT,
    JUDGING,
    SAMPLING,
    Json,
    JudgePrinciples,
    JudgeSpec,
    Principles,
    Seed,
    TieBand,
    principles_count,
)
from service.cli.given.roots import Root
from service.cli.shown.display import print_chain, print_comparison

if TYPE_CHECKING:
    from constitution import Constitution
    from critic.engine import Engine
    from critic.records import Prompt, Record, Row

T = TypeVar("T")

PromptText = Annotated[
    str,
    typer.Option("--prompt", help="The user's message; - reads it from standard input.", rich_help_panel=INPUT),
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.", rich_help_panel=SAMPLING)]


def critique(
    principles: Principles,
    prompt_text: PromptText,
    response: Annotated[
        str | None, typer.Option(help="The response to work on; the judge writes one if none.", rich_help_panel=INPUT)
    ] = None,
    judge: JudgeSpec = "embedded",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of critique and revision.", rich_help_panel=SAMPLING)] = 1,
    principle: Annotated[
        str | None, typer.Option(help="The id of the principle; otherwise one is drawn a round.", rich_help_panel=INPUT)
    ] = None,
    max_tokens: MaxTokens = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.", rich_help_panel=SAMPLING)] = 0.0,
    seed: Seed = 0,
    root: Root = None,
    as_json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Critique a response, and revise it."""
    from constitution import load
    from critic.asking import critiqued, drawn
    from critic.engine import Sampling

    constitution, prompt = load(principles), _prompt(prompt_text)
    chosen = drawn(constitution, prompt, rounds, seed, principle)
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
    chain = _with_engine(judge, lambda engine: critiqued(engine, prompt, response, chosen, sampling, seed))
    if as_json:
        _print_json(chain, constitution)
    else:
        print_chain(prompt, chain)


def compare(
    principles: Principles,
    prompt_text: PromptText,
    response: Annotated[
        list[str], typer.Option(help="A response to compare; give it twice or more.", rich_help_panel=INPUT)
    ],
    judge: JudgeSpec = "embedded",
    mode: Annotated[
        str | None,
        typer.Option(
            help="The judge mode, with options as in cot?samples=4. Default: by engine.", rich_help_panel=JUDGING
        ),
    ] = None,
    judge_principles: JudgePrinciples = "all",
    tie_band: TieBand = 0.02,
    seed: Seed = 0,
    root: Root = None,
    as_json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Say which of two or more responses is better, principle by principle."""
    from constitution import load
    from critic.asking import compared
    from critic.engines import parse_spec
    from critic.judging import mode_of

    if len(response) < 2:
        raise InputError("there is one response", where="--response", fix="Give --response twice or more.")
    constitution, prompt = load(principles), _prompt(prompt_text)
    how, count = mode_of(mode, parse_spec(judge)), principles_count(judge_principles)

    async def ask(engine: "Engine") -> "Row":
        return await compared(
            engine, how, constitution, prompt, response, judge_principles=count, tie_band=tie_band, seed=seed
        )

    row = _with_engine(judge, ask)
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
