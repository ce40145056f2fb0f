"""Ranked lists, as Nectar has them: ``answers``, each an object with ``answer``, ``model`` and ``rank`` (1 is best)."""

from typing import Any

from critic.files.shapes.base import Columns, Shape, has, no_label, whole
from critic.rows import RowError


def _fits(columns: Columns) -> bool:
    found = columns.get("answers")
    listed = isinstance(found, list) and bool(found) and all(isinstance(one, dict) and "answer" in one for one in found)
    return listed and not has(columns, "responses")


def _read(columns: Columns, labels: bool) -> Columns:
    answers: list[dict[str, Any]] = columns["answers"]
    read = columns | {
        "answers": None,
        "responses": [one["answer"] for one in answers],
        "models": [one.get("model") for one in answers],
    }
    return read | {"ranks": [_rank(one) for one in answers]} if labels else read


def _rank(answer: dict[str, Any]) -> int:
    rank = whole(answer.get("rank"))
    if rank is None:
        error = no_label("rank", answer.get("rank"), "a whole number, 1 for the best")
        raise RowError("no_label" if answer.get("rank") is None else "bad_ranks", error.detail)
    return rank


RANKED = Shape("ranked answers", ("prompt", "answers"), _fits, _read, frozenset(("answers",)))
