"""One page with pictures and samples, in one file: what all reports are rendered with (``page.html.j2``).

Texts are hostile until shown otherwise: templates escape everything, what Markdown may do is little, and the page's own
policy lets nothing run, nothing load, and no style but the page's own apply, which it names by its hash.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from critic.pages.markdown import rendered

# So much of each text, and so many turns of a chat: then a page stays below a megabyte, whatever is in them.
SHOWN_CHARACTERS = 2000
SHOWN_TURNS = 6


class Picture(Protocol):
    """What can be drawn."""

    def draw(self) -> Markup:
        """Return it as HTML."""
        ...

    def file(self) -> Markup:
        """Return it as a file of its own, in SVG."""
        ...


def page(package: str, template: str, title: str, pictures: Mapping[str, Picture], **values: Any) -> str:
    """Return the page of ``template``, which lies in ``package`` and extends ``page.html.j2``."""
    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader("critic", "pages")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters |= {
        "integrity": _integrity,
        "last_turns": last_turns,
        "markdown": rendered,
        "number": number,
        "shorten": shorten,
    }
    drawn = {name: picture.draw() for name, picture in pictures.items()}
    return environment.get_template(template).render(title=title, pictures=drawn, **values)


def number(value: float) -> str:
    """Return a figure with four digits that count."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def shorten(text: str) -> str:
    """Cut a long text, and say by how much."""
    rest = len(text) - SHOWN_CHARACTERS
    return text if rest <= 0 else f"{text[:SHOWN_CHARACTERS]} [{rest:,} more characters]"


def last_turns(messages: Sequence[Any]) -> Sequence[Any]:
    """Return the end of a chat."""
    return messages[-SHOWN_TURNS:]


def _integrity(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(str(content).encode()).digest()).decode() + "'"
