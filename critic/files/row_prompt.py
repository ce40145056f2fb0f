"""A row's prompt, from its messages and its columns: within a number of characters, with its tags and its id."""

from typing import Any, NamedTuple

from pydantic import ValidationError

from critic.messages import is_blank
from critic.records import Message, Prompt
from critic.rows import RowError


class Limit(NamedTuple):
    """How many characters a prompt may have, and whether a longer one is cut."""

    max_chars: int
    truncate: bool


def prompt_of(messages: tuple[Message, ...], columns: dict[str, Any], limit: Limit) -> tuple[Prompt, int]:
    """Return the prompt and the number of characters that were cut off it."""
    fitted, cut = _fit(messages, limit)
    tags = _tags(columns["tags"]) if "tags" in columns else ()
    identifier = columns.get("id")
    if identifier is not None:
        if isinstance(identifier, list | dict) or identifier != identifier:  # the latter is not a number
            raise RowError("bad_prompt", "id is neither a string nor a number")
        identifier = str(identifier)
        refuse_characters(identifier)
    if fitted and fitted[-1].role == "user" and is_blank(fitted[-1].content):
        raise RowError("empty_prompt", "the last user message is empty")
    try:
        if not tags and identifier is None:
            return Prompt(messages=fitted), cut  # as most: each value that is named is looked at
        return Prompt(messages=fitted, tags=tags, id=identifier), cut
    except ValidationError as error:
        reason = "role_order" if fitted and fitted[-1].content.strip() else "empty_prompt"
        raise RowError(reason, readable(error)) from None


_NO_TAGS = "tags is neither a list of strings nor a string with commas"


def _tags(value: object) -> tuple[str, ...]:
    values = value.split(",") if isinstance(value, str) else value
    if not isinstance(values, list | tuple):
        raise RowError("bad_prompt", _NO_TAGS)
    tags = []
    for tag in values:
        if not isinstance(tag, str):
            raise RowError("bad_prompt", _NO_TAGS)
        if stripped := tag.strip():
            tags.append(stripped)
    refuse_characters(*tags)
    return tuple(tags)


def _fit(messages: tuple[Message, ...], limit: Limit) -> tuple[tuple[Message, ...], int]:
    """Cut the last message at its end so that all of them hold ``max_chars`` characters; earlier turns stay."""
    excess = -limit.max_chars
    for message in messages:
        excess += len(message.text)
    if excess <= 0:
        return messages, 0
    length = f"{excess + limit.max_chars:,} characters; the limit is {limit.max_chars:,}"
    if not limit.truncate:
        raise RowError("too_long", f"{length}. Raise --max-chars, or cut long prompts with --truncate")
    last = messages[-1]
    kept = last.content[: max(0, len(last.content) - excess)]
    if is_blank(kept):
        raise RowError("too_long", f"{length}, and cutting the last message alone can't reach it")
    return (*messages[:-1], last.model_copy(update={"content": kept})), excess


def refuse_characters(*texts: str) -> None:
    """Refuse what can't be stored: half a surrogate pair (no UTF-8), and NUL (no database takes it)."""
    for text in texts:
        if "\0" in text:
            raise RowError("bad_characters", "the text holds a NUL character")
        if text.isascii():
            continue  # known without looking at the text, and true of most
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
