"""Chats that end with an answer, beside the prompt that they begin with: UltraChat's ``prompt`` and ``messages``."""

from typing import Any

from critic.files.shapes.base import Columns, Shape, has
from critic.files.turns import role_of


def _fits(columns: Columns) -> bool:
    prompt, messages = columns.get("prompt"), columns.get("messages")
    if has(columns, "chosen") or has(columns, "responses") or has(columns, "completion"):
        return False
    if not isinstance(prompt, str) or not isinstance(messages, list) or not ends_with_answer(messages):
        return False
    asked = next((turn.get("content", turn.get("value")) for turn in messages if role_of(turn) == "user"), None)
    return isinstance(asked, str) and asked.strip() == prompt.strip()


def ends_with_answer(messages: list[Any]) -> bool:
    """Whether a chat's last turn is the assistant's."""
    return bool(messages) and role_of(messages[-1]) == "assistant"


def _read(columns: Columns, labels: bool) -> Columns:
    return columns | {"prompt": None}


DEMONSTRATION = Shape("chat with its prompt", ("prompt", "messages"), _fits, _read, frozenset(("messages",)))
