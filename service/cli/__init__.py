"""The command ``cai``: one file a command group. Nothing heavy is imported before a command needs it."""

import errno
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Annotated

import typer
from typer.core import TyperCommand
from typer.models import CommandInfo

from base.errors import InputError
from base.extras import told_missing
from service.cli.exits import BAD_INPUT, FAILED

# What a file that a person named can be at fault for. All else that the system refuses is the machine's.
_NAMED_WRONG = frozenset(
    {
        errno.EACCES, errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT,
        errno.ENOTDIR, errno.ENOTEMPTY, errno.EPERM, errno.EROFS,
    }
)  # fmt: skip

app = typer.Typer(
    name="cai",
    help="Constitutional AI: critiques, revisions and AI-labelled preference pairs under a versioned constitution.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cai-feedback {version('cai-feedback')}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["CAI_DEBUG"] = "1"


@cache
def register() -> typer.Typer:
    """Return the application with all commands. It is made once: what they import is not loaded before."""
    from service.cli.align import align
    from service.cli.ask import compare, critique
    from service.cli.constitution import app as constitution
    from service.cli.export import export
    from service.cli.generate import generate, judge
    from service.cli.given.config import Command
    from service.cli.inspect import inspect
    from service.cli.measure.evaluate import app as evaluate
    from service.cli.models import models
    from service.cli.reweigh import reweigh
    from service.cli.server.database import app as database
    from service.cli.server.feedback import app as feedback
    from service.cli.server.jobs import app as jobs
    from service.cli.server.keys import app as keys
    from service.cli.server.serve import serve
    from service.cli.server.worker import worker
    from service.cli.show import show
    from service.cli.train import TrainCommand, train

    for command in (generate, judge, inspect, critique, compare, reweigh, show, export, align, serve, worker, models):
        app.command()(command)
    app.command(cls=TrainCommand)(train)
    app.add_typer(constitution, name="constitution")
    app.add_typer(evaluate, name="evaluate")
    app.add_typer(database, name="database")
    app.add_typer(feedback, name="feedback")
    app.add_typer(jobs, name="jobs")
    app.add_typer(keys, name="keys")
    for registered in _all_commands(app):
        if registered.cls in (None, TyperCommand):
            registered.cls = Command
    return app


def main() -> None:
    """Run ``cai``. Errors that a person can mend are printed without a traceback, unless it is asked for."""
    try:
        with told_missing():
            register()(prog_name="cai")
    except InputError as error:
        _fail(error, BAD_INPUT)
    except OSError as error:
        _fail(error, BAD_INPUT if error.errno in _NAMED_WRONG and error.filename is not None else FAILED)


def _all_commands(app: typer.Typer) -> Iterator[CommandInfo]:
    yield from app.registered_commands
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _all_commands(group.typer_instance)


def _fail(error: Exception, code: int) -> None:
    if os.environ.get("CAI_DEBUG"):
        raise error
    told = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        told = f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    print(f"error: {told}", file=sys.stderr)
    sys.exit(code)
