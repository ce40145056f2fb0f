"""The option that says under which names an input has what is read: one for every command with an input."""

from typing import Annotated

import typer

Column = Annotated[
    str | None,
    typer.Option(
        "--column",
        metavar="NAME=COLUMN,...",
        help="Which columns of the input hold what, as in prompt=question,chosen=win; id= leaves the ids out. Names "
        "that differ in case alone need none.",
        rich_help_panel="Input",
    ),
]
