"""Chats that end with an answer, beside the prompt that they begin with: UltraChat's ``prompt`` and ``messages``.

OpenAI's fine-tuning and Axolotl mark answers that are not to be learnt, with a ``weight`` of 0 or ``train`` that is
false: a chat whose last answer is one shows nothing to imitate.
"""

from typing import Any

from critic.files.shapes.base import Columns, Shape, has
from critic.files.turns import role_of
from critic.rows import RowError


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


def _is_left_out(columns: Columns) -> bool:
    messages = columns.get("messages")
    if not isinstance(messages, list) or not ends_with_answer(messages):
        return False
    last = messages[-1]
    return any(last.get(mark) is not None and not last[mark] for mark in _LEARNT)


def _refuse_left_out(columns: Columns, labels: bool) -> Columns:
    if labels:
        raise RowError("not_to_learn", "the chat's last answer is marked as one that is not to be learnt")
    return columns


_LEARNT = ("weight", "train", "training")
LEFT_OUT = Shape("an answer not to be learnt", ("messages",), _is_left_out, _refuse_left_out, frozenset(("messages",)))
DEMONSTRATION = Shape("chat with its prompt", ("prompt", "messages"), _fits, _read, frozenset(("messages",)))
