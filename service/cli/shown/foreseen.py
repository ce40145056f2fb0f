"""What another constitution would make of a run's judgements, for people and as JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from critic.run.folder.flips import ForeseenJudgement as Judgement
from critic.run.folder.reading import Foreseen
from service.cli.shown.display import clean

SHOWN = 20  # judgements of a kind that the terminal names; JSON names all


def print_foreseen(foreseen: Foreseen, run: Path, new: str) -> None:
    """Name the judgements that flip, and those that may."""
    seen = foreseen.foresight
    judged = seen.stays + len(seen.flips) + len(seen.may_flip)
    typer.echo(clean(f"\n{run} was made under {foreseen.constitution}; under {new}, of {judged:,} judgements:"))
    typer.echo(f"  {seen.stays:,} stay, {len(seen.flips):,} flip, {len(seen.may_flip):,} may flip")
    typer.echo(clean(f"  to ask again: {seen.questions:,} questions, {seen.revisions:,} rounds of revision"))
    if foreseen.templates_differ:
        typer.echo("  warning: this version of cai words its questions otherwise: all of them would be asked again")
    for name, listed in (("flips", seen.flips), ("may flip", seen.may_flip)):
        for one in listed[:SHOWN]:
            typer.echo(clean(f"{name}: {_line(one)}"))
        if len(listed) > SHOWN:
            typer.echo(f"{name}: {len(listed) - SHOWN:,} more; --json names all")


def _line(one: Judgement) -> str:
    group = f", group {one.group}" if one.group is not None else ""
    place = f"row {one.row} ({one.where}{group}), response {one.first} against {one.second}"
    return f"{place}: {_side(one.before)}, then {_after(one)}"


def _side(probability: float | None) -> str:
    """Say for whom a judgement is, or would be."""
    return "no judgement" if probability is None else f"{probability:.3f}"


def _after(one: Judgement) -> str:
    if one.rewritten:
        return "unknown: an answer is revised again first"
    if one.low is None or one.high is None or one.low == one.high:
        return _side(one.low)
    asked = f"{one.missing} question{'' if one.missing == 1 else 's'} to ask"
    return f"{one.low:.3f} to {one.high:.3f} ({asked})"


def foreseen_json(foreseen: Foreseen) -> dict[str, Any]:
    """Return the same as plain data."""
    seen = foreseen.foresight
    flip = [asdict(one) for one in seen.flips]
    return {
        "constitution": foreseen.constitution,
        "constitution_hash": foreseen.constitution_hash,
        "templates_differ": foreseen.templates_differ,
        "stay": seen.stays,
        "questions": seen.questions,
        "revisions": seen.revisions,
        "flip": flip,
        "may_flip": [asdict(one) for one in seen.may_flip],
    }
