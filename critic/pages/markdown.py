"""Answers as they were meant to be read: Markdown, of which nothing can act, load or lead anywhere.

HTML is shown as text; links and pictures are shown as they were written, with their addresses, and are none. The page's
own policy stands behind that.
"""

from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_left: ContextVar[int | None] = ContextVar("characters of Markdown left", default=None)


def at_most(characters: int) -> None:
    """Let what runs in this context parse so many characters: a megabyte can take ten seconds."""
    _left.set(characters)


def rendered(text: str) -> Markup:
    """Return the HTML of a text; of one that is longer than what may be parsed here, as it was written."""
    left = _left.get()
    if left is not None:
        if len(text) > left:
            return Markup('<pre class="plain" tabindex="0">{}</pre>').format(text)
        _left.set(left - len(text))
    return Markup(_focusable(_reader().render(text)))


def _focusable(html: str) -> str:
    """Let what may be wider than the page have the focus, so that keys move it. In texts these signs are escaped."""
    return html.replace("<pre>", '<pre tabindex="0">').replace("<table>", '<table tabindex="0">')


@cache
def _reader() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # slow to import, and a server starts without it

    return (
        MarkdownIt("commonmark", {"html": False, "breaks": True, "linkify": False})
        .enable(["table", "strikethrough"])
        .disable(["link", "image", "autolink", "reference", "html_inline", "html_block"])
    )
