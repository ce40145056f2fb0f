"""One prompt that is asked of an engine, from the command line."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer
from pydantic import ValidationError

from base.errors import InputError
from constitution import Constitution
from critic.engine import Engine, EngineError, RunStopped
from critic.engines import open_engine, parse_spec
from critic.records import Message, Prompt, Record

T = TypeVar("T")


def prompt_of(text: str) -> Prompt:
    """Return a prompt of one message. Raises `InputError`."""
    try:
        return Prompt(messages=(Message(role="user", content=sys.stdin.read() if text == "-" else text),))
    except ValidationError as error:
        raise InputError(error.errors()[0]["msg"].removeprefix("Value error, "), where="--prompt") from None


def with_engine(text: str, ask: Callable[[Engine], Awaitable[T]]) -> T:
    """Open the engine, ask it, and close it; what it can't answer is told as bad input."""

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


def print_record(record: Record, constitution: Constitution) -> None:
    """Print a record as JSON, with the constitution that it was made under."""
    source = {"constitution": constitution.ref, "constitution_hash": constitution.digest}
    typer.echo(json.dumps(source | record.model_dump(mode="json"), indent=2))
