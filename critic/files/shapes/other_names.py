"""Columns that say what others say, under the names of one source: they are given the common names.

LLaMA-Factory's ``kto_tag`` and BeaverTails' ``is_safe`` are the ``label`` of an answer; Dolly's ``context`` is the
``input`` of an instruction. OpenAI's fine-tuning on preferences has its own names for a prompt and two answers. The
answers of the arena's competition are JSON lists, one text a turn, in strings.
"""

import json
from typing import Any

from critic.files.shapes.base import Columns, Shape, has
from critic.rows import RowError

_TAGS = ("kto_tag", "is_safe")


def _fits_tag(columns: Columns) -> bool:
    # A row that already has a label keeps it; one whose is_safe is null has a label that is missing.
    return sum(name in columns for name in _TAGS) == 1 and columns.keys().isdisjoint(("label", "rating", "chosen"))


def _read_tag(columns: Columns, labels: bool) -> Columns:
    return {("label" if name in _TAGS else name): value for name, value in columns.items()}


def _fits_context(columns: Columns) -> bool:
    return has(columns, "instruction") and isinstance(columns.get("context"), str) and not columns.get("input")


def _read_context(columns: Columns, labels: bool) -> Columns:
    return columns | {"context": None, "input": columns["context"]}


_ARENA = ("prompt", "response_a", "response_b")


def _fits_lists(columns: Columns) -> bool:
    return all(isinstance(columns.get(name), str) and columns[name].startswith("[") for name in _ARENA) and all(
        _texts(columns[name]) is not None for name in _ARENA
    )


def _texts(value: str) -> list[Any] | None:
    """Return a JSON list of texts, some of which may be null."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    is_texts = isinstance(found, list) and found and all(isinstance(text, str | None) for text in found)
    return found if is_texts else None


def _read_lists(columns: Columns, labels: bool) -> Columns:
    asked, *sides = (_texts(columns[name]) or [] for name in _ARENA)
    if any(len(side) != len(asked) for side in sides) or None in (*asked, sides[0][-1], sides[1][-1]):
        raise RowError("bad_responses", "the lists of prompt, response_a and response_b don't have as many texts")
    if len(asked) > 1:
        raise RowError("no_shared_prompt", f"{len(asked)} turns; after the first the sides' own answers differ")
    return columns | {"prompt": asked[0], "response_a": sides[0][0], "response_b": sides[1][0]}


_PREFERENCE = ("input", "preferred_output", "non_preferred_output")


def _fits_preference(columns: Columns) -> bool:
    asked = columns.get("input")
    return isinstance(asked, dict) and isinstance(asked.get("messages"), list) and has(columns, *_PREFERENCE)


def _read_preference(columns: Columns, labels: bool) -> Columns:
    read = {"prompt": columns["input"]["messages"]}
    read |= {"chosen": columns["preferred_output"], "rejected": columns["non_preferred_output"]}
    return columns | dict.fromkeys(_PREFERENCE) | read


PREFERENCE = Shape(
    "OpenAI's preferences", _PREFERENCE, _fits_preference, _read_preference, frozenset(("preferred_output",))
)
TAG = Shape("an answer's label", _TAGS, _fits_tag, _read_tag, frozenset(_TAGS))
CONTEXT = Shape("Dolly", ("instruction", "context"), _fits_context, _read_context, frozenset(("context",)))
LISTS = Shape("the arena's lists", _ARENA, _fits_lists, _read_lists, frozenset(("response_a",)))
