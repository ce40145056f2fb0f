"""People's labels in a file, as the commands that look at people read them: any kind, with who gave them, and when."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from base.errors import InputError
from critic.evaluation.agreement.units import Timed
from critic.feedback.from_file import TIMES
from critic.files.naming import Naming
from critic.files.shapes import is_read, naming
from critic.files.sources import open_source
from critic.rows import Broken, RowError
from service.formats.base import broken
from service.formats.jsonl import from_own


def read_labels(source: str, column: str | None) -> tuple[list[Timed], list[Broken]]:
    """Return the labels of a file, a folder or a data set, and the rows that are none. Raises `InputError`.

    Rows of feedback are read as they are; rows of any other shape as labels by people. A name that stands in several
    groups is a person in each: groups often count their people from 1.
    """
    named = naming(column)
    columns = Naming(lambda name: name in TIMES or named.known(name), named.given)
    labels: list[Timed] = []
    refused: list[Broken] = []
    for row in open_source(source, columns).rows:
        if isinstance(row, Broken):
            refused.append(row)
            continue
        try:
            labels += _labels(row.columns, row.where)
        except Exception as error:  # whatever a stranger's values make Python raise costs their row, and no other
            refused.append(broken(row.where, error))
    if not labels:
        first = f"; the first: {refused[0].detail}" if refused else ""
        raise InputError(f"no row holds a label{first}", where=source, fix="Give feedback, or chosen and rejected.")
    return _named_apart(labels), refused


def _named_apart(labels: list[Timed]) -> list[Timed]:
    groups: dict[str, set[str]] = {}
    for timed in labels:
        label = timed.label
        if label.source == "human" and label.annotator is not None and label.group is not None:
            groups.setdefault(label.annotator, set()).add(label.group)
    shared = {name for name, own in groups.items() if len(own) > 1}
    return [_with_group(timed) if timed.label.annotator in shared else timed for timed in labels]


def _with_group(timed: Timed) -> Timed:
    """The label with the group behind its annotator's name."""
    label = timed.label
    if label.source != "human":
        return timed
    name = f"{label.annotator} ({label.group or 'no group'})"
    return replace(timed, label=label.model_copy(update={"annotator": name}))


def _labels(columns: dict[str, Any], where: str) -> Iterator[Timed]:
    at = next((_seconds(columns[name]) for name in TIMES if columns.get(name) is not None), None)
    own = {name: value for name, value in columns.items() if is_read(name)}
    for label in from_own(own, where, "human"):
        if isinstance(label, Broken):
            raise RowError(label.reason, label.detail)
        yield Timed(label, at)


def _seconds(value: Any) -> float | None:
    """Return the time in seconds; None for what is no time: then nothing is said of its course."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value)
    if isinstance(value, str):
        try:
            return _seconds(datetime.fromisoformat(value))
        except ValueError:
            return None
    return None


def _finite(value: float) -> float | None:
    """Return a number as it is; None for what a clock can't have shown."""
    try:
        seconds = float(value)
    except OverflowError:  # JSON's whole numbers have no end
        return None
    return seconds if math.isfinite(seconds) else None
