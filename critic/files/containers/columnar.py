"""Tables in JSON that stand by their columns: pandas' orients ``columns``, ``index``, ``list`` and ``split``."""

from typing import Any

from base.errors import InputError
from critic.files.shapes.base import PROMPTS

_TEXTS = (*PROMPTS, "chosen", "rejected")
# What no object has that holds tables: it is a row.
_OF_ROWS = frozenset(
    (*_TEXTS, "conversations", "conversation", "history", "responses", "completions", "answers", "kind")
)


def by_columns(table: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of such a table; None where an object is something else, such as one row."""
    values = list(table.values())
    if isinstance(table.get("columns"), list) and isinstance(table.get("data"), list):
        return _split(table["columns"], table["data"])
    if values and all(isinstance(value, dict) and value.keys() == values[0].keys() for value in values):
        if all(place.isdecimal() for place in table):  # the orient ``index``: a row under each number
            return values
        if any(name.casefold() in _TEXTS for name in values[0]):  # a row under each id
            return [{"id": name} | row for name, row in table.items()]
        places = values[0] if all(place.isdecimal() for place in values[0]) else {}
        rows = []
        for place in places:
            rows.append({name: column[place] for name, column in table.items()})
        return rows or None
    if not _are_columns(table):
        return None
    return [dict(zip(table, cells, strict=True)) for cells in zip(*values, strict=True)]


def _split(names: list[Any], data: list[Any]) -> list[dict[str, Any]] | None:
    if not all(isinstance(row, list) and len(row) == len(names) for row in data):
        return None
    return [dict(zip(map(str, names), row, strict=True)) for row in data]


def _are_columns(table: dict[str, Any]) -> bool:
    """Whether all values are lists of one length, and what is a text in a row is a list of texts."""
    values = list(table.values())
    if not all(isinstance(value, list) and value and len(value) == len(values[0]) for value in values):
        return False
    texts = [table[name] for name in table if name.casefold() in _TEXTS]
    return bool(texts) and all(_is_cell(cell) for column in texts for cell in column)


def _is_cell(value: object) -> bool:
    """Whether a value can be a text in a row: a string, or a chat. The turns of one row's chat are no lists."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(turn, dict) for turn in value))


def within(holder: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the tables that an object holds by its keys, such as ``train`` and ``test``; none where it is a row."""
    if any(name.strip().casefold() in _OF_ROWS for name in holder):
        return {}
    return {name: value for name, value in holder.items() if _is_table(value)}


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) and "role" not in row for row in value)


def unwrapped(rows: list[Any], name: str) -> list[Any]:
    """Return rows that stand in envelopes, as the hub's viewer answers with them; others as they are.

    Raises `InputError` where the viewer cut some of their texts.
    """
    if not rows or not all(isinstance(row, dict) and {"row_idx", "row"} <= row.keys() for row in rows):
        return rows
    for row in rows:
        if cut := row.get("truncated_cells"):
            raise InputError(
                f"the hub's viewer cut texts of row {row['row_idx']}: {', '.join(map(str, cut))}",
                where=name,
                fix="Give the data set's own file, or hf://OWNER/NAME.",
            )
    return [row["row"] for row in rows]
