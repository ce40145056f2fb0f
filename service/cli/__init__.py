"""The command ``cai``: its commands are found in `service.cli.commands`, and imported when they run."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from base.errors import InputError
from base.extras import told_missing
from service.cli import commands, light
from service.cli.exits import BAD_INPUT, FAILED
from service.cli.found import CommandPlace, group, in_folders

# What a file that a person named can be at fault for. All else that the system refuses is the machine's.
_NAMED_WRONG = frozenset(
    {
        errno.EACCES, errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT,
        errno.ENOTDIR, errno.ENOTEMPTY, errno.EPERM, errno.EROFS,
    }
)  # fmt: skip


def _opened(place: CommandPlace) -> Any:
    # Late, because what makes a command of a file is of no use to those that are only listed.
    from service.cli.opened import opened

    return opened(place)


app = typer.Typer(
    name="cai",
    cls=group(in_folders(commands.__name__, Path(commands.__path__[0]), commands.HEADINGS), _opened),
    help="Constitutional AI: critiques, revisions and AI-labelled preference pairs under a versioned constitution.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # late: it takes longer than all else that `cai --help` imports of ours

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


def main() -> None:
    """Run ``cai``. Errors that a person can mend are printed without a traceback, unless it is asked for."""
    try:
        with told_missing():
            _run()
    except InputError as error:
        _fail(error, BAD_INPUT)
    except OSError as error:
        _fail(error, BAD_INPUT if error.errno in _NAMED_WRONG and error.filename is not None else FAILED)


def _run() -> None:
    mark = light.wanted.set(light.asks_for_help(sys.argv[1:]))
    try:
        app(prog_name="cai")
        return
    except light.NotHelp:  # it was the value of an option
        pass
    finally:
        light.wanted.reset(mark)
    app(prog_name="cai")


def _fail(error: Exception, code: int) -> None:
    if os.environ.get("CAI_DEBUG"):
        raise error
    told = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        told = f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    print(f"error: {told}", file=sys.stderr)
    sys.exit(code)
