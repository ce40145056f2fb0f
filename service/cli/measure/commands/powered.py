"""``cai evaluate powered``: win rates and accuracies from few human labels and many of a judge's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.exits import QUARANTINED
from service.cli.given.columns import Column
from service.cli.given.config import ConfigFile
from service.cli.given.options import INPUT, OUTPUT, Json
from service.cli.given.roots import Root
from service.cli.measure.gathering import Files, Model, PoolGroups, gather, models_of, name_refused, told_apart
from service.cli.measure.measurement import Measurement
from service.cli.measure.measuring import told
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, say

if TYPE_CHECKING:
    from critic.evaluation.powered.estimates import Difference, Estimate
    from critic.statistics.intervals import Figure


def powered(
    files: Files,
    model: Model = None,
    drawn: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="routing.jsonl of `cai evaluate routing`, if people labelled what it drew: its probabilities count.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    pool_groups: PoolGroups = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with pictures here (.html).", rich_help_panel=OUTPUT)
    ] = None,
    column: Column = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Estimate win rates and a judge's accuracy on all items, from people's labels on some and the judge's on all.

    People's items must be an even draw of all of them, or drawn by `cai evaluate routing`.
    """
    from critic.evaluation.powered.columns import columns_of
    from critic.evaluation.powered.estimates import differences, estimate
    from critic.evaluation.powered.routing_file import read_draw

    made, refused = gather(files, column)
    draw = None if drawn is None else read_draw(drawn)
    columns = columns_of(made, models_of(made, model), pool=pool_groups)
    figures = [estimate(one, draw) for one in columns]
    between = [] if drawn is not None else differences(columns)
    notes = told_apart(made)
    with told(as_json):
        _print(figures, between, notes)
    if as_json:
        typer.echo(json.dumps(_json(figures, between, notes), indent=2, allow_nan=False))
    if report is not None:
        from critic.evaluation.powered.page import powered_page
        from critic.run.folder.results import replace_text

        replace_text(report, powered_page(figures, between, notes))
        say(f"report: {report}", err=as_json)
    name_refused(refused)
    if refused:
        raise typer.Exit(QUARANTINED)


def _json(figures: "Sequence[Estimate]", between: "Sequence[Difference]", notes: Sequence[str]) -> dict[str, Any]:
    from critic.statistics.plain import plain

    return {"figures": plain(figures), "differences": plain(between), "notes": list(notes)}


def _print(figures: "Sequence[Estimate]", between: "Sequence[Difference]", notes: Sequence[str]) -> None:
    from critic.evaluation.powered.page import title

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


def _cell(figure: "Figure | None") -> str:
    if figure is None:
        return "-"
    return f"{_short(figure.estimate)}\n{_short(figure.low)} to {_short(figure.high)}"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


MEASUREMENT = Measurement("powered", powered)
