"""Answers as they were meant to be read: Markdown, of which nothing can act, load or lead anywhere.

HTML is shown as text; links and pictures are shown as they were written, with their addresses, and are none. The page's
own policy stands behind that.
"""

from markdown_it import MarkdownIt
from markupsafe import Markup

_READER = (
    MarkdownIt("commonmark", {"html": False, "breaks": True, "linkify": False})
    .enable(["table", "strikethrough"])
    .disable(["link", "image", "autolink", "reference", "html_inline", "html_block"])
)


def rendered(text: str) -> Markup:
    """Return the HTML of a text."""
    return Markup(_READER.render(text))
