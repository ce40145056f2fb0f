"""Chats in the cells of a table that knows texts alone: as JSON, or as Python writes a list, which pandas does.

Taken for a text, such a cell would be an answer that begins with brackets.
"""

import ast
import json
import re
from typing import Any

_BEGINS = re.compile(r"""\[\s*\{\s*['"](role|content|from|value)['"]\s*:""")
_MOST = 2**20  # characters of Python's writing, whose parser takes hundreds of bytes for each


def is_chat(cell: str) -> bool:
    """Whether a cell begins as a chat does."""
    return bool(_BEGINS.match(cell))


def chat_of(cell: str) -> list[Any]:
    """Return the turns of a cell that `is_chat`. Raises ValueError with what is wrong, to be said after its name."""
    try:
        turns = json.loads(cell)
    except (ValueError, RecursionError):
        turns = _python(cell)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError("that is no list of turns")
    return turns


def with_chats(columns: dict[str, Any]) -> dict[str, Any]:
    """Return a row of texts with the chats among them as lists of turns. Raises ValueError with what is wrong."""
    chats: dict[str, Any] = {}
    for column, cell in columns.items():
        if cell is not None and cell.startswith("[") and is_chat(cell):
            try:
                chats[column] = chat_of(cell)
            except ValueError as error:
                raise ValueError(f"{column} holds a chat {error}") from None
    return columns | chats if chats else columns


def _python(cell: str) -> Any:
    if len(cell) > _MOST:
        raise ValueError(f"of over {_MOST:,} characters that isn't JSON")
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(
            "that is neither JSON nor a list of Python's, as where NumPy wrote it; save the table as JSON Lines or "
            "Parquet, which keep lists"
        ) from None
