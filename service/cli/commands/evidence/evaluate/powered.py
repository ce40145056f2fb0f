"""``cai evaluate powered``: win rates and accuracies from few human labels and many of a judge's."""

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from critic.evaluation.powered.columns import columns_of
from critic.evaluation.powered.estimates import AccuracyDifference, Estimate, differences, estimate
from critic.evaluation.powered.page import powered_page, title
from critic.evaluation.powered.routing_file import read_draw
from critic.run.folder.results import replace_text
from critic.settings.labels.few_labels import PoweredSettings
from critic.statistics.intervals import Figure
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
def powered(
    settings: PoweredSettings,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Estimate win rates and a judge's accuracy on all items, from people's labels on some and the judge's on all.

    People's items must be an even draw of all of them, or drawn by `cai evaluate routing`.
    """

    made, refused = gather(settings.files, settings.column)
    draws = [read_draw(file) for file in settings.drawn]
    columns = columns_of(made, models_of(made, settings.model), pool=settings.pool_groups)
    figures = [estimate(one, draws) for one in columns]
    between = [] if draws else differences(columns)
    notes = told_apart(made)
    with told(as_json):
        _print(figures, between, notes)
    if as_json:
        typer.echo(json.dumps(_json(figures, between, notes), indent=2, allow_nan=False))
    if settings.report is not None:
        replace_text(settings.report, powered_page(figures, between, notes))
        say(f"report: {settings.report}", err=as_json)
    name_refused(refused)
    if refused:
        raise typer.Exit(QUARANTINED)


def _json(figures: Sequence[Estimate], between: Sequence[AccuracyDifference], notes: Sequence[str]) -> dict[str, Any]:

    return {"figures": plain(figures), "differences": plain(between), "notes": list(notes)}


def _print(figures: Sequence[Estimate], between: Sequence[AccuracyDifference], notes: Sequence[str]) -> None:

    table = Table(title=Text("few human labels, many of a judge's"), title_justify="left", box=box.SIMPLE)
    table.add_column("figure", min_width=14, overflow="fold")
    for name in ("both", "people\nalone", "Rogan and\nGladen", "judge\nalone", "by people,\nof all"):
        table.add_column(name, no_wrap=True)
    for one in figures:
        table.add_row(
            Text(clean(title(one.what, one.of, one.group))),
            _cell(one.powered),
            _cell(one.human),
            _cell(one.screened),
            "-" if one.judge is None else _short(one.judge),
            f"{one.labelled:,}\n{one.judged:,}",
        )
    Console().print(table)
    for one in figures:
        for name, why in one.why_not.items():
            if name == "powered" or one.what == "win rate":
                say(clean(f"{title(one.what, one.of, one.group)}: {why}"))
        if one.saved is not None and one.saved > 0:
            say(clean(f"{title(one.what, one.of, one.group)}: the judge narrows the interval by {one.saved:.0%}"))
    for pair in between:
        low, high = pair.figure.low, pair.figure.high
        say(
            clean(
                f"accuracy of {pair.first} minus {pair.second}: {pair.figure.estimate:+.3f} ({low:+.3f} to {high:+.3f})"
            )
        )
    for note in notes:
        say(note)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{_short(figure.estimate)}\n{_short(figure.low)} to {_short(figure.high)}"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
