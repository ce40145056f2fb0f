"""What a command says beside its answer: how far it is, what it did, where its results are. ``--quiet`` silences it."""

from contextvars import ContextVar
from typing import Annotated

import typer

_IS_QUIET: ContextVar[bool] = ContextVar("is_quiet", default=False)


def is_quiet() -> bool:
    """Whether the command was asked to be quiet."""
    return _IS_QUIET.get()


def say(text: str, *, err: bool = False) -> None:
    """Print a line, unless the command was asked to be quiet."""
    if not is_quiet():
        typer.echo(text, err=err)


def _silence(context: typer.Context, quiet: bool) -> bool:
    token = _IS_QUIET.set(quiet)
    context.call_on_close(lambda: _IS_QUIET.reset(token))  # a process may run several commands, as tests do
    return quiet


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print errors, and what --json asks for; nothing else.",
        rich_help_panel="Output",
        callback=_silence,
        expose_value=False,
    ),
]
