"""Elements of a page, with everything that isn't made here escaped.

A picture's width is the page's. So positions across are percents, and texts keep their size on a phone. Only lines,
which know no percents, stand in a drawing of their own that is stretched (`stretched`), with strokes that are not.
"""

from collections.abc import Iterable

from markupsafe import Markup, escape

WIDE = 1000  # units across a drawing that is stretched


def element(name: str, *children: str, **attributes: object) -> Markup:
    """Return an element. An underscore at a keyword's end is left out (``class_``), others become hyphens."""
    given = "".join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup(given), together(children))


def together(parts: Iterable[str]) -> Markup:
    """Return parts behind each other; those that are no `Markup` are escaped."""
    return Markup("").join(escape(part) for part in parts)


def across(share: float) -> str:
    """Return a position across as SVG takes it, ``share`` being 0 at the left and 1 at the right."""
    return f"{100 * share:.2f}%"


def drawing(height: float, label: str, *children: str) -> Markup:
    """Return a picture as wide as what it stands in; ``label`` tells its content to who can't see it."""
    return element("svg", *children, class_="drawing", width="100%", height=f"{height:g}", role="img", aria_label=label)


def stretched(height: float, *children: str) -> Markup:
    """Return a drawing `WIDE` units wide inside another one, stretched to its width."""
    return element(
        "svg",
        *children,
        width="100%",
        height=f"{height:g}",
        viewBox=f"0 0 {WIDE} {height:g}",
        preserveAspectRatio="none",
    )


def text(words: str, x: str, y: float, anchor: str = "middle", class_: str | None = None) -> Markup:
    """Return a line of text."""
    return element("text", words, x=x, y=f"{y:g}", text_anchor=anchor, class_=class_)


def note(words: str) -> Markup:
    """Return what a pointer's rest on an element shows."""
    return element("title", words)
