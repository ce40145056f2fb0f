"""Why a row gives no answers, where no shape knows its columns: the nearest reason, with what to do."""

from typing import Any

from critic.files.shapes.base import Columns, expect_both_sides
from critic.files.shapes.steps import refuse_steps
from critic.rows import RowError

_LISTS = ("responses", "generations", "completions", "answers")
NEITHER = (
    "that is neither JSON nor a list of Python's, as where NumPy wrote it; save the table as JSON Lines or Parquet, "
    "which keep lists"
)
BY_NAME = "a column of another name can be given, as in --column chosen=NAME,rejected=NAME"


def refuse_without_answers(columns: Columns) -> None:
    """Raise `RowError` where it is known why a row has no answers."""
    expect_both_sides(columns)
    refuse_steps(columns)
    for name in _LISTS:
        _refuse_text(name, columns.get(name))


def _refuse_text(name: str, value: Any) -> None:
    if isinstance(value, str) and value.lstrip().startswith("["):
        raise RowError("broken_line", f"{name} holds a list {NEITHER}")
