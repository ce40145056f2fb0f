"""``cai inspect``: how a file is read, before anything is paid for."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from critic.files.shapes import naming
from service.cli.given.columns import Column
from service.cli.given.config import ConfigFile
from service.cli.given.options import Json
from service.cli.runs.inspection import Inspection, Use, middle
from service.cli.runs.inspection import inspect as read
from service.cli.shown.display import clean
from service.cli.shown.voice import Quiet, is_quiet

SHOWN = 100  # characters of a text


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, an address or a dataset.")],
    column: Column = None,
    whole: Annotated[bool, typer.Option("--all", help="Read every row, not a sample.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Show how each command reads a file: columns, shapes, first rows, refusals with their reasons, lengths."""
    inspection = read(file, naming(column), whole=whole)
    if as_json:
        typer.echo(json.dumps(_json(inspection), ensure_ascii=False, indent=2))
        return
    if not is_quiet():
        _print(inspection)


def _json(inspection: Inspection) -> dict[str, Any]:
    told = asdict(inspection)
    for use in told["uses"]:
        del use["prompt_tokens"], use["answer_tokens"]
    for name in ("prompt_tokens", "answer_tokens"):
        figures = middle(told[name])
        told[name] = None if figures is None else dict(zip(("median", "p95", "longest"), figures, strict=True))
    return told


def _print(inspection: Inspection) -> None:
    part = "all of them" if inspection.whole else "a sample: --all reads every row"
    typer.echo(clean(f"{inspection.name}: {inspection.rows:,} rows read ({part})"))
    renamed = (f"{name} as {own}" if name != own else name for name, own in inspection.columns.items())
    typer.echo(clean(f"columns: {', '.join(renamed) or 'none'}"))
    if inspection.ignored:
        typer.echo(clean(f"not read: {', '.join(inspection.ignored)}"))
    if inspection.turns:
        keys = ", ".join(f"{key} ({count:,})" for key, count in inspection.turns.items())
        typer.echo(clean(f"not read in turns: {keys}"))
    typer.echo(f"shapes:  {', '.join(inspection.shapes) or 'plain'}")
    for what, lengths in (("prompts", inspection.prompt_tokens), ("answers", inspection.answer_tokens)):
        if figures := middle(lengths):
            typer.echo(f"{what}: about {figures[0]:,} tokens (95 %: {figures[1]:,}; longest: {figures[2]:,})")
    for use in inspection.uses:
        _print_use(use)


def _print_use(use: Use) -> None:
    if use.problem:
        typer.echo(clean(f"\ncai {use.command}: {use.problem}"))
        return
    refused = sum(len(places) for places in use.refused.values())
    typer.echo(f"\ncai {use.command}: {use.taken:,} taken, {refused:,} refused")
    for reason, places in use.refused.items():
        typer.echo(clean(f"  {reason}: {len(places):,}, as {places[0]}"))
    for prompt, answers in use.first:
        typer.echo(f"  {_short(prompt)}")
        for answer in answers:
            typer.echo(f"    -> {_short(answer)}")


def _short(text: str) -> str:
    line = clean(" ".join(text.split()))
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 4]} ..."
