"""Lists and chats where a file could hold only a text, or stood them by their columns: read as what they are.

CSV and spreadsheets know texts alone, and many a Parquet or JSON file holds a chat as a text, too: as JSON, or as
Python writes a list, which pandas does. Taken for a text, such a chat would be an answer that begins with brackets. The
library `datasets` makes an object of lists of a list of objects.
"""

import ast
import io
import json
import re
import tokenize
from typing import Any

from critic.files.shapes.base import NUMBERS, are_texts, number
from critic.files.shapes.unread import NEITHER
from critic.files.turns import CHATS, ROLES, role_of
from critic.rows import RowError

_OPENS = ("[", "{")
_BEGINS = re.compile(r"""\[?\s*\{\s*['"](role|from|content|value)['"]\s*:""")
_LISTED = re.compile(r"""[\[{]\s*(?:[\[{'"\d\]}-]|[Nn]|[Tt]|[Ff])""")  # what may be a list of values, and no "[1] says"
_SPEAKS = re.compile(r"""['"](?:role|from)['"]\s*:\s*['"](\w+)['"]""")
_SPEAKERS = tuple(set(ROLES.values()))
_MOST = 2**20  # characters of Python's writing, whose parser takes hundreds of bytes for each
_LISTS = frozenset(
    (
        *("messages", "conversations", "conversation", "responses", "models", "ranks", "scale", "tags", "history"),
        *("generations", "generation_models", "ratings", "completions", "answers", "steps", "options", "accept"),
        *("by_principle", "deciding"),
    )
)
"""Columns whose values are read as lists."""
_OBJECTS = frozenset(("prompt", "question", "label", "input"))
_ASKED = {"problem": str, "full_text": str, "steps": list}
"""What says of an object that it is a question, or a label of steps, and no answer in JSON."""
_BY_COLUMNS = frozenset((*CHATS, "answers")) - {"responses"}  # Argilla's are by question
_OF_OBJECTS = frozenset(("role", "from", "response", "answer", "completion"))


def unfolded(columns: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its lists, chats and numbers as such. Raises `RowError` for a chat that can't be read."""
    read: dict[str, Any] = {}
    for name, value in columns.items():
        if type(value) is str:  # as most, of millions of rows
            if value.startswith(_OPENS):
                inner = _inner(name, value)
            elif name in NUMBERS:
                inner = number(value)
            else:
                continue
        elif type(value) is dict and name in _BY_COLUMNS:
            inner = _rows(value)
        else:
            continue
        if inner is not None:
            read[name] = inner
    return columns | read if read else columns


def _inner(name: str, text: str) -> Any:
    """Return the list or the chat that a text is; None where it is a text. Raises `RowError`."""
    begins = _BEGINS.match(text)
    if begins is None and not (_LISTED.match(text) and (name in _LISTS or name in _OBJECTS)):
        return None
    try:
        value = _parsed(text)
    except ValueError as error:
        if begins is not None and _speaks(text, begins[1]):
            raise RowError("bad_chat", f"{name} holds a chat {error}") from None
        return None
    if isinstance(value, list) and (name in _LISTS or any(map(_is_turn, value))):
        return value
    if name in _OBJECTS and isinstance(value, dict):
        asks = name != "prompt" and any(isinstance(value.get(key), kind) for key, kind in _ASKED.items())
        return value if asks or _holds_chat(value) else _turns(value)
    if isinstance(value, dict) and name in _BY_COLUMNS and (rows := _rows(value)) is not None:
        return rows
    return _turns(value)


def refuse_lists(columns: dict[str, Any]) -> None:
    """Raise `RowError` where both sides of a pair are lists of texts, in a file that knows texts alone.

    RewardBench 2 has lists there, and answers to a question for a list look the same.
    """
    sides = [columns.get(side) for side in ("chosen", "rejected")]
    if all(isinstance(side, str) and side.startswith("[") and _are_listed(side) for side in sides):
        raise RowError(
            "bad_responses",
            "chosen and rejected are lists of texts: several answers each, or one that is a list. Save the table as "
            "JSON Lines or Parquet, which tell them apart",
        )


def _are_listed(text: str) -> bool:
    try:
        return are_texts(_parsed(text))
    except ValueError:
        return False


def _holds_chat(value: dict[str, Any]) -> bool:
    """Whether an object is a request, or a prompt of feedback: its messages are a chat."""
    messages = value.get("messages")
    return isinstance(messages, list) and bool(messages) and all(map(_is_turn, messages))


def _turns(value: Any) -> list[Any] | None:
    return [value] if _is_turn(value) else None


def _speaks(text: str, key: str) -> bool:
    """Whether what can't be read is a chat: one of its speakers is known, or it breaks off before the first."""
    speaker = _SPEAKS.search(text)
    return key in ("role", "from") if speaker is None else speaker[1].casefold() in ROLES


def _is_turn(value: object) -> bool:
    """Whether a value is a turn of a chat. Answers in JSON may have a role, or a value, too."""
    is_said = isinstance(value, dict) and not value.keys().isdisjoint(("content", "value", "tool_calls"))
    return is_said and role_of(value) in _SPEAKERS


def _parsed(text: str) -> Any:
    """Return the value of JSON, or of Python's writing. Raises ValueError with what is wrong, to be said after what."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if len(text) > _MOST:
            raise ValueError(f"of over {_MOST:,} characters that isn't JSON") from None
    try:
        value = ast.literal_eval(text)
        if not _joins_strings(text):
            return value
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    raise ValueError(NEITHER)


def _joins_strings(text: str) -> bool:
    """Whether two strings follow each other, which is one for Python: NumPy writes no commas between them."""
    before = None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == before == tokenize.STRING:
            return True
        before = before if token.type == tokenize.NL else token.type
    return False


def _rows(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the objects that an object of lists stands for; None for any other."""
    lists = list(value.values())
    if _OF_OBJECTS.isdisjoint(value) or not all(isinstance(one, list) and len(one) == len(lists[0]) for one in lists):
        return None
    return [dict(zip(value, cells, strict=True)) for cells in zip(*lists, strict=True)]
