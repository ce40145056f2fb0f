"""Answers to one prompt: rows of one answer each are joined, ranks and ratings compared, and models named."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from critic.files.shapes import shaped
from critic.files.shapes.base import number, whole
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
        if group and (columns is None or not same_prompt(group[0][1], columns, labels)):
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
    """Return how good each of a row's responses was found, more is better; None where nothing says so.

    Raises `RowError` for a label that is none.
    """
    ranks, ratings = columns.get("ranks"), columns.get("ratings")
    if isinstance(ranks, list):
        return [None if rank is None else -_rank(rank) for rank in ranks]
    if not isinstance(ratings, list):
        return None
    low, high = _ends(columns.get("scale"))
    return [None if rating is None else _rating(rating, low, high) for rating in ratings]


def unlabelled(labels: object) -> list[RowError]:
    """Return what is to be said of each of a row's answers that has no label, where the others have one."""
    if not isinstance(labels, list):
        return []
    places = [place for place, label in enumerate(labels, 1) if label is None]
    return [RowError("no_label", f"answer {place} of {len(labels)} has no label") for place in places]


def _rank(value: object) -> float:
    rank = whole(value)
    if rank is None:
        raise RowError("bad_ranks", f"a rank is {value!r:.40}; expected a whole number")
    return float(rank)


def _ends(scale: object) -> tuple[float, float]:
    if scale is None:
        return -math.inf, math.inf
    ends = [number(end) for end in scale] if isinstance(scale, list | tuple) and len(scale) == 2 else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        raise RowError("bad_rating", f"the scale is {scale!r:.40}; expected [lowest, highest]")
    return ends[0], ends[1]


def _rating(value: object, low: float, high: float) -> float:
    rating = number(value)
    if rating is None:
        raise RowError("bad_label", f"a label is {value!r:.40}; expected true or false, or a number")
    if not low <= rating <= high:
        raise RowError("bad_rating", f"a rating of {rating:g} is not on the scale {low:g} to {high:g}")
    return rating


def is_above(one: float | None, other: float | None) -> bool:
    """Whether an answer was found better than another; what nobody said anything of is not."""
    return one is not None and other is not None and one > other


def models_of(columns: dict[str, Any], count: int) -> list[str]:
    """Return who wrote each response, as far as the row says so."""
    models = columns.get("models")
    if not isinstance(models, list) or len(models) != count:
        return ["given"] * count
    return [model if isinstance(model, str) and model.strip() else "given" for model in models]
