"""A row's messages: its prompt's, and those of each answer, with the turns that stand before it."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from critic.files.row_prompt import readable, refuse_characters
from critic.files.shapes.base import PROMPTS as PROMPT_COLUMNS
from critic.files.shapes.base import with_input
from critic.files.turns import is_plain, plain_turns, texts_in
from critic.records import Message
from critic.rows import RowError

JSON_COLUMNS = ("messages", "responses", "ranks", "scale")

Messages = tuple[Message, ...]


def sides_of(values: Sequence[Any]) -> list[tuple[Messages, str]]:
    """Return what `side` does of each value. Turns that several begin with are read once, as the sides of a pair do."""
    sides: list[tuple[Messages, str]] = []
    read: Messages = ()
    before: list[Any] | None = None
    for value in values:
        if not isinstance(value, list) or not value or not all(map(is_plain, value)):
            sides.append(side(value))
            continue
        *turns, last = value
        if last["role"] != "assistant":
            raise RowError("bad_responses", _NO_RESPONSE)
        if turns != before:
            read, before = _of_plain(turns), turns
        refuse_characters(last["content"])
        sides.append((read, last["content"]))
    return sides


_NO_RESPONSE = "a response is a string, an assistant message, or a chat that ends with one"


def side(value: object) -> tuple[Messages, str]:
    """Return (the turns before the last, the response's text). Raises `RowError`."""
    if isinstance(value, str):
        return (), value
    if not isinstance(value, list | dict):
        raise RowError("bad_responses", f"an answer is {value!r:.40}; expected a string, a message or a chat")
    messages = _messages(value if isinstance(value, list) else [value], "bad_responses")
    if not messages or messages[-1].role != "assistant":
        raise RowError("bad_responses", _NO_RESPONSE)
    if messages[-1].tool_calls:
        raise RowError("bad_responses", "a response that calls tools can't be compared: only texts are")
    return messages[:-1], messages[-1].content


def prompt_messages(columns: dict[str, Any]) -> Messages | None:
    """Return the prompt that a row names by one of `PROMPT_COLUMNS`, or None. Raises `RowError`."""
    # Tables that were joined have the columns of all: a null one says nothing.
    for column in PROMPT_COLUMNS:
        if columns.get(column) is not None:
            break
    else:
        return None
    value = listed_value(columns, column)
    if isinstance(value, list):
        return _messages(value, "bad_prompt")
    if not isinstance(value, str):
        raise RowError("bad_prompt", f"{column} is neither a string nor a list of messages")
    if column == "instruction" and columns.get("input"):
        value = with_input(value, columns["input"])
    refuse_characters(value)
    return (Message.of_text("user", value),)


def _messages(values: list[Any], reason: str) -> Messages:
    """Build messages from turns as files have them: see `critic.files.turns`."""
    if all(map(is_plain, values)):
        return _of_plain(values)
    for value in values:
        if not isinstance(value, dict):
            raise RowError(reason, f"a turn is {value!r:.40}; expected an object with a role and a content")
    turns = plain_turns(values)
    refuse_characters(*texts_in(turns))
    try:
        return tuple(Message.model_validate(turn) for turn in turns)
    except ValidationError as error:
        raise RowError(reason, f"a message needs a role and a content: {readable(error)}") from None


def _of_plain(turns: list[dict[str, Any]]) -> Messages:
    refuse_characters(*[turn["content"] for turn in turns])
    return tuple([Message.of_text(turn["role"], turn["content"]) for turn in turns])


def listed_value(columns: dict[str, Any], name: str) -> Any:
    """Return the column, read as JSON where a table without lists had to write one as text."""
    value = columns[name]
    if name in JSON_COLUMNS and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise RowError("broken_line", f"{name} is a string that isn't JSON; expected a list") from None
    return value
