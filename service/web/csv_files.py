"""Numbers as CSV, for spreadsheets and papers."""

import csv as writer
import io
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import Response

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


def csv(name: str, rows: Sequence[Mapping[str, Any]]) -> Response:
    """The answer that is a file of these rows, each with the same columns; what is nested gets a column a part."""
    flat = [dict(_flat(row)) for row in rows]
    columns = list(dict.fromkeys(column for row in flat for column in row))
    text = io.StringIO()
    made = writer.DictWriter(text, columns)
    made.writeheader()
    made.writerows({column: _cell(value) for column, value in row.items()} for row in flat)
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}.csv"}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _flat(row: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    cells: list[tuple[str, Any]] = []
    for key, value in row.items():
        if isinstance(value, Mapping):
            cells += _flat(value, f"{before}{key}_")
        elif not isinstance(value, list):
            cells.append((f"{before}{key}", value))
    return cells


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula begins with a sign that stops it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
