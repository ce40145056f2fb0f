"""Tables in JSON that stand by their columns: pandas' orients ``columns``, ``index``, ``list`` and ``split``."""

from typing import Any

from critic.files.shapes.base import PROMPTS

_TEXTS = (*PROMPTS, "chosen", "rejected")


def by_columns(table: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of such a table; None where an object is something else, such as one row."""
    values = list(table.values())
    if isinstance(table.get("columns"), list) and isinstance(table.get("data"), list):
        return _split(table["columns"], table["data"])
    if values and all(isinstance(value, dict) and value.keys() == values[0].keys() for value in values):
        if all(place.isdecimal() for place in table):  # the orient ``index``: a row under each number
            return values
        places = values[0] if all(place.isdecimal() for place in values[0]) else {}
        return [{name: column[place] for name, column in table.items()} for place in places] or None
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
    return bool(texts) and all(isinstance(text, str) for column in texts for text in column)
