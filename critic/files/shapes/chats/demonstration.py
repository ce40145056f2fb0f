"""Chats that end with an answer, beside the prompt that they begin with: UltraChat's ``prompt`` and ``messages``."""

from typing import Any

from critic.files.shapes.base import Columns, Shape, has


def _fits(columns: Columns) -> bool:
    prompt, messages = columns.get("prompt"), columns.get("messages")
    if has(columns, "chosen") or has(columns, "responses") or has(columns, "completion"):
        return False
    if not isinstance(prompt, str) or not isinstance(messages, list) or not ends_with_answer(messages):
        return False
    asked = next((m.get("content") for m in messages if isinstance(m, dict) and m.get("role") == "user"), None)
    return isinstance(asked, str) and asked.strip() == prompt.strip()


def ends_with_answer(messages: list[Any]) -> bool:
    """Whether a chat's last turn is the assistant's."""
    return bool(messages) and isinstance(messages[-1], dict) and messages[-1].get("role") == "assistant"


def _read(columns: Columns, labels: bool) -> Columns:
    return columns | {"prompt": None}


DEMONSTRATION = Shape("chat with its prompt", ("prompt", "messages"), _fits, _read, frozenset(("messages",)))
