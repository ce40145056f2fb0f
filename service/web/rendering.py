"""Templates to pages, and numbers to CSV. Everything that a template is given is escaped, unless it was rendered to be
safe here."""

import csv as writer
import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from critic.pages.markdown import rendered
from service.web.files import asset
from service.web.navigation import entries
from service.web.texts import Texts, english

WIDE = ("\uff1d", "\uff0b", "\uff0d", "\uff20")  # the same signs as wide as ideographs
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *WIDE)  # what a spreadsheet would compute


@cache
def environment() -> Environment:
    """The templates, with what all of them may use."""
    made = Environment(
        loader=PackageLoader("service.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters["raw"] = _raw
    made.globals |= {"t": english(), "asset": asset, "markdown": rendered}
    return made


def texts() -> Texts:
    """The catalogue that pages are written in."""
    known: Any = environment().globals["t"]
    return cast(Texts, known)


def _raw(text: str) -> Markup:
    """A text as it is, to the character: a browser would make one of the two that end some lines."""
    return Markup(escape(text).replace("\r", "&#13;"))


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page. Every template knows ``t`` (texts), ``asset``, ``markdown``, ``visit`` and ``csrf``."""
    visit = request.state.visit
    here = {"visit": visit, "csrf": request.state.csrf, "path": request.url.path}
    text = environment().get_template(template).render(**here, navigation=entries(visit, request.url.path), **values)
    return HTMLResponse(text, status)


def csv(name: str, rows: Sequence[Mapping[str, Any]]) -> Response:
    """The answer that is a file of these rows, each with the same columns; what is nested gets a column a part."""
    flat = [dict(_flat(row)) for row in rows]
    columns = list(dict.fromkeys(column for row in flat for column in row))
    text = io.StringIO()
    made = writer.DictWriter(text, columns)
    made.writerow({column: _cell(column) for column in columns})
    for row in flat:
        made.writerow({column: _cell(value) for column, value in row.items()})
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
