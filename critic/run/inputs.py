"""What a run reads: prompts, or prompts with the responses to judge. One bad row costs itself only.

A prompt is the first of the columns `PROMPT_COLUMNS` that a row has: a string, or chat messages with earlier turns.
``instruction`` takes a non-empty ``input`` along, after an empty line. ``tags`` (a list, or a string with commas) and
``id`` are optional. In CSV, ``messages`` and ``responses`` hold JSON. Other columns are ignored.

Responses are ``responses`` (2 or more), or ``chosen`` and ``rejected``, or ``output_1`` and ``output_2``: each a
string, an assistant message, or a chat that ends with one. Such a chat may carry the prompt (TRL's implicit prompt):
all before its last message, the same on every side.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from pydantic import ValidationError

from constitution.errors import InputError
from critic.records import Item, Line, Message, Prompt, Quarantined, Response
from critic.run import sources
from critic.run.sources import Broken, open_source

PROMPT_COLUMNS = ("prompt", "messages", "instruction", "question", "text", "input")
RESPONSE_COLUMNS = (("responses",), ("chosen", "rejected"), ("output_1", "output_2"))
JSON_COLUMNS = ("messages", "responses")

THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # of a message, as servers and templates name them
Messages = tuple[Message, ...]
Unread = Callable[[], Line | Quarantined]


class RowError(Exception):
    """A row that can't be used. Becomes a `Quarantined` with ``reason`` and ``detail``."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


class _Limit(NamedTuple):
    max_chars: int
    truncate: bool


_Parse = Callable[[dict[str, Any], _Limit], tuple[Item, int]]


def read_prompts(source: str, *, max_chars: int, truncate: bool) -> Iterator[Line | Quarantined]:
    """Read prompts from a file, ``-`` or a dataset: see `critic.run.sources.open_source`.

    A prompt of more than ``max_chars`` characters, all turns together, is quarantined; with ``truncate`` its last
    user message is cut at its end to fit, and ``Line.cut`` says by how much. Raises `InputError`, at the call, where
    the whole input can't be used; a row that can't is yielded as `Quarantined`. Blank lines are no rows.
    """
    return (read() for read in open_prompts(source, max_chars=max_chars, truncate=truncate))


def open_prompts(source: str, *, max_chars: int, truncate: bool) -> Iterator[Unread]:
    """Like `read_prompts`, with a function a row that reads it, so that rows can be stepped over."""
    return _open(source, _prompt_item, _Limit(max_chars, truncate), [[column] for column in PROMPT_COLUMNS])


def read_pairs(source: str, *, max_chars: int, truncate: bool) -> Iterator[Line | Quarantined]:
    """Read prompts with two or more responses each, as `read_prompts` does.

    A response of more than ``max_chars`` is quarantined even with ``truncate``: a label would be another text's.
    """
    return (read() for read in open_pairs(source, max_chars=max_chars, truncate=truncate))


def open_pairs(source: str, *, max_chars: int, truncate: bool) -> Iterator[Unread]:
    """Like `read_pairs`, with a function a row that reads it, so that rows can be stepped over."""
    return _open(source, _pairs_item, _Limit(max_chars, truncate), [list(columns) for columns in RESPONSE_COLUMNS])


def read_labelled(source: str, *, max_chars: int) -> Iterator[Line | Quarantined]:
    """Read prompts with two answers: the one that people called better (``chosen``), then the other (``rejected``)."""
    opened = _open(source, _labelled_item, _Limit(max_chars, truncate=False), [["chosen", "rejected"]])
    return (read() for read in opened)


def _open(source: str, parse: _Parse, limit: _Limit, wanted: list[list[str]]) -> Iterator[Unread]:
    opened = open_source(source)
    if opened.columns is not None and not any(set(columns) <= set(opened.columns) for columns in wanted):
        names = "; ".join(" and ".join(columns) for columns in wanted)
        found = ", ".join(opened.columns)
        raise InputError(f"none of the columns that are read: {found}", where=opened.name, fix=f"Name one of: {names}.")
    first = next(opened.unread, None)
    if first is None:
        raise InputError("the input is empty", where=opened.name, fix="Give at least one row.")
    return (partial(_line, number, read, parse, limit) for number, read in enumerate(chain([first], opened.unread)))


def _line(number: int, read: sources.Unread, parse: _Parse, limit: _Limit) -> Line | Quarantined:
    raw = read()
    if isinstance(raw, Broken):
        return Quarantined(row=number, where=raw.where, reason=raw.reason, detail=raw.detail)
    try:
        item, cut = parse({column: value for column, value in raw.columns.items() if value is not None}, limit)
    except RowError as error:
        detail = error.detail.replace("\0", "").encode("utf-8", "replace").decode()  # it may quote a key of the row
        return Quarantined(row=number, where=raw.where, reason=error.reason, detail=detail)
    return Line(row=number, where=raw.where, item=item, cut=cut)


def _prompt_item(columns: dict[str, Any], limit: _Limit) -> tuple[Item, int]:
    messages = prompt_messages(columns)
    if messages is None:
        raise RowError("no_prompt", f"no prompt; expected one of the columns {', '.join(PROMPT_COLUMNS)}")
    prompt, cut = _prompt(messages, columns, limit)
    return Item(prompt=prompt), cut


def _pairs_item(columns: dict[str, Any], limit: _Limit) -> tuple[Item, int]:
    sides = [side(value) for value in _response_values(columns)]
    if len(sides) < 2:
        raise RowError("too_few_responses", f"{len(sides)} responses; a judgement needs two or more")
    messages = prompt_messages(columns)
    for before, _ in sides:
        if before and messages is None:
            messages = before
        if before and before != messages:
            raise RowError(
                "no_shared_prompt", "the turns before the last message differ between the sides, or from the prompt"
            )
    if messages is None:
        raise RowError("no_prompt", f"no prompt; expected one of {', '.join(PROMPT_COLUMNS)}, or chats that carry it")
    if any(bool(before) != bool(sides[0][0]) for before, _ in sides):
        raise RowError("no_shared_prompt", "one side carries the prompt and another doesn't")
    prompt, cut = _prompt(messages, columns, limit)
    texts = [text for _, text in sides]
    _refuse_characters(*texts)
    if max(map(len, texts)) > limit.max_chars:
        raise RowError(
            "too_long", f"a response of {max(map(len, texts)):,} characters; the limit is {limit.max_chars:,}"
        )
    responses = tuple(Response(text=text, model="given", finish="given") for text in texts)
    return Item(prompt=prompt, responses=responses), cut


def _labelled_item(columns: dict[str, Any], limit: _Limit) -> tuple[Item, int]:
    if not {"chosen", "rejected"} <= columns.keys():
        raise RowError("no_label", "expected chosen, the answer that people called better, and rejected")
    item, cut = _pairs_item({key: columns[key] for key in columns if key != "responses"}, limit)
    if item.responses[0].text == item.responses[1].text:
        raise RowError("equal_sides", "chosen and rejected are the same text")
    return item, cut


def _response_values(columns: dict[str, Any]) -> list[Any]:
    for names in RESPONSE_COLUMNS:
        if all(name in columns for name in names):
            if len(names) == 2:
                return [columns[name] for name in names]
            values = _from_json(columns, names[0])
            if not isinstance(values, list):
                raise RowError("bad_responses", "responses is not a list")
            return values
    raise RowError("no_responses", "no responses; expected responses, or chosen and rejected, or output_1 and output_2")


def side(value: object) -> tuple[Messages, str]:
    """Return (the turns before the last, the response's text). Raises `RowError`."""
    if isinstance(value, str):
        return (), value
    messages = _messages(value if isinstance(value, list) else [value], "bad_responses")
    if not messages or messages[-1].role != "assistant":
        raise RowError("bad_responses", "a response is a string, an assistant message, or a chat that ends with one")
    return messages[:-1], messages[-1].content


def prompt_messages(columns: dict[str, Any]) -> Messages | None:
    """Return the prompt that a row names by one of `PROMPT_COLUMNS`, or None. Raises `RowError`."""
    column = next((name for name in PROMPT_COLUMNS if name in columns), None)
    if column is None:
        return None
    value = _from_json(columns, column)
    if isinstance(value, list):
        return _messages(value, "bad_prompt")
    if not isinstance(value, str):
        raise RowError("bad_prompt", f"{column} is neither a string nor a list of messages")
    if column == "instruction" and columns.get("input"):
        value = f"{value}\n\n{columns['input']}"
    _refuse_characters(value)
    return (Message(role="user", content=value),)


def _messages(values: list[Any], reason: str) -> Messages:
    """Build messages from objects with ``role`` and ``content``; other keys must be empty."""
    for value in values:
        if isinstance(value, dict):
            _refuse_characters(*(text for text in value.values() if isinstance(text, str)))
    try:
        return tuple(Message.model_validate(_without_empty(value)) for value in values)
    except ValidationError as error:
        raise RowError(reason, f"a message needs a role and a content: {readable(error)}") from None


def _without_empty(value: object) -> object:
    """Drop null keys, which tables give every message that any has, and thoughts: they are no part of a chat."""
    if not isinstance(value, dict):
        return value
    return {key: v for key, v in value.items() if v is not None and key not in THOUGHTS}


def _from_json(columns: dict[str, Any], name: str) -> Any:
    """Return the column, read as JSON where a table without lists had to write one as text."""
    value = columns[name]
    if name in JSON_COLUMNS and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise RowError("broken_line", f"{name} is a string that isn't JSON; expected a list") from None
    return value


def _prompt(messages: Messages, columns: dict[str, Any], limit: _Limit) -> tuple[Prompt, int]:
    """Return the prompt and the number of characters that were cut off it."""
    fitted, cut = _fit(messages, limit)
    tags, identifier = _tags(columns.get("tags", ())), columns.get("id")
    if isinstance(identifier, list | dict):
        raise RowError("bad_prompt", "id is neither a string nor a number")
    identifier = None if identifier is None else str(identifier)
    _refuse_characters(*tags, identifier or "")
    try:
        return Prompt(messages=fitted, tags=tags, id=identifier), cut
    except ValidationError as error:
        reason = "role_order" if fitted and fitted[-1].content.strip() else "empty_prompt"
        raise RowError(reason, readable(error)) from None


def _tags(value: object) -> tuple[str, ...]:
    values = value.split(",") if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(tag, str) for tag in values):
        raise RowError("bad_prompt", "tags is neither a list of strings nor a string with commas")
    return tuple(tag.strip() for tag in values if tag.strip())


def _fit(messages: Messages, limit: _Limit) -> tuple[Messages, int]:
    """Cut the last message at its end so that all of them hold ``max_chars`` characters; earlier turns stay."""
    excess = sum(len(message.content) for message in messages) - limit.max_chars
    if excess <= 0:
        return messages, 0
    found = f"{excess + limit.max_chars:,} characters; the limit is {limit.max_chars:,}"
    if not limit.truncate:
        raise RowError("too_long", f"{found}. Raise --max-chars, or cut long prompts with --truncate")
    last = messages[-1]
    kept = last.content[: max(0, len(last.content) - excess)]
    if not kept.strip():
        raise RowError("too_long", f"{found}, and cutting the last message alone can't reach it")
    return (*messages[:-1], last.model_copy(update={"content": kept})), excess


def _refuse_characters(*texts: str) -> None:
    """Refuse what can't be stored: half a surrogate pair (no UTF-8), and NUL (no database takes it)."""
    for text in texts:
        if "\0" in text:
            raise RowError("bad_characters", "the text holds a NUL character")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RowError("bad_characters", "the text holds half of a surrogate pair, which isn't UTF-8") from None


def readable(error: ValidationError) -> str:
    """Say pydantic's first complaint as a sentence."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
