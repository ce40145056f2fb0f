"""Columns that say what others say, under the names of one source: they are given the common names.

HelpSteer 3 has a chat's turns in ``context``; RewardBench 2 several good and several bad answers in ``chosen`` and
``rejected``, as lists of texts. OpenRLHF's ``score``, where it is true or false, LLaMA-Factory's ``kto_tag`` and
BeaverTails' ``is_safe`` are the ``label`` of an answer, and so is HelpSteer 3's ``fulfilment`` of a principle, whose
edits are an answer before and after; Dolly's ``context`` is the ``input`` of an instruction. OpenAI's fine-tuning on
preferences, NeMo, torchtune and OpenRLHF have their own names for a prompt and two answers. The answers of the arena's
competition are JSON lists, one text a turn, in strings.
"""

import json
from collections.abc import Mapping
from typing import Any

from critic.files.shapes.base import PROMPTS, Columns, Shape, are_texts, has, number
from critic.files.turns import role_of
from critic.rows import RowError

_TAGS = ("kto_tag", "is_safe", "fulfilment")
_SIDES = ("chosen", "rejected")


def _fits_tag(columns: Columns) -> bool:
    # A row that already has a label keeps it; one whose is_safe is null has a label that is missing.
    return sum(name in columns for name in _TAGS) == 1 and columns.keys().isdisjoint(("label", "rating", "chosen"))


def _read_tag(columns: Columns, labels: bool) -> Columns:
    return {("label" if name in _TAGS else name): _said(name, value) for name, value in columns.items()}


def _said(name: str, value: Any) -> Any:
    """Return a value; of ``fulfilment`` Yes and No as truth values, and another word as it is, to be named."""
    is_word = name == "fulfilment" and isinstance(value, str)
    return _FULFILLED.get(value.strip().casefold(), value) if is_word else value


_FULFILLED = {"yes": True, "no": False}


_ANSWERS = ("completion", "response", "output", "answer")
_LABELLED = ("label", "rating", "chosen", "responses", *_TAGS)


def _fits_score(columns: Columns) -> bool:
    # A number may be of any scale, and is no label unless a person says so; a truth value is one.
    score = columns.get("score")
    is_truth = isinstance(score, bool) or (isinstance(score, str) and score.strip().casefold() in ("true", "false"))
    is_one = sum(has(columns, name) for name in _ANSWERS) == 1
    return is_truth and is_one and columns.keys().isdisjoint(_LABELLED)


def _read_score(columns: Columns, labels: bool) -> Columns:
    return {("label" if name == "score" else name): value for name, value in columns.items()}


def score_hint(columns: Mapping[str, Any]) -> str:
    """Say how a number may be a label, where labels are wanted: nobody can tell that from a row."""
    if number(columns.get("score")) is None:
        return ""
    return f"; {_AS_LABEL}"


_AS_LABEL = "if score says that an answer is good (1) or bad (0), give --column label=score"


def refuse_score(columns: Mapping[str, Any]) -> None:
    """Raise `RowError` for an answer with a score that is no label: nobody said that it is one to be imitated."""
    if "score" in columns:
        said = f"score is {columns['score']!r:.40}, which alone says neither how good the answer is nor to imitate it"
        raise RowError("no_label", f"{said}; {_AS_LABEL}; if each answer is to be imitated, give --column score=")


CONTEXTS = ("context", "context_messages")


def _fits_chat_context(columns: Columns) -> bool:
    return any(map(_are_turns, map(columns.get, CONTEXTS))) and not any(has(columns, name) for name in PROMPTS)


def _are_turns(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(role_of(turn) is not None for turn in value)


def _read_chat_context(columns: Columns, labels: bool) -> Columns:
    name = next(name for name in CONTEXTS if _are_turns(columns.get(name)))
    return columns | {name: None, "prompt": columns[name]}


def _fits_sides(columns: Columns) -> bool:
    return all(are_texts(columns.get(side)) for side in _SIDES)


def _read_sides(columns: Columns, labels: bool) -> Columns:
    good, bad = (columns[side] for side in _SIDES)
    read = columns | dict.fromkeys((*_SIDES, "models")) | {"responses": [*good, *bad]}
    return read | {"ranks": [1] * len(good) + [2] * len(bad)} if labels else read


def _fits_context(columns: Columns) -> bool:
    return has(columns, "instruction") and isinstance(columns.get("context"), str) and not columns.get("input")


def _read_context(columns: Columns, labels: bool) -> Columns:
    return columns | {"context": None, "input": columns["context"]}


_ARENA = ("prompt", "response_a", "response_b")


def _fits_lists(columns: Columns) -> bool:
    return all(_is_list(columns.get(name)) for name in _ARENA)


def _is_list(value: object) -> bool:
    return isinstance(value, str) and value.startswith("[") and _texts(value) is not None


def _texts(value: str) -> list[Any] | None:
    """Return a JSON list of texts, some of which may be null."""
    try:
        texts = json.loads(value)
    except (ValueError, RecursionError):
        return None
    is_texts = isinstance(texts, list) and texts and all(isinstance(text, str | None) for text in texts)
    return texts if is_texts else None


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
    asks = isinstance(asked, dict) and isinstance(asked.get("messages"), list)
    return asks and any(name in columns for name in _PREFERENCE[1:])


def _read_preference(columns: Columns, labels: bool) -> Columns:
    read = {"prompt": columns["input"]["messages"]}
    # A side that is missing is one here, too: what reads pairs says so.
    read |= {own: columns[name] for own, name in zip(_SIDES, _PREFERENCE[1:], strict=True) if name in columns}
    return columns | dict.fromkeys(_PREFERENCE) | read


OTHER_SIDES = (
    *(("edited_response", "original_response"), ("good_edited_response", "bad_edited_response")),
    *(("chosen_response", "rejected_response"), ("chosen_conversations", "rejected_conversations")),
    *(("chosen_messages", "rejected_messages"),),
)
_OTHERS = tuple(name for sides in OTHER_SIDES for name in sides)


def _fits_edits(columns: Columns) -> bool:
    taken = has(columns, "responses") or any(has(columns, side) for side in _SIDES)
    return not taken and any(sides[0] in columns for sides in OTHER_SIDES)


def _read_edits(columns: Columns, labels: bool) -> Columns:
    """Return the edited answer as the better one. Where two edits are compared, what they began as is none of them."""
    better, worse = next(sides for sides in reversed(OTHER_SIDES) if sides[0] in columns)
    # A side that is missing is one here, too: what reads pairs says so.
    sides = {own: columns[name] for own, name in zip(_SIDES, (better, worse), strict=True) if name in columns}
    return {name: value for name, value in columns.items() if name not in _OTHERS} | sides


EDITS = Shape("sides by other names", _OTHERS, _fits_edits, _read_edits, frozenset(_OTHERS))
PREFERENCE = Shape("OpenAI's preferences", _PREFERENCE, _fits_preference, _read_preference, frozenset(_PREFERENCE[1:]))
SCORE = Shape("an answer's score", ("score",), _fits_score, _read_score, frozenset(("score",)))
TAG = Shape("an answer's label", _TAGS, _fits_tag, _read_tag, frozenset(_TAGS))
CONTEXT = Shape("Dolly", ("instruction", "context"), _fits_context, _read_context, frozenset(("context",)))
CHAT_CONTEXT = Shape("a chat as context", CONTEXTS, _fits_chat_context, _read_chat_context, frozenset(CONTEXTS))
SIDES = Shape("several good and bad", _SIDES, _fits_sides, _read_sides, frozenset(("chosen",)))
LISTS = Shape("the arena's lists", _ARENA, _fits_lists, _read_lists, frozenset(("response_a",)))
