"""Chats under the names of ShareGPT (``conversations`` of ``from`` and ``value``), and OpenAI's in ``conversation``.

Capybara's are rounds of ``input`` and ``output``. A preference may come beside one, in ``chosen`` and
``rejected`` with the same keys.
"""

import json
from typing import Any

from critic.files.shapes.base import Columns, Shape, has
from critic.rows import RowError

NAMES = ("conversations", "conversation")
_SIDES = ("chosen", "rejected")


def _fits(columns: Columns) -> bool:
    return any(has(columns, name) for name in NAMES) and not has(columns, "prompt") and not has(columns, "messages")


def _read(columns: Columns, labels: bool) -> Columns:
    name = next(name for name in NAMES if has(columns, name))
    turns = _said_in_rounds(_chat(columns[name], name))
    if turns is None:
        turns = _chat(columns[name], name)
    elif all(isinstance(columns.get(side), list) for side in _SIDES):
        return columns | {name: None}  # both sides are whole chats
    sides = {side: _side(columns[side], side) for side in _SIDES if has(columns, side)}
    # Beside answers the chat is their prompt, and must end with a question.
    return columns | {name: None, ("prompt" if sides else "messages"): turns} | sides


def _chat(value: object, name: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowError("broken_line", f"{name} is a string that isn't JSON; expected a list of turns") from None
    if not isinstance(value, list):
        raise RowError("bad_prompt", f"{name} is not a list of turns")
    return value


def _said_in_rounds(rounds: list[Any]) -> list[Any] | None:
    """Return the turns of rounds of ``input`` and ``output``; None where a chat's turns stand alone."""
    if not rounds or not all(isinstance(one, dict) and {"input", "output"} <= one.keys() for one in rounds):
        return None
    turns = []
    for one in rounds:
        turns += [{"role": "user", "content": one["input"]}, {"role": "assistant", "content": one["output"]}]
    return turns


def _side(value: object, name: str) -> object:
    return _chat(value, name) if isinstance(value, list) else value


SHAREGPT = Shape("chat turns", (*NAMES, "chosen", "rejected"), _fits, _read, frozenset(NAMES))
