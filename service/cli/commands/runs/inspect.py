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
    """Say how a file is read by each command: columns, shapes, first rows, refusals with their reasons, lengths."""
    found = read(file, naming(column), whole=whole)
    if as_json:
        typer.echo(json.dumps(_json(found), ensure_ascii=False, indent=2))
        return
    if not is_quiet():
        _print(found)


def _json(found: Inspection) -> dict[str, Any]:
    told = asdict(found)
    for use in told["uses"]:
        del use["prompt_tokens"], use["answer_tokens"]
    for name in ("prompt_tokens", "answer_tokens"):
        figures = middle(told[name])
        told[name] = None if figures is None else dict(zip(("median", "p95", "longest"), figures, strict=True))
    return told


def _print(found: Inspection) -> None:
    part = "all of them" if found.whole else "a sample: --all reads every row"
    typer.echo(clean(f"{found.name}: {found.rows:,} rows read ({part})"))
    renamed = (f"{name} as {own}" if name != own else name for name, own in found.columns.items())
    typer.echo(clean(f"columns: {', '.join(renamed) or 'none'}"))
    if found.ignored:
        typer.echo(clean(f"not read: {', '.join(found.ignored)}"))
    if found.turns:
        keys = ", ".join(f"{key} ({count:,})" for key, count in found.turns.items())
        typer.echo(clean(f"not read in turns: {keys}"))
    typer.echo(f"shapes:  {', '.join(found.shapes) or 'plain'}")
    for what, lengths in (("prompts", found.prompt_tokens), ("answers", found.answer_tokens)):
        if figures := middle(lengths):
            typer.echo(f"{what}: about {figures[0]:,} tokens (95 %: {figures[1]:,}; longest: {figures[2]:,})")
    for use in found.uses:
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
