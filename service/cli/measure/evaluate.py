"""``cai evaluate``: how far judges, labels and models can be trusted, measured."""

import typer

from service.cli.measure import commands
from service.cli.measure.measurement import discovered

HELP = "Measure judges, people's labels and models: against each other, by choices, and under planted text."


def application() -> typer.Typer:
    """Return the command group with every measurement that is there."""
    group = typer.Typer(no_args_is_help=True, help=HELP)
    for measurement in discovered(commands):
        group.command(measurement.name)(measurement.command)
    return group


app = application()
