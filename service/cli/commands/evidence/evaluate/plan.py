"""``cai evaluate plan``: how many more human labels reach an interval of a wanted width."""

import json
from collections.abc import Sequence

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from critic.evaluation.powered.columns import columns_of
from critic.evaluation.powered.estimates import PlannedLabels, planned
from critic.evaluation.powered.page import title
from critic.settings.labels.few_labels import PlanSettings
from critic.statistics.plain import plain
from service.cli.exits import QUARANTINED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.measure.gathering import gather, models_of, name_refused, told_apart
from service.cli.measure.measuring import told
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say


@expand
def plan(
    settings: PlanSettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Say how many more items people have to label for intervals of a wanted width, with the judge's help and without.

    What they have labelled so far is the pilot: at least 20 prompts.
    """

    made, refused = gather(settings.files, settings.column)
    columns = columns_of(made, models_of(made, settings.model), pool=settings.pool_groups)
    plans = [planned(one, settings.width) for one in columns]
    notes = told_apart(made)
    with told(as_json):
        _print(plans, settings.width, notes)
    if as_json:
        typer.echo(
            json.dumps({"width": settings.width, "plans": plain(plans), "notes": notes}, indent=2, allow_nan=False)
        )
    name_refused(refused)
    if refused:
        raise typer.Exit(QUARANTINED)


def _print(plans: Sequence[PlannedLabels], width: float, notes: Sequence[str]) -> None:

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
