"""What is there and null is not absent: rows that lack a label or an answer are refused with its name."""

from collections.abc import Mapping
from typing import Any, TypeVar

from critic.rows import RowError

T = TypeVar("T")
_ANSWERS = ("completion", "response", "output", "answer")


def refuse_null(columns: Mapping[str, Any]) -> None:
    """Raise `RowError` where what would make a row one that is known is there, and null."""
    if "responses" in columns and "ranks" in columns:
        raise RowError("no_label", "ranks holds nothing; expected a list with the rank of each response")
    if empty := next((name for name in _ANSWERS if name in columns and columns[name] is None), None):
        raise RowError("empty_answer", f"{empty} holds nothing; expected an answer")


def with_all_labels(found: T, given: Mapping[str, Any]) -> T:
    """Return what was made of a row. Raises `RowError` where one of its several answers lacks a label."""
    ratings = given.get("ratings")
    if isinstance(ratings, list) and len(ratings) > 1 and None in ratings:
        raise RowError("no_label", f"{ratings.count(None)} of {len(ratings)} answers have no label")
    return found
