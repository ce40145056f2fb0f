"""LLaMA-Factory's data files: preferences, KTO labels and demonstrations.

Read are its three ways of writing a chat: ``conversations`` (or ``messages``) whose turns have ``from`` and ``value``,
or ``role`` and ``content``; ``instruction`` with ``input``, ``system`` and ``history``; and ``chosen_messages`` whose
contents are lists of parts. Parts other than text are refused: there is no place for them in a chat here.

Written is the first way (``formatting: sharegpt`` in its ``dataset_info.json``): the chat in ``conversations``, beside
it ``chosen`` and ``rejected``, or ``label``, which is its ``kto_tag``. See data/README.md of its repository.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from critic.feedback import Source
from critic.feedback.base import Columns, expect_list, expect_text
from critic.files.inputs import RowError
from critic.files.turns import plain_turn
from critic.messages import join_parts
from service.formats.base import (
    Format,
    Found,
    Reading,
    Table,
    count_lost,
    has_place,
    present,
    read_rows,
)
from service.formats.parts.columns import from_columns
from service.formats.training.trl import COLUMNS

_LABELS = ("kto_tag", "label")
_FROM = {"system": "system", "user": "human", "assistant": "gpt"}
_ENTRIES: Mapping[Table, Columns] = MappingProxyType(
    {
        "pairs": {
            "ranking": True,
            "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
        },
        "ratings": {"columns": {"messages": "conversations", "kto_tag": "label"}},
        "sft": {"columns": {"messages": "conversations"}},
    }
)
"""What its ``dataset_info.json`` says of a file, by what it holds."""


class LlamaFactoryFormat(Format):
    """See the module's docstring."""

    name: ClassVar[str] = "llama-factory"
    title: ClassVar[str] = "LLaMA-Factory"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json")
    reads: ClassVar[tuple[str, ...]] = ("comparison", "thumbs", "demonstration")
    tables: ClassVar[Mapping[Table, tuple[str, ...]]] = MappingProxyType(
        {
            "pairs": ("conversations", "chosen", "rejected"),
            "ratings": ("conversations", "label"),
            "sft": ("conversations",),
        }
    )
    loses: ClassVar[str] = (
        "All but the texts and the label, such as probability and group. Left out are ratings on a scale, and prompts "
        "whose history calls tools."
    )

    def read(self, path: Path, source: Source = "human") -> Reading:
        """Yield a comparison, thumbs or demonstration for each row."""
        return read_rows(path, source, _from_llama_factory)

    def usage(self, table: Table, file: Path) -> str:
        """See the base class."""
        entry = {file.stem: {"file_name": file.name, "formatting": "sharegpt", **_ENTRIES[table]}}
        return f"in {file.parent / 'dataset_info.json'}: {json.dumps(entry)[1:-1]}"

    def records(self, table: Table, entry: Columns, lost: Counter[str]) -> Iterator[Columns]:
        """Yield the row with its chat as turns."""
        if not has_place(table, entry, lost):
            return
        count_lost(entry, COLUMNS[table], lost)
        match table:
            case "pairs":
                [chosen], [rejected] = _turns(entry["chosen"]), _turns(entry["rejected"])
                yield {"conversations": _turns(entry["prompt"]), "chosen": chosen, "rejected": rejected}
            case "ratings":
                yield {"conversations": _turns(entry["prompt"] + entry["completion"]), "label": entry["label"]}
            case _:
                yield {"conversations": _turns(entry["prompt"] + entry["completion"])}


def _turns(messages: list[Columns]) -> list[Columns]:
    return [{"from": _FROM[message["role"]], "value": message["content"]} for message in messages]


def _from_llama_factory(row: Columns, where: str, source: Source) -> Iterator[Found]:
    columns = present(row)
    if "chosen_messages" in columns:
        sides = {side: _chat(expect_list(columns, f"{side}_messages")) for side in ("chosen", "rejected")}
        return from_columns(sides, where, source)
    prompt = _prompt(columns)
    if {"chosen", "rejected"} <= columns.keys():
        answered = {side: [_answer(columns[side])] for side in ("chosen", "rejected")}
        return from_columns(answered | {"prompt": prompt}, where, source)
    # A label that is there and empty makes no demonstration of its row.
    by_row = next((name for name in _LABELS if name in row), None)
    named = next((name for name in _LABELS if name in columns), by_row)
    label = {} if named is None else {"label": columns.get(named)}
    if "output" in columns:
        prompt = [*prompt, {"role": "assistant", "content": expect_text(columns, "output")}]
    return from_columns({"completion": prompt, **label}, where, source)


def _prompt(columns: Columns) -> list[Columns]:
    for name in ("conversations", "messages"):
        if name in columns:
            return _system(columns) + _chat(expect_list(columns, name))
    asked = [expect_text(columns, name) for name in ("instruction", "input") if name in columns]
    past = [
        {"role": role, "content": text}
        for turn in (expect_list(columns, "history") if "history" in columns else ())
        for role, text in zip(("user", "assistant"), turn if isinstance(turn, list) else (), strict=True)
    ]
    return [*_system(columns), *past, {"role": "user", "content": "\n".join(text for text in asked if text)}]


def _system(columns: Columns) -> list[Columns]:
    return [{"role": "system", "content": expect_text(columns, "system")}] if columns.get("system") else []


def _chat(turns: list[Any]) -> list[Columns]:
    return [_message(turn) for turn in turns]


def _answer(value: object) -> Columns:
    return {"role": "assistant", "content": value} if isinstance(value, str) else _message(value)


def _message(turn: Any) -> Columns:
    if not isinstance(turn, dict):
        raise RowError("bad_prompt", "a turn is not an object with a role and a text")
    message: Columns = plain_turn(turn)
    if "tool_calls" in message:
        return message
    if message.get("content") is None:
        raise RowError("bad_prompt", "a turn has no text: neither content nor value")
    try:
        return message | {"content": join_parts(message["content"])}
    except ValueError as error:
        raise RowError("bad_prompt", str(error)) from None
