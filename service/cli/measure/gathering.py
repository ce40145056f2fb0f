"""What people and judges said of the same items, from files and runs: shared by the commands on few human labels."""

from collections.abc import Sequence
from pathlib import Path

import typer

from base.errors import InputError
from critic.evaluation.powered.items import Gathered, gathered
from critic.rows import Broken
from service.cli.measure.labels import read_labels
from service.cli.shown.display import clean

NAMED = 10  # refused rows that the terminal names
TABLES = ("feedback.jsonl", "feedback.parquet")


def gather(sources: Sequence[str], column: str | None) -> tuple[Gathered, list[Broken]]:
    """Return all comparisons. Raises `InputError` for sources that hold none, and where only one side labelled."""

    labels, refused = [], []
    for source in sources:
        read, broken = read_labels(_table(source), column)
        labels += [timed.label for timed in read]
        refused += broken
    made = gathered(labels)
    where = ", ".join(sources)
    if not made.items:
        raise InputError(
            "no row holds a comparison", where=where, fix="Give feedback of the kind comparison, or pairs."
        )
    if not made.judges:
        raise InputError(
            "no judge's label is among them",
            where=where,
            fix="Name a run's folder (`cai judge`), or feedback whose source is ai, too.",
        )
    return made, refused


def _table(source: str) -> str:
    """A run's folder stands for its feedback."""
    files = [Path(source).expanduser() / name for name in TABLES]
    return next((str(file) for file in files if file.is_file()), source)


def models_of(made: Gathered, given: Sequence[str]) -> list[str]:
    """Return the models whose win rates are asked for. Raises `InputError` for one that stands against none."""
    for name in given:
        if name not in made.models:
            known = ", ".join(made.models) or "none that is named"
            raise InputError(
                f"no answer of {name!r} stands against another's", where="--model", fix=f"There are {known}."
            )
    return list(given) if given else made.models


def told_apart(made: Gathered) -> list[str]:
    """Say in sentences what the gathered labels leave open."""
    notes = []
    if made.repeated:
        notes.append(f"{made.repeated:,} labels were given again on the same item: the last of each counts.")
    if made.unread:
        notes.append(f"{made.unread:,} of the judges' comparisons could not be read, and count for nothing.")
    if made.others:
        notes.append(f"{made.others:,} labels are of other kinds, or of people who could not tell; they are left out.")
    return notes


def name_refused(refused: Sequence[Broken]) -> None:
    """Name the rows that were left out, on standard error."""
    for row in refused[:NAMED]:
        typer.echo(f"left out: {row.where}: {row.reason}: {clean(row.detail)}", err=True)
    if refused:
        typer.echo(f"left out: {len(refused):,} rows", err=True)
