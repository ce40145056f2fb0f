"""Transcripts: texts with turns after ``Human:`` and ``Assistant:``, each after an empty line, as HH-RLHF has them.

They stand in ``chosen`` and ``rejected``, which hold the prompt, and in ``prompt``, which ends with ``Assistant:``.
Guanaco's have ``### Human:`` and ``### Assistant:``, in ``text``.
"""

import re
from typing import Any

from critic.files.shapes.base import PROMPTS, Columns, Shape, has
from critic.messages import is_blank
from critic.rows import RowError

_TURN = re.compile(r"(?:\r?\n\r?\n|\A)(Human|Assistant):")
_ASKS = re.compile(r"\r?\n\r?\nAssistant:\s*\Z")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_SIDES = ("chosen", "rejected")


def answered(transcript: str) -> list[dict[str, Any]]:
    """Return a transcript's turns as chat messages that end with an answer. Raises `RowError`."""
    turns = _turns(transcript)
    if turns[-1]["role"] != "assistant" or is_blank(turns[-1]["content"]):
        raise RowError("empty_answer", "the last turn is not an answer, or is empty")
    return turns


def asked(transcript: str) -> list[dict[str, Any]]:
    """Return the turns of a transcript that ends with ``Assistant:``, as chat messages. Raises `RowError`."""
    return _turns(_ASKS.sub("", transcript))


def _turns(transcript: str) -> list[dict[str, Any]]:
    """Return the turns; two of one side in a row are one, as the people who wrote them went on."""
    start, *parts = _TURN.split(transcript.lstrip())
    if start.strip() or not parts:
        raise RowError("unknown_format", "the text doesn't begin with 'Human:', after an empty line or none")
    turns: list[dict[str, Any]] = []
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        content = text.removeprefix(" ")
        if turns and turns[-1]["role"] == _ROLES[name]:
            turns[-1]["content"] = "\n\n".join(part for part in (turns[-1]["content"], content) if part.strip())
        else:
            turns.append({"role": _ROLES[name], "content": content})
    return turns


def _is_transcript(value: object) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("Human:")


def _asks(value: Any) -> bool:
    return _is_transcript(value) and bool(_ASKS.search(value))


def _fits(columns: Columns) -> bool:
    if has(columns, "prompt"):
        return _asks(columns["prompt"])
    return any(_is_transcript(columns.get(side)) for side in _SIDES)


def _read(columns: Columns, labels: bool) -> Columns:
    if not has(columns, "prompt"):
        return columns | {side: answered(columns[side]) for side in _SIDES if isinstance(columns.get(side), str)}
    # Answers to such a prompt begin after a space, as the transcript goes on.
    answers = {side: columns[side].removeprefix(" ") for side in _ANSWERS if isinstance(columns.get(side), str)}
    return columns | answers | {"prompt": asked(columns["prompt"])}


_MARKED = re.compile(r"\s*### ?(Human|Assistant): ?")


def _fits_text(columns: Columns) -> bool:
    text = columns.get("text")
    begins = isinstance(text, str) and text.lstrip().startswith("### Human:")
    return begins and not any(has(columns, name) for name in PROMPTS if name != "text")


def _read_text(columns: Columns, labels: bool) -> Columns:
    _, *parts = _MARKED.split(columns["text"])
    turns = [{"role": _ROLES[name], "content": said} for name, said in zip(parts[::2], parts[1::2], strict=True)]
    return columns | {"text": None, "messages": turns}


_ANSWERS = (*_SIDES, "completion", "response")

TRANSCRIPTS = Shape("transcripts", ("prompt", *_ANSWERS), _fits, _read, frozenset(("prompt", *_SIDES)))
MARKED = Shape("marked turns", ("text",), _fits_text, _read_text, frozenset(("text",)))
