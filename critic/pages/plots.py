"""Pictures with two axes: curves over steps, and histograms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from critic.pages.scales import Axis
from critic.pages.sheet import MARGIN, WIDTH, named, placed, sheet
from critic.pages.svg import WIDE, across, drawing, element, note, stretched, text, together

Color = Literal["accent", "chosen", "rejected", "muted"]

HEIGHT = 200  # pixels between the axes
MARKED = 40  # points, above which a line's own points aren't drawn


@dataclass(frozen=True, slots=True)
class PlotLine:
    """A named line through points (x, y). A ``dashed`` one is told from its like without its colour."""

    name: str
    points: tuple[tuple[float, float], ...]
    color: Color
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines over a common axis; ``stepped`` ones are histograms: a level holds up to the next point."""

    lines: tuple[PlotLine, ...]
    x: Axis
    y: Axis
    stepped: bool = False

    def draw(self) -> Markup:
        """Return the picture."""
        return framed(self.x, self.y, self._label(), self._shown(), legend(self.lines))

    def file(self) -> Markup:
        """Return the picture as a file."""
        return filed(self.x, self.y, self._label(), self._shown(), self.lines)

    def _label(self) -> str:
        return f"{self.y.title} against {self.x.title}: {', '.join(line.name for line in self.lines)}"

    def _shown(self) -> Markup:
        return together(together(self._line(line)) for line in self.lines)

    def _line(self, line: PlotLine) -> Iterator[Markup]:
        corners = list(_stairs(line.points) if self.stepped else line.points)
        points = " ".join(f"{WIDE * self.x.place(x):.1f},{_down(self.y, y):.1f}" for x, y in corners)
        look = {"class_": f"line {line.color}{' dashed' if line.dashed else ''}", "vector_effect": "non-scaling-stroke"}
        curve = element("polyline", points=points, **look)
        yield (
            stretched(HEIGHT, element("polygon", points=points, class_=f"area {line.color}"), curve)
            if (self.stepped)
            else stretched(HEIGHT, curve)
        )
        if not self.stepped and len(line.points) <= MARKED:
            yield from (self._point(line, x, y) for x, y in line.points)

    def _point(self, line: PlotLine, x: float, y: float) -> Markup:
        said = note(f"{line.name}, {self.x.title} {x:g}: {y:.4g}")
        place = {"cx": across(self.x.place(x)), "cy": f"{_down(self.y, y):.1f}"}
        return element("circle", said, r="3", class_=f"point {line.color}{' hollow' if line.dashed else ''}", **place)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts around ``centres``, which are a ``width`` apart; ``middle`` is marked by a dotted line."""

    centres: tuple[float, ...]
    counts: tuple[int, ...]
    width: float
    x: Axis
    y: Axis
    middle: float

    def draw(self) -> Markup:
        """Return the picture."""
        return framed(self.x, self.y, f"{self.y.title} by {self.x.title}", self._shown(), Markup(""))

    def file(self) -> Markup:
        """Return the picture as a file."""
        return filed(self.x, self.y, f"{self.y.title} by {self.x.title}", self._shown(), ())

    def _shown(self) -> Markup:
        bars = together(self._bar(x, n) for x, n in zip(self.centres, self.counts, strict=True) if n)
        return together((bars, upright(self.x, self.middle)))

    def _bar(self, centre: float, count: int) -> Markup:
        low, high = (max(self.x.low, centre - self.width / 2), min(self.x.high, centre + self.width / 2))
        top = _down(self.y, count)
        left, right = self.x.place(low), self.x.place(high)
        return element(
            "rect",
            note(f"{low:.3f} to {high:.3f}: {count:,}"),
            x=across(left),
            y=f"{top:.1f}",
            width=across(right - left),
            height=f"{HEIGHT - top:.1f}",
            class_="bar accent",
        )


def framed(x: Axis, y: Axis, label: str, content: Markup, above: Markup) -> Markup:
    """Return a picture's content between its axes, with what stands ``above`` it."""
    return together((above, element("div", drawing(HEIGHT, label, _grid(x, y), content), class_="plot")))


def filed(x: Axis, y: Axis, label: str, content: Markup, lines: Sequence[PlotLine]) -> Markup:
    """Return a picture's content between its axes as a file, with which line is which."""
    left, top, bottom = 64, 56, 48
    which = named(((line.name, _sample(line)) for line in lines), MARGIN) if len(lines) > 1 else Markup("")
    inside = placed(left, top, WIDTH - left - 2 * MARGIN, HEIGHT, _grid(x, y), content)
    return sheet(top + HEIGHT + bottom, label, which, inside)


def upright(axis: Axis, value: float, height: float = HEIGHT) -> Markup:
    """Return a dotted line from top to bottom."""
    at = across(axis.place(value))
    return element("line", x1=at, x2=at, y1="0", y2=f"{height:g}", class_="mark")


def legend(lines: Sequence[PlotLine]) -> Markup:
    """Return which line is which, where there are several."""
    if len(lines) < 2:
        return Markup("")
    return element("ul", *(_entry(line) for line in lines), class_="legend")


def _entry(line: PlotLine) -> Markup:
    return element("li", element("svg", _sample(line), width="24", height="10"), f" {line.name}")


def _sample(line: PlotLine) -> Markup:
    look = f"line {line.color}{' dashed' if line.dashed else ''}"
    return element("line", x1="0", x2="24", y1="5", y2="5", class_=look)


def _grid(x: Axis, y: Axis) -> Markup:
    parts = [text(y.title, "-48", -12, "start", "unit"), text(x.title, "50%", HEIGHT + 36, class_="unit")]
    for value in y.ticks:
        at = f"{_down(y, value):.1f}"
        parts.append(element("line", x1="0", x2="100%", y1=at, y2=at, class_="grid"))
        parts.append(text(y.format(value), "-8", float(at) + 4, "end"))
    for value in x.ticks:
        at = across(x.place(value))
        parts.append(element("line", x1=at, x2=at, y1=f"{HEIGHT}", y2=f"{HEIGHT + 4}", class_="grid"))
        parts.append(text(x.format(value), at, HEIGHT + 18))
    return together(parts)


def _down(axis: Axis, value: float) -> float:
    """Return a value's pixels from the top."""
    return HEIGHT * (1 - axis.place(value))


def _stairs(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    before = 0.0
    for x, y in points:
        yield x, before
        yield x, y
        before = y
