"""Chats under the names of ShareGPT (``conversations`` of ``from`` and ``value``), and OpenAI's in ``conversation``.

A preference may come beside one, in ``chosen`` and ``rejected`` with the same keys.
"""

import json
from typing import Any

from critic.files.shapes.base import Columns, Shape, has
from critic.rows import RowError

NAMES = ("conversations", "conversation")
ROLES = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "observation": "tool",
}
_CALL = "function_call"  # a turn of its own, whose text is the call as JSON


def _fits(columns: Columns) -> bool:
    return any(has(columns, name) for name in NAMES) and not has(columns, "prompt") and not has(columns, "messages")


def _read(columns: Columns, labels: bool) -> Columns:
    name = next(name for name in NAMES if has(columns, name))
    turns = _chat(columns[name], name)
    sides = {side: _side(columns[side], side) for side in ("chosen", "rejected") if has(columns, side)}
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
    return [turn_of(turn) for turn in value]


def _side(value: object, name: str) -> object:
    if isinstance(value, dict):
        return turn_of(value)
    return _chat(value, name) if isinstance(value, list) else value


def turn_of(turn: Any) -> Any:
    """Return a turn with ``role`` and ``content``; one that has them, or is no object, as it is. Raises `RowError`."""
    if not isinstance(turn, dict) or "from" not in turn:
        if isinstance(turn, dict) and "role" in turn and "content" in turn:
            # Real sets keep a date, a language, a verdict of a filter in each turn: these say nothing to a model.
            return {name: turn[name] for name in _KEPT if name in turn}
        return turn
    role = turn["from"]
    if role == _CALL:
        return {"role": "assistant", "content": None, "tool_calls": [_called(turn.get("value"))]}
    if not isinstance(role, str) or role not in ROLES:
        raise RowError("role_order", f"a turn from {str(role)[:40]!r}; expected human and gpt, or user and assistant")
    # A missing value stays missing: it is no empty text.
    return {"role": ROLES[role]} | ({"content": turn["value"]} if "value" in turn else {})


def _called(value: object) -> dict[str, Any]:
    """Return a tool call in OpenAI's form. Raises `RowError`."""
    try:
        call = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        call = None
    if not isinstance(call, dict) or "name" not in call:
        raise RowError("bad_prompt", "a function_call is no JSON object with name and arguments")
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", "function": {"name": call["name"], "arguments": text}}


_KEPT = ("role", "content", "tool_calls", "tool_call_id", "name")

SHAREGPT = Shape("chat turns", (*NAMES, "chosen", "rejected"), _fits, _read, frozenset(NAMES))
