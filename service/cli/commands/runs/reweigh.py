"""``cai reweigh``: a run's stored votes under other weights, without a call of any model."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from base.errors import InputError
from critic.run.reweigh import Reweighed, ReweighRequest
from critic.run.reweigh import reweigh as start
from service.cli.given.config import ConfigFile
from service.cli.given.options import (
    INPUT,
    JUDGING,
    OUTPUT,
    Aggregation,
    Format,
    FormatOption,
    Json,
    constitution_names,
)
from service.cli.given.roots import Root
from service.cli.shown.display import clean
from service.cli.shown.turned import JUDGEMENTS, counted
from service.cli.shown.voice import Quiet, say


def reweigh(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The --out directory of a run; it is only read.")],
    out: Annotated[Path, typer.Option(help="A new directory for the results.", rich_help_panel=OUTPUT)],
    principles: Annotated[
        str | None,
        typer.Option(
            help="Another constitution: FILE, NAME@VERSION or NAME. Default: the run's own.",
            rich_help_panel=INPUT,
            autocompletion=constitution_names,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Count only this principle; repeatable.", rich_help_panel=JUDGING),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=W", help="Give a principle another weight; repeatable.", rich_help_panel=JUDGING),
    ] = None,
    aggregation: Annotated[
        Aggregation | None,
        typer.Option(help="How votes are pooled. Default: as in the run.", rich_help_panel=JUDGING),
    ] = None,
    ignore_priorities: Annotated[
        bool,
        typer.Option("--ignore-priorities", help="Pool all principles as one class.", rich_help_panel=JUDGING),
    ] = False,
    tie_band: Annotated[
        float | None,
        typer.Option(help="A probability this near 0.5 is a tie. Default: as in the run.", rich_help_panel=JUDGING),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Mend probabilities by the map in this certificate of the run's judge.",
            rich_help_panel=JUDGING,
        ),
    ] = None,
    format: FormatOption = Format.jsonl,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Weigh a run's stored votes again: other weights, priorities, groups or pooling, and no model is asked."""
    settings: dict[str, Any] = {"priorities": False} if ignore_priorities else {}
    if aggregation is not None:
        settings["aggregation"] = aggregation.value
    if tie_band is not None:
        settings["tie_band"] = tie_band
    request = ReweighRequest(principles, tuple(only or ()), _weights(weight or []), settings, certificate)
    done = asyncio.run(start(request, directory, out, format.value))
    if as_json:
        typer.echo(json.dumps(_json(done), indent=2))
    else:
        _print(done, out)


def _weights(texts: list[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise InputError(f"{text!r} is not ID=W", where="--weight", fix="Write it as in harmless=2.5") from None
    return weights


def _print(done: Reweighed, out: Path) -> None:
    changes, results = done.changes, done.results
    lines = {
        "rows": f"{results.exported.rows}; {results.quarantined.total()} quarantined, as in the run",
        "judgements": counted(changes.judgements),
        "pairs": f"{changes.pairs_before} before, {changes.pairs_after} now",
        "stale": f"votes of principles that are worded otherwise don't count: {_named(changes.stale)}",
        "left out": f"votes of principles that are not weighed: {_named(changes.left_out)}",
        "no votes": ", ".join(done.unvoted),
        "results": f"{out}/ (pairs, sft, feedback, README.md, manifest.json, report.html)",
    }
    empty = {"stale": not changes.stale, "left out": not changes.left_out, "no votes": not done.unvoted}
    for name, value in lines.items():
        if not empty.get(name):
            say(clean(f"{name + ':':12}{value}"))
    for warning in results.warnings():
        say(clean(f"warning: {warning}"))


def _named(votes: Counter[str]) -> str:
    return f"{votes.total()} ({', '.join(f'{name} {count}' for name, count in sorted(votes.items()))})"


def _json(done: Reweighed) -> dict[str, Any]:
    changes = done.changes
    return {
        "constitution": done.constitution.ref,
        "constitution_hash": done.constitution.digest,
        "rows": done.results.exported.rows,
        "judgements": {name: changes.judgements.get(name, 0) for name in JUDGEMENTS},
        "pairs": {"before": changes.pairs_before, "after": changes.pairs_after},
        "stale_votes": dict(sorted(changes.stale.items())),
        "left_out_votes": dict(sorted(changes.left_out.items())),
        "principles_without_votes": list(done.unvoted),
        "warnings": done.results.warnings(),
    }
