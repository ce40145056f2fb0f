"""Templates to pages. Everything that a template is given is escaped, unless it was rendered to be safe here."""

from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from critic.pages.markdown import rendered
from service.web.files import asset
from service.web.navigation import entries
from service.web.texts import english


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
    made.globals |= {"t": english(), "asset": asset, "markdown": rendered}
    return made


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page. Every template knows ``t`` (texts), ``asset``, ``markdown``, ``visit`` and ``csrf``."""
    visit = request.state.visit
    here = {"visit": visit, "csrf": request.state.csrf, "path": request.url.path}
    text = environment().get_template(template).render(**here, navigation=entries(visit, request.url.path), **values)
    return HTMLResponse(text, status)
