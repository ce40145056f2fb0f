"""The table of shapes and commands, `docs/SHAPES.md`: ``python -m tests.contracts.shapes.table`` writes it.

It says what the cases say, and the tests beside it hold every command to them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.contracts.shapes.cases import CASES
from tests.contracts.shapes.rows import ASK, Case

TABLE = Path(__file__).parents[3] / "docs" / "SHAPES.md"
_HEAD = """# How each shape of row is read

This table is made by `python -m tests.contracts.shapes.table` from the cases in `tests/contracts/shapes`. Tests check
that every command reads these rows as the table says. Dry runs and jobs read them in the same way as their command, and
`cai inspect FILE` shows how a file of your own is read. A word in `code` is the reason for a refusal: the row is named
with this reason, and no other row is affected. If a column has another name, use `--column prompt=question`.

An answer that is empty, or contains only spaces and characters without width, can't be compared or learnt from. Every
command that reads answers refuses such a row as `empty_answer`; `cai generate` still takes its prompt. (TRL would train
on it, and learn only when to end.) If the row has two other answers, `cai judge` compares those, and the run lists the
empty one as `empty_response`. The service and the Python API refuse such texts in the same way, but reward whatever a
policy wrote.

A table is read as JSON Lines with the same rows would be. In a table of texts (CSV, a workbook), a cell that is empty,
or `nan`, `NaN` or `<NA>`, has no value. Lists and chats may be written as JSON or as Python prints them, and numbers
with a decimal comma. If both sides of a pair are lists of texts, the row is refused: they can be several answers each,
or one answer that is a list.

"""
_COLUMNS = (
    *("shape", "columns", "`generate`, `align`", "`judge`", "`evaluate judge`"),
    *("`train sft`", "`train dpo`", "`train reward`", "import"),
)
_COMMANDS = ("judge", "evaluate", "sft", "dpo", "reward", "labels")


def table() -> str:
    """Return the page."""
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *(tuple(_cells(case)) for case in CASES)]
    return _HEAD + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(case: Case) -> Iterator[str]:
    yield case.name
    yield ", ".join(dict.fromkeys(name for row in case.rows if isinstance(row, dict) for name in row)) or "none"
    yield _summed("prompt" if outcome.endswith(ASK) else f"`{outcome}`" for outcome in case.generate)
    for command in _COMMANDS:
        yield _summed(_said(outcome) for outcome in getattr(case, command))


def _said(outcome: Any) -> str:
    """Say one outcome: a reason, so many answers, or what kind of example or label."""
    if isinstance(outcome, str):
        return f"`{outcome}`"
    if isinstance(outcome, list):
        return f"{len(outcome)} answers"
    kinds: dict[str, str] = {"Ranked": "ranking", "Rated": "rating", "thumbs": "thumb"}
    name = str(outcome[0])
    return kinds.get(name, name.lower())


def _summed(words: Iterable[str]) -> str:
    counted = Counter(words)
    return ", ".join(word if count == 1 else f"{count} x {word}" for word, count in counted.items())


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
