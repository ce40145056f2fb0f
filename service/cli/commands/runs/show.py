"""``cai show``: a run's figures, or one of its pairs with every vote behind it."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from base.errors import InputError
from critic.judging.base import FLOOR
from critic.records import PreferencePair, Row
from critic.run.folder.reading import open_rows
from critic.run.folder.results import judgement_of
from critic.run.folder.shards import ShardStore
from critic.run.folder.store import RunStore
from critic.run.reasons import Causes
from critic.statistics.intervals import Figure
from critic.statistics.run import RunStatistics
from critic.statistics.summary import summary
from critic.statistics.warnings import warnings
from service.cli.given.config import ConfigFile
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.shown.display import clean, print_pair
from service.cli.shown.reasons import dropped
from service.cli.shown.voice import Quiet, is_quiet

BARS = " ▁▂▃▄▅▆▇█"


def show(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The --out directory of a run.")],
    pair: Annotated[int | None, typer.Option(min=0, help="Show one pair; they count from 0.")] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Show a run: its figures, or one pair with its votes."""
    with closing(open_rows(directory)) as store:
        if pair is not None:
            row, chosen = _find_pair(store.rows(), pair)
            if as_json:
                _print_json(_pair_json(pair, row, chosen))
            elif not is_quiet():
                print_pair(store.config(), pair, row, chosen)
        else:
            _show_run(store, as_json)


def _find_pair(rows: Iterable[Row], wanted: int) -> tuple[Row, PreferencePair]:
    pairs = ((row, pair) for row in rows for pair in row.pairs)
    count = 0
    for count, numbered in enumerate(islice(pairs, wanted + 1), 1):
        if count == wanted + 1:
            return numbered
    fix = f"They count from 0; the last is {count - 1}." if count else "`cai show DIR` says what was dropped, and why."
    raise InputError(f"there is no pair {wanted}: the run has {count}", where="--pair", fix=fix)


def _pair_json(number: int, row: Row, pair: PreferencePair) -> dict[str, Any]:
    judgement, ranking = judgement_of(row, pair), row.ranking(pair.group)
    return {
        "pair": number,
        "row": row.row,
        "where": row.where,
        "prompt": row.prompt.model_dump(mode="json"),
        **pair.model_dump(mode="json"),
        "judgement": None if judgement is None else judgement.model_dump(mode="json"),
        "ranking": None if ranking is None else ranking.model_dump(mode="json"),
        "chains": [chain.model_dump(mode="json") for chain in row.chains],
    }


def _show_run(store: RunStore | ShardStore, as_json: bool) -> None:
    statistics, quarantined, causes = RunStatistics(), Counter[str](), Causes()
    for row in store.rows():
        statistics.add(row)
    for refused in store.quarantined():
        quarantined[refused.reason] += 1
        causes.add(refused)
    cautions = list(warnings(statistics, quarantined.total()))
    if as_json:
        _print_json(
            {
                "config": store.config(),
                "provenance": store.provenance().model_dump(),
                "calls": store.calls(),
                "quarantined": dict(quarantined),
                "causes": [asdict(cause) for cause in causes.commonest()],
                "warnings": cautions,
                "statistics": summary(statistics),
            }
        )
        return
    console = Console(quiet=is_quiet())
    made = store.provenance()
    console.print(Text(clean(f"{made.constitution}, judge {made.judge} ({made.mode}), policy {made.policy}"), "bold"))
    for caution in cautions:
        console.print(Text(f"Warning: {clean(caution)}", "bold yellow"))
    console.print(Group(*_tables(statistics, quarantined, store.calls())))
    for cause in causes.commonest():
        console.print(Text(clean(f"quarantined: {cause}")), soft_wrap=True)
    if statistics.pairs:
        console.print("`cai show DIR --pair 0` shows the first pair with its votes.", style="dim")


def _tables(statistics: RunStatistics, quarantined: Mapping[str, int], calls: int) -> Iterator[Table | Text]:
    counts = _grid("counts")
    for name, count in (("rows", statistics.rows), ("pairs", statistics.pairs), ("calls", calls)):
        counts.add_row(name, f"{count:,}")
    for outcome, count in sorted(statistics.outcomes.items()):
        counts.add_row(f"comparisons: {outcome}", f"{count:,}")
    yield counts
    figures = _grid("judge")
    figures.add_row("same position in both orders", _interval(statistics.same_position.figure()))
    figures.add_row("first position favoured", _interval(statistics.first_lean.figure()))
    figures.add_row("orders disagree", _interval(statistics.order_disagreement.figure()))
    figures.add_row("longer answer preferred", _interval(statistics.longest.figure()))
    figures.add_row("unreadable votes", _interval(statistics.unreadable.figure()))
    if (mass := statistics.mass.figure()) is not None:
        figures.add_row("label mass, mean", Text(f"{mass.estimate:.3g}  (n = {mass.n:,})"))
        figures.add_row(f"label mass below {FLOOR:g}", _interval(statistics.low_mass.figure()))
    figures.add_row("probabilities, 0 to 1", Text(f"[{_bars(statistics.probabilities)}]"))
    yield figures
    lost = _grid("dropped")
    for what, reason, meaning, count in dropped(statistics.drops):
        lost.add_row(f"{what}: {reason}", f"{count:,}  ({meaning})")
    for reason, count in sorted(quarantined.items()):
        lost.add_row(Text(clean(f"row (quarantined): {reason}")), f"{count:,}")
    yield lost if lost.row_count else Text("Nothing was dropped.")


def _grid(title: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", show_header=False, box=None, title_style="bold")
    table.add_column(min_width=30)
    table.add_column()
    return table


def _interval(figure: Figure | None) -> Text:
    if figure is None:
        return Text("-")
    estimate, low, high = (f"{100 * x:.0f}" for x in (figure.estimate, figure.low, figure.high))
    return Text(f"{estimate} %  ({low} to {high}, n = {figure.n:,})")


def _bars(counts: Sequence[int]) -> str:
    most = max(counts, default=0) or 1
    return "".join(BARS[math.ceil(8 * count / most)] for count in counts)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))  # ASCII: control characters are escaped, too
