"""LLaMA-Factory's data files, import only: preferences and KTO labels, in its three ways of writing a chat.

Those are ``conversations`` (or ``messages``) whose turns have ``from`` and ``value``, or ``role`` and ``content``;
``instruction`` with ``input``, ``system`` and ``history``; and ``chosen_messages`` whose contents are lists of parts.
Parts other than text, and turns of tools, are refused: there is no place for them in a chat here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from critic.feedback import Source
from critic.feedback.base import Columns
from critic.messages import join_parts
from critic.run.inputs import RowError
from service.formats.base import Format, Found, expect_list, expect_text, read_rows
from service.formats.columns import from_columns

_ROLES = {"human": "user", "gpt": "assistant", "system": "system", "user": "user", "assistant": "assistant"}


class LlamaFactoryFormat(Format):
    """See the module's docstring."""

    name: ClassVar[str] = "llama-factory"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    reads: ClassVar[tuple[str, ...]] = ("comparison", "thumbs", "demonstration")

    def read(self, path: Path, source: Source = "human") -> Iterator[Found]:
        """Yield a comparison, thumbs or demonstration for each row."""
        return read_rows(path, source, _from_llama_factory)


def _from_llama_factory(columns: Columns, where: str, source: Source) -> Iterator[Found]:
    if "chosen_messages" in columns:
        sides = {side: _chat(expect_list(columns, f"{side}_messages")) for side in ("chosen", "rejected")}
        return from_columns(sides, where, source)
    prompt = _prompt(columns)
    if {"chosen", "rejected"} <= columns.keys():
        answered = {side: [_answer(columns[side])] for side in ("chosen", "rejected")}
        return from_columns(answered | {"prompt": prompt}, where, source)
    label = {"label": columns["label"]} if "label" in columns else {}
    label |= {"label": columns["kto_tag"]} if "kto_tag" in columns else {}
    if "output" in columns:
        prompt = [*prompt, {"role": "assistant", "content": expect_text(columns, "output")}]
    return from_columns({"completion": prompt, **label}, where, source)


def _prompt(columns: Columns) -> list[Columns]:
    for name in ("conversations", "messages"):
        if name in columns:
            return _system(columns) + _chat(expect_list(columns, name))
    asked = "\n".join(expect_text(columns, name) for name in ("instruction", "input") if columns.get(name))
    past = [
        {"role": role, "content": text}
        for turn in (expect_list(columns, "history") if columns.get("history") else ())
        for role, text in zip(("user", "assistant"), turn if isinstance(turn, list) else (), strict=True)
    ]
    return [*_system(columns), *past, {"role": "user", "content": asked}]


def _system(columns: Columns) -> list[Columns]:
    return [{"role": "system", "content": expect_text(columns, "system")}] if columns.get("system") else []


def _chat(turns: list[Any]) -> list[Columns]:
    return [_message(turn) for turn in turns]


def _answer(value: object) -> Columns:
    return {"role": "assistant", "content": value} if isinstance(value, str) else _message(value)


def _message(turn: Any) -> Columns:
    if not isinstance(turn, dict):
        raise RowError("bad_prompt", "a turn is not an object with a role and a text")
    role, text = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role not in _ROLES:
        raise RowError("role_order", f"a turn of {str(role)[:40]!r}; expected human and gpt, or user and assistant")
    try:
        return {"role": _ROLES[role], "content": join_parts(text)}
    except ValueError as error:
        raise RowError("bad_prompt", str(error)) from None
