"""Rows whose labels say of each step of one answer whether it is right: process rewards. No command learns from steps.

TRL's stepwise supervision has ``completions`` (the steps) and ``labels``; PRM800K ``question`` with its ``problem``,
and the steps within ``label``; ProcessBench ``steps``; Math-Shepherd the question, the steps and a mark after each in
``input``, and in ``label`` the same with + and - for the marks. Step-DPO compares two next steps: ``chosen`` and
``rejected`` go on from ``initial_reason_steps``.
"""

from collections.abc import Mapping
from typing import Any

from critic.files.shapes.base import Columns, Shape, are_texts
from critic.rows import RowError

_BEGUN = "initial_reason_steps"
_ONE_STEP = (
    "chosen and rejected are the next step each after initial_reason_steps, and no answers; whole ones, which Step-DPO "
    f"has in other columns, are read with --column chosen=full_chosen,rejected=full_rejected,{_BEGUN}="
)
_ANSWERS = ("chosen", "rejected", "answer")  # the last is the right result
_MARK = " ки"  # Math-Shepherd's, after each step: a token that no English text has


def refuse_steps(columns: Mapping[str, Any]) -> None:
    """Raise `RowError` for a row of steps, where a command asks for answers and there are none."""
    if _BEGUN in columns:
        raise RowError("step_labels", _ONE_STEP)
    completions, label = columns.get("completions"), columns.get("label")
    listed = are_texts(completions) and "labels" in columns
    if listed or are_texts(columns.get("steps")) or (isinstance(label, dict) and "steps" in label):
        raise _refusal()


def _refusal() -> RowError:
    return RowError(
        "step_labels",
        "its labels are of the steps of one answer, and answers are judged and learnt from as a whole; give the steps "
        "joined, as completion, with one label or rating",
    )


def _fits_problem(columns: Columns) -> bool:
    return _asked(columns) is not None


def _asked(columns: Columns) -> str | None:
    """Return the text of a question that is an object: ``problem``, or ``full_text`` as WebGPT's comparisons have."""
    question = columns.get("question")
    texts = [question.get(name) for name in ("problem", "full_text")] if isinstance(question, dict) else []
    return next((text for text in texts if isinstance(text, str)), None)


def _read_problem(columns: Columns, labels: bool) -> Columns:
    return columns | {"question": _asked(columns)}


def _fits_marked(columns: Columns) -> bool:
    asked, label = columns.get("input"), columns.get("label")
    return isinstance(asked, str) and isinstance(label, str) and _MARK in asked and _MARK not in label


def _read_marked(columns: Columns, labels: bool) -> Columns:
    raise _refusal()  # its input is no prompt: the answer stands in it


def _read_next(columns: Columns, labels: bool) -> Columns:
    return {name: value for name, value in columns.items() if name not in _ANSWERS}


NEXT_STEPS = Shape("Step-DPO", (_BEGUN,), lambda columns: _BEGUN in columns, _read_next, frozenset((_BEGUN,)))
PROBLEM = Shape("PRM800K", ("question", "steps"), _fits_problem, _read_problem, frozenset(("question",)))
MARKED_STEPS = Shape("Math-Shepherd", ("input", "label"), _fits_marked, _read_marked, frozenset(("label",)))
