"""A picture as a file of its own: SVG with its style inside, for papers and slides.

On a page a picture is as wide as what it stands in, and has the page's colours. A file has a width, and its own.
"""

from collections.abc import Iterable

from markupsafe import Markup

from critic.pages.svg import element, text

WIDTH = 800  # pixels
MARGIN = 16
LETTER = 6.6  # pixels across, about: what a name takes
COLORS = {"accent": "#2f6f9f", "chosen": "#2e7d5b", "rejected": "#b5533c", "muted": "#6a7078", "neutral": "#ecebe6"}
_STYLE = (
    "svg svg{overflow:visible}text{font:12px system-ui,'DejaVu Sans',sans-serif;fill:#1f2328}text.unit{fill:#6a7078}"
    ".grid{stroke:#e0e0db}.mark{stroke:#6a7078;stroke-dasharray:2 3}"
    ".line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}.line.dashed{stroke-dasharray:5 4}"
    ".area{fill:currentColor;fill-opacity:.16}.bar{fill:currentColor;stroke:#fff}"
    ".point{fill:currentColor;stroke:currentColor;stroke-width:1.5}.point.hollow{fill:#fff}"
    ".spread{stroke:currentColor;stroke-width:1.5}"
    + "".join(f".{name}{{color:{color}}}" for name, color in COLORS.items())
)


def sheet(height: float, label: str, *children: str, width: float = WIDTH) -> Markup:
    """Return a file's content; ``label`` tells what is to be seen to who can't."""
    style = element("style", Markup(_STYLE))
    ground = element("rect", width="100%", height="100%", fill="#ffffff")
    return element(
        "svg",
        element("title", label),
        style,
        ground,
        *children,
        xmlns="http://www.w3.org/2000/svg",
        width=f"{width:g}",
        height=f"{height:g}",
        viewBox=f"0 0 {width:g} {height:g}",
    )


def placed(x: float, y: float, width: float, height: float, *children: str) -> Markup:
    """Return what is drawn in percents of a page's width, at a place of the sheet."""
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return element("svg", *children, overflow="visible", **place)


def named(entries: Iterable[tuple[str, Markup]], y: float) -> Markup:
    """Return a line that says which sign is which: each entry's sign, 24 by 12 pixels, and its name."""
    parts, x = [], float(MARGIN)
    for name, sign in entries:
        parts += [placed(x, y, 24, 12, sign), text(name, f"{x + 30:g}", y + 10, "start")]
        x += 48 + LETTER * len(name)
    return Markup("").join(parts)


def mixed(color: str, share: float) -> str:
    """Return ``share`` of a colour in the neutral one, as hexadecimal digits."""
    pairs = zip(_parts(COLORS[color]), _parts(COLORS["neutral"]), strict=True)
    return "#" + "".join(f"{round(share * own + (1 - share) * other):02x}" for own, other in pairs)


def _parts(color: str) -> list[int]:
    return [int(color[place : place + 2], 16) for place in (1, 3, 5)]
