"""One page with pictures and samples, in one file: what reports of training are rendered with (``page.html.j2``).

Texts are hostile until shown otherwise: templates escape everything, and the page's own policy lets only its two
scripts run, named by their hashes.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from critic.run.figures import Picture
from critic.run.report import shorten


def page(package: str, template: str, title: str, pictures: Mapping[str, Picture], **values: Any) -> str:
    """Return the page of ``template``, which lies in ``package`` and extends ``page.html.j2``."""
    from plotly.offline import get_plotlyjs

    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader("critic", "run")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"integrity": _integrity, "shorten": shorten, "number": number}
    data = Markup(json.dumps(pictures).replace("<", "\\u003c"))  # no "<" can close the script element
    plotly = Markup(get_plotlyjs())
    return environment.get_template(template).render(title=title, pictures=pictures, data=data, plotly=plotly, **values)


def number(value: float) -> str:
    """Return a figure with four digits that count."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _integrity(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(str(script).encode()).digest()).decode() + "'"
