"""Prompts that are a whole chat in one text, with marks between its turns: NeMo's are read, a model's are refused.

NeMo-Aligner's have ``<extra_id_0>System`` and ``<extra_id_1>User`` before each turn, and end with that of the answer;
HelpSteer 2's of several turns begin with the first question itself. What a chat template wrote is in some model's own
marks: told another model, it would be a text with these marks in it.
"""

import re
from typing import Any

from critic.files.shapes.base import PROMPTS, Columns, Shape, has
from critic.rows import RowError

_MARK = re.compile(r"\n?<extra_id_[01]>(\w+)\n")
_END = "<extra_id_1>"
_ROLES = {"System": "system", "User": "user", "Assistant": "assistant"}
_ANSWERS = ("chosen", "rejected", "completion", "response")

# How chat templates begin, and what they write where the answer goes on.
_RENDERED = re.compile(
    r"\s*(<s>|<bos>|<\|begin_of_text\|>)?\s*(<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|\[INST\]|<\|user\|>)"
)
_ASKS = re.compile(
    r"(<\|im_start\|>assistant|<\|start_header_id\|>assistant<\|end_header_id\|>|<start_of_turn>model|\[/INST\]"
    r"|<\|assistant\|>)\s*\Z"
)


def _fits(columns: Columns) -> bool:
    asked = columns.get("prompt")
    return isinstance(asked, str) and _END in asked and bool(_MARK.search(asked))


def _read(columns: Columns, labels: bool) -> Columns:
    answers: Columns = {}
    for name in _ANSWERS:
        if isinstance(columns.get(name), str):
            answers[name] = columns[name].removesuffix(_END).removesuffix("\n")
    return columns | answers | {"prompt": _turns(columns["prompt"])}


def _turns(prompt: str) -> list[dict[str, Any]]:
    """Split a prompt at its marks; what stands before the first is the user's. Raises `RowError` for other speakers."""
    first, *parts = _MARK.split(prompt)
    said = [("User", first)] if first.strip() else []
    said += zip(parts[::2], parts[1::2], strict=True)
    if said[-1][0] == "Assistant" and not said[-1][1].strip():
        said.pop()  # where the answer goes on
    if unknown := [speaker for speaker, _ in said if speaker not in _ROLES]:
        raise RowError("bad_prompt", f"a turn between marks is of {unknown[0][:40]!r}; expected {', '.join(_ROLES)}")
    turns = [{"role": _ROLES[speaker], "content": text} for speaker, text in said]
    return [turn for turn in turns if turn["role"] != "system" or turn["content"].strip()]


def _is_rendered(columns: Columns) -> bool:
    for name in PROMPTS:
        if (asked := columns.get(name)) is not None:
            return isinstance(asked, str) and _is_whole(asked, name, columns)
    sides = [columns.get(side) for side in ("chosen", "rejected")]
    return all(isinstance(side, str) and _RENDERED.match(side) for side in sides)


def _is_whole(asked: str, name: str, columns: Columns) -> bool:
    """Whether a text is a chat that a template wrote, up to where the answer goes on; ``text`` may hold it, too."""
    if not _RENDERED.match(asked):
        return False
    return bool(_ASKS.search(asked)) or (name == "text" and not has(columns, "input"))


def _refuse(columns: Columns, labels: bool) -> Columns:
    raise RowError(
        "rendered_chat", "the text is a chat in the marks of a model's template; give its messages, or its prompt alone"
    )


NEMO = Shape("turns between marks", ("prompt", *_ANSWERS), _fits, _read, frozenset(("prompt",)))
RENDERED = Shape("rendered chats", PROMPTS, _is_rendered, _refuse, frozenset((*PROMPTS, "chosen")))
