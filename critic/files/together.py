"""Answers to one prompt: rows of one answer each are joined, ranks and ratings compared, and models named."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from critic.files.shapes import shaped
from critic.files.shapes.base import number
from critic.files.shapes.single import is_single, same_prompt, together
from critic.rows import Broken, Raw, RowError, Unread


def _single(row: Raw | Broken, labels: bool) -> dict[str, Any] | None:
    """Return a row that is one answer to a prompt, in this project's columns; None for any other."""
    if isinstance(row, Broken):
        return None
    try:
        columns = shaped(row.columns, labels=labels)
    except RowError:
        return None
    return columns if is_single(columns) else None


def answers_together(unread: Iterator[Unread], labels: bool) -> Iterator[Unread]:
    """Return the rows. Where the first is one answer, those that ask the same and follow each other are joined."""
    first = next(unread, None)
    if first is None:
        return iter(())
    rows = chain([first], unread)
    return rows if _single(first(), labels) is None else _joining(rows, labels)


def _joining(unread: Iterable[Unread], labels: bool) -> Iterator[Unread]:
    group: list[tuple[Raw, dict[str, Any]]] = []
    for read in unread:
        row = read()
        columns = _single(row, labels)
        if group and (columns is None or not same_prompt(group[0][1], columns)):
            yield _joined(group)
            group = []
        if columns is None or isinstance(row, Broken):
            yield read
        else:
            group.append((row, columns))
    if group:
        yield _joined(group)


def _joined(group: Sequence[tuple[Raw, dict[str, Any]]]) -> Unread:
    """Return what reads the rows as one; a row that stands alone stays as it is."""
    first = group[0][0]
    return lambda: first if len(group) == 1 else Raw(first.where, together([columns for _, columns in group]))


def goodness(columns: Mapping[str, Any]) -> list[float | None] | None:
    """Return how good each of a row's responses was found, more is better; None where nothing says so."""
    ranks, ratings = columns.get("ranks"), columns.get("ratings")
    if isinstance(ranks, list):
        numbers = [number(rank) for rank in ranks]
        return [None if rank is None else -rank for rank in numbers]
    return [number(rating) for rating in ratings] if isinstance(ratings, list) else None


def is_above(one: float | None, other: float | None) -> bool:
    """Whether an answer was found better than another; what nobody said anything of is not."""
    return one is not None and other is not None and one > other


def models_of(columns: dict[str, Any], count: int) -> list[str]:
    """Return who wrote each response, as far as the row says so."""
    models = columns.get("models")
    if not isinstance(models, list) or len(models) != count:
        return ["given"] * count
    return [model if isinstance(model, str) and model.strip() else "given" for model in models]
