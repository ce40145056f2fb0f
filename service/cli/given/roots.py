"""``--root``: where a command looks for constitutions that are named, before all other places."""

import os
from pathlib import Path
from typing import Annotated

import typer

from base.errors import InputError
from constitution.library import ROOTS_VARIABLE


def _look_there_first(context: typer.Context, root: Path | None) -> Path | None:
    """Put the folder before those of the environment: from there every place that loads a constitution has it."""
    if root is None:
        return None
    if not root.is_dir():
        raise InputError("there is no such folder", where=f"--root {root}")
    before = os.environ.get(ROOTS_VARIABLE)
    os.environ[ROOTS_VARIABLE] = os.pathsep.join([str(root.absolute()), *([before] if before else [])])
    context.call_on_close(lambda: _restore(before))  # a process may run several commands, as tests do
    return root


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(ROOTS_VARIABLE, None)
    else:
        os.environ[ROOTS_VARIABLE] = before


Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="A folder of published constitutions, looked in before $CAI_CONSTITUTIONS, ./published and those shipped.",
        rich_help_panel="Input",
        callback=_look_there_first,
        expose_value=False,
    ),
]
