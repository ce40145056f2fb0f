"""Anthropic's messages, whose contents are lists of blocks: calls of tools and their results as turns of their own.

A tool's result stands in the user's message there, and a call in the assistant's, beside what it says. What the model
thought is left out, and counted where files are read (`critic.files.turns.thoughts_in`).
"""

from collections.abc import Iterable
from typing import Any

from critic.rows import RowError

THOUGHT = ("thinking", "redacted_thinking")
_CALL, _RESULT = "tool_use", "tool_result"
_KNOWN = frozenset((*THOUGHT, _CALL, _RESULT))


def kind_of(block: object) -> object:
    """Return the type of a part of a content; None for what says none."""
    return block.get("type") if isinstance(block, dict) else None


def in_turns(turn: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the turns that one whose content is a list says: itself, where it has text alone. Raises `RowError`."""
    blocks: list[Any] = turn["content"]
    kinds = {kind_of(block) for block in blocks if not isinstance(block, str)}
    if _KNOWN.isdisjoint(kind for kind in kinds if isinstance(kind, str)):
        return [turn]
    results = [_result(block) for block in blocks if kind_of(block) == _RESULT]
    calls = [_call(block) for block in blocks if kind_of(block) == _CALL]
    said = [block for block in blocks if kind_of(block) not in _KNOWN]
    if not said and not calls and results:
        return results
    own = turn | {"content": said or None} | ({"tool_calls": calls} if calls else {})
    return [*results, own]


def _call(block: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(block.get("name"), str) or "input" not in block:
        raise RowError("bad_prompt", "a tool_use has no name or no input")
    called = {"type": "function", "function": {"name": block["name"], "arguments": block["input"]}}
    return called | ({"id": block["id"]} if block.get("id") is not None else {})


def _result(block: dict[str, Any]) -> dict[str, Any]:
    content = block.get("content")
    if content is None:
        raise RowError("bad_prompt", "a tool_result holds no content")
    answer = {"role": "tool", "content": content}
    return answer | ({"tool_call_id": block["tool_use_id"]} if block.get("tool_use_id") is not None else {})


def thoughts(content: Iterable[object]) -> int:
    """Return 1 where a content has blocks of what a model thought, else 0."""
    return int(any(kind_of(block) in THOUGHT for block in content))
