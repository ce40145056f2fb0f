"""``cai evaluate choices``: right and wrong answers, by letter and by likelihood."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from base.digest import digest
from base.errors import InputError
from constitution.importers.cai_paper import read_paper
from critic.calls.ledger import Budget, RecordedEngine
from critic.engine import RunStopped
from critic.engines import open_engine, parse_spec
from critic.evaluation.choice_figures import figures, unreadable
from critic.evaluation.choice_formats import ChoiceFormat, PaperFormat, PlainFormat
from critic.evaluation.choice_rows import ChoiceRow, read_rows
from critic.evaluation.choices import RowReading, measure
from critic.records import Quarantined
from critic.run.folder.results import replace_text
from critic.run.folder.store import RunStore
from critic.settings.measuring import ChoicesSettings
from critic.statistics.intervals import few
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.given.config import ConfigFile
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.shown.display import clean
from service.cli.shown.progress import Bar
from service.cli.shown.voice import Quiet, is_quiet, say

NAMED = 5  # quarantined rows that the terminal names; JSON names all


@expand
def choices(
    settings: ChoicesSettings,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Let a judge choose between right and wrong answers: how often it is right, and how certain."""
    file, out = settings.file, settings.out
    how = _format(settings.format, settings.principles)
    read = list(islice(read_rows(file, settings.column), settings.limit))
    if not read:
        raise InputError("the file holds no rows", where=file, fix="Give at least one, with prompt and answers.")
    try:
        measured = asyncio.run(_measure(settings, [row for row in read if isinstance(row, ChoiceRow)], how))
    except (RunStopped, KeyboardInterrupt) as reason:
        kept = "the same command goes on from here" if out else "nothing was kept, for there is no --out"
        say(f"Stopped{f': {reason}' if str(reason) else ''}; {kept}.", err=True)
        raise typer.Exit(STOPPED) from None
    refused = [row for row in read if not isinstance(row, ChoiceRow)] + measured.refused
    results = _results(settings, measured, sorted(refused, key=lambda row: row.row))
    if out:
        rows = [asdict(reading) for reading in measured.readings]
        replace_text(out / "choices.json", json.dumps(results | {"readings": rows}, indent=2, allow_nan=False) + "\n")
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    elif not is_quiet():
        _print(results, out)
    if refused:
        raise typer.Exit(QUARANTINED)


@dataclass(frozen=True, slots=True)
class _Measured:
    judge: str
    readings: list[RowReading]
    refused: list[Quarantined]


def _format(name: str, principles: Sequence[Path]) -> ChoiceFormat:
    if name == "plain":
        if principles:
            raise InputError("the plain format asks by no principles", where="--principles", fix="Add --format paper.")
        return PlainFormat()
    paper = read_paper(principles)
    if not paper.comparisons or paper.requests or paper.few_shots or paper.reasoned:
        raise InputError(
            "expected the paper's comparison instructions, and if wanted its few-shots with right and wrong answers",
            where="--principles",
            fix="Give one or both of these files of the paper, and no other.",
        )
    return PaperFormat(paper)


async def _measure(settings: ChoicesSettings, rows: Sequence[ChoiceRow], format: ChoiceFormat) -> _Measured:
    engine = open_engine(parse_spec(settings.judge))
    out = settings.out
    config = {
        "kind": "choices",
        "file": Path(settings.file).name,
        "judge": engine.identity.name,
        "judge_hash": digest(asdict(engine.identity)),
        "format": format.key,
    }
    try:
        opened = closing(RunStore.open(out, config, extend=False)) if out else nullcontext()
        with opened as store, Bar("rows", len(rows)) as bar:
            asked = RecordedEngine(engine, store, Budget()) if store else engine
            readings_or_faults = await measure(asked, rows, format, bar.advance, settings.floor)
    finally:
        await engine.close()
    readings = [reading for reading in readings_or_faults if isinstance(reading, RowReading)]
    return _Measured(engine.identity.name, readings, [r for r in readings_or_faults if isinstance(r, Quarantined)])


def _results(settings: ChoicesSettings, measured: _Measured, refused: Sequence[Quarantined]) -> dict[str, Any]:
    problems = [f"{row.where}: {problem}" for row in measured.readings for problem in row.problems]
    rows_in_one_order = sum(row.one_order for row in measured.readings)
    quarantined = [row.model_dump() for row in refused]
    return {
        "file": Path(settings.file).name,
        "judge": measured.judge,
        "format": settings.format,
        "floor": settings.floor,
        "rows": len(measured.readings),
        "rows_in_one_order": rows_in_one_order,
        "figures": {
            name: None if figure is None else asdict(figure) for name, figure in figures(measured.readings).items()
        },
        "unreadable": unreadable(measured.readings, settings.floor)._asdict(),
        "problems": problems,
        "quarantined": quarantined,
    }


def _print(results: dict[str, Any], out: Path | None) -> None:
    table = Table(title=Text(clean(f"{results['file']}: {results['judge']}, {results['format']} format")))
    for column in ("figure", "value", "95 %", "pairs", "rows"):
        table.add_column(column)
    for name, figure in results["figures"].items():
        cells = ("-",) * 4
        if figure:
            low, high = f"{figure['low']:.3f}", f"{figure['high']:.3f}"
            cells = (f"{figure['estimate']:.3f}", f"{low} to {high}", str(figure["n"]), str(figure["clusters"]))
        table.add_row(name, *cells)
    Console().print(table)
    if note := few(results["rows"], "row"):
        typer.echo(note)
    unread = results["unreadable"]
    typer.echo(f"{results['rows']} rows read, {results['rows_in_one_order']} of them in one order only")
    typer.echo(
        f"unreadable of {unread['pairs']} pairs: {unread['letters']} letters, {unread['likelihood']} likelihoods"
    )
    if unread["below_floor"]:
        typer.echo(
            f"{unread['below_floor']} of them, since the judge puts less than {results['floor']:g} on any of the "
            "letters: if it thinks first, add ?think=false to its spec"
        )
    if results["problems"]:
        typer.echo(clean(f"{len(results['problems'])} calls gave no answer; the first: {results['problems'][0]}"))
    for row in results["quarantined"][:NAMED]:
        typer.echo(clean(f"quarantined: row {row['row']}, {row['where']}: {row['detail']}"))
    if len(results["quarantined"]) > NAMED:
        typer.echo(f"quarantined: {len(results['quarantined'])} rows in all; --json names them")
    if out:
        typer.echo(f"every reading: {out / 'choices.json'}")
