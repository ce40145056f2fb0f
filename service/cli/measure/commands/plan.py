"""``cai evaluate plan``: how many more human labels reach an interval of a wanted width."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from base.errors import InputError
from service.cli.exits import QUARANTINED
from service.cli.given.columns import Column
from service.cli.given.config import ConfigFile
from service.cli.given.options import LIMITS, Json
from service.cli.given.roots import Root
from service.cli.measure.gathering import Files, Model, PoolGroups, gather, models_of, name_refused, told_apart
from service.cli.measure.measurement import Measurement
from service.cli.measure.measuring import told
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say

if TYPE_CHECKING:
    from critic.evaluation.powered.estimates import Planned


def plan(
    files: Files,
    width: Annotated[
        float,
        typer.Option(
            metavar="WIDTH",
            help="From the lower to the upper limit of a 95 % interval: 0.1 is 5 points to either side.",
            rich_help_panel=LIMITS,
        ),
    ],
    model: Model = None,
    pool_groups: PoolGroups = False,
    column: Column = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Say how many more items people have to label for intervals of a wanted width, with the judge's help and without.

    What they have labelled so far is the pilot: at least 20 prompts.
    """
    from critic.evaluation.powered.columns import columns_of
    from critic.evaluation.powered.estimates import planned
    from critic.statistics.plain import plain

    if not 0 < width < 1:
        raise InputError(f"{width:g} is no width of a share's interval", where="--width", fix="Say 0.1, or 0.05.")
    made, refused = gather(files, column)
    columns = columns_of(made, models_of(made, model), pool=pool_groups)
    plans = [planned(one, width) for one in columns]
    notes = told_apart(made)
    with told(as_json):
        _print(plans, width, notes)
    if as_json:
        typer.echo(json.dumps({"width": width, "plans": plain(plans), "notes": notes}, indent=2, allow_nan=False))
    name_refused(refused)
    if refused:
        raise typer.Exit(QUARANTINED)


def _print(plans: "Sequence[Planned]", width: float, notes: Sequence[str]) -> None:
    from critic.evaluation.powered.page import title

    table = Table(title=Text(f"labels for an interval of {width:g}"), title_justify="left", box=box.SIMPLE)
    for name in ("figure", "have", "more\nneeded", "in all", "without\na judge", "correlation"):
        table.add_column(name, no_wrap=name != "figure", overflow="fold")
    for one in plans:
        if one.plan is not None:
            numbers = (one.plan.more, one.plan.with_judge, one.plan.without_judge)
            cells = ["more than can be" if number is None else f"{number:,}" for number in numbers]
            named = Text(clean(title(one.what, one.of, one.group)))
            table.add_row(named, f"{one.labelled:,}", *cells, f"{one.plan.correlation:.2f}")
    if table.row_count:
        Console().print(table)
    for one in plans:
        if one.why_not:
            say(clean(f"{title(one.what, one.of, one.group)}: {one.why_not}"))
    for note in notes:
        say(note)


MEASUREMENT = Measurement("plan", plan)
