"""``cai evaluate``: how far a judge can be trusted, measured."""

import typer

from service.cli.measure.accuracy import judge
from service.cli.measure.choices import choices
from service.cli.measure.injection import injection

app = typer.Typer(no_args_is_help=True, help="Measure a judge: against people's labels, choices, and planted text.")

app.command()(choices)
app.command()(judge)
app.command()(injection)
