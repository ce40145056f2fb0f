"""What belongs to a chat and stands in columns beside it: its system text, and the turns before the question.

``system`` (LLaMA-Factory, pairs of Orca) or ``system_prompt`` (OpenOrca); ``history`` as Alpaca rows of LLaMA-Factory
have it, a list of questions with their answers. Rows come here when the other shapes have read them.
"""

from typing import Any

from critic.files.shapes.base import PROMPTS, Columns, Shape, with_input
from critic.files.turns import role_of
from critic.messages import join_parts
from critic.rows import RowError

SYSTEMS = ("system", "system_prompt")


def _fits(columns: Columns) -> bool:
    return bool(_system(columns) or isinstance(columns.get("history"), list))


def _system(columns: Columns) -> str | None:
    for name in SYSTEMS:
        text = columns.get(name)
        if isinstance(text, list):  # Anthropic's, as blocks of text
            text = _joined(text, name)
        if isinstance(text, str) and text.strip():
            return text
        if text is not None and not isinstance(text, str):
            raise RowError("bad_prompt", f"{name} is {text!r:.40}; expected a text")
    return None


def _joined(blocks: list[Any], name: str) -> str:
    try:
        return str(join_parts(blocks))
    except ValueError as error:
        raise RowError("bad_prompt", f"{name}: {error}") from None


def _read(columns: Columns, labels: bool) -> Columns:
    before = [*_system_turn(columns), *_earlier(columns.get("history"))]
    read = columns | dict.fromkeys((*SYSTEMS, "history"))
    read |= {side: _begun(columns[side], before) for side in ("chosen", "rejected") if side in columns}
    name = next((name for name in PROMPTS if columns.get(name) is not None), None)
    if name is None:
        return read
    if name == "messages":
        return read | {name: _begun(columns[name], before)}
    asked = _asked(columns, name)
    begun = asked if _is_system(asked[0]) else [*before, *asked]
    return read | dict.fromkeys(PROMPTS) | {"prompt": begun}


def _system_turn(columns: Columns) -> list[Any]:
    text = _system(columns)
    return [] if text is None else [{"role": "system", "content": text}]


def _earlier(history: object) -> list[Any]:
    """Return the turns of pairs of a question and its answer. Raises `RowError`."""
    turns = []
    for pair in history if isinstance(history, list) else []:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowError("bad_prompt", "history is not a list of pairs of a question and its answer")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return turns


def _begun(value: object, before: list[Any]) -> object:
    """Return a chat with the turns ``before`` it; an answer alone, and a chat with a system text of its own, as is."""
    if not isinstance(value, list) or not value or _is_system(value[0]):
        return value
    is_answer = len(value) == 1 and role_of(value[0]) == "assistant"
    return value if is_answer else [*before, *value]


def _asked(columns: Columns, name: str) -> list[Any]:
    value = columns[name]
    if isinstance(value, list) and value:
        return value
    if not isinstance(value, str):
        raise RowError("bad_prompt", f"{name} is neither a string nor a list of messages")
    more = columns.get("input") if name == "instruction" else None
    return [{"role": "user", "content": with_input(value, more) if more else value}]


def _is_system(turn: object) -> bool:
    return role_of(turn) == "system"


TURNS_APART = Shape(
    "turns apart", (*SYSTEMS, "history", *PROMPTS, "chosen", "rejected"), _fits, _read, frozenset((*SYSTEMS, "history"))
)
