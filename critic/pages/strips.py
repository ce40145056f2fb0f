"""Pictures with a line for each name: shares or means with their intervals, and bars of counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from critic.pages.plots import Color, upright
from critic.pages.scales import Axis
from critic.pages.svg import across, drawing, element, note, text, together

_ROW, _SECOND = 18, 14  # pixels: of a strip with one dot, and what each further one adds


@dataclass(frozen=True, slots=True)
class Dot:
    """An estimate with its interval, of ``n`` observations."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Series:
    """What the dots of one kind mean. Kinds are told apart by shape, too."""

    name: str
    color: Color
    diamond: bool = False


@dataclass(frozen=True, slots=True)
class Strips:
    """For each name a dot of each series, or None; ``middle`` is marked by a dotted line."""

    rows: tuple[tuple[str, tuple[Dot | None, ...]], ...]
    series: tuple[Series, ...]
    axis: Axis
    middle: float | None = None

    def draw(self) -> Markup:
        """Return the picture."""
        rows = [part for name, dots in self.rows for part in (element("span", name), self._strip(name, dots))]
        return together(
            (self._legend(), element("div", *rows, Markup("<span></span>"), _scale(self.axis), class_="strips"))
        )

    def _strip(self, name: str, dots: Sequence[Dot | None]) -> Markup:
        height = _ROW + _SECOND * (len(self.series) - 1)
        marks = [] if self.middle is None else [upright(self.axis, self.middle, height)]
        said = []
        for place, (dot, series) in enumerate(zip(dots, self.series, strict=True)):
            if dot is not None:
                said.append(self._said(dot, series))
                marks.append(self._dot(dot, series, _ROW / 2 + _SECOND * place))
        return drawing(height, f"{name}: {'; '.join(said)}", _lines(self.axis, height), *marks)

    def _said(self, dot: Dot, series: Series) -> str:
        value, low, high = map(self.axis.format, (dot.value, dot.low, dot.high))
        return f"{series.name} {value} ({low} to {high}, n = {dot.n:,})"

    def _dot(self, dot: Dot, series: Series, y: float) -> Markup:
        low, high = (min(1.0, max(0.0, self.axis.place(end))) for end in (dot.low, dot.high))
        spread = element(
            "line", x1=across(low), x2=across(high), y1=f"{y:g}", y2=f"{y:g}", class_=f"spread {series.color}"
        )
        x = across(self.axis.place(dot.value))
        said = note(self._said(dot, series))
        if not series.diamond:
            return together(
                (spread, element("circle", said, cx=x, cy=f"{y:g}", r="4.5", class_=f"point {series.color}"))
            )
        # Only a drawing of its own can be moved by percents.
        shape = element("path", said, d="M0,-5.5 5.5,0 0,5.5 -5.5,0Z", class_=f"point hollow {series.color}")
        return together((spread, element("svg", shape, x=x, y=f"{y:g}")))

    def _legend(self) -> Markup:
        if len(self.series) < 2:
            return Markup("")
        return element("ul", *(_entry(series) for series in self.series), class_="legend")


@dataclass(frozen=True, slots=True)
class Bars:
    """For each name a count, as a bar; ``loud`` names have the colour of what was refused."""

    rows: tuple[tuple[str, int], ...]
    loud: frozenset[str]

    def draw(self) -> Markup:
        """Return the picture."""
        most = max(count for _, count in self.rows)
        rows = [part for name, count in self.rows for part in (element("span", name), self._bar(name, count, most))]
        return element("div", *rows, class_="strips")

    def _bar(self, name: str, count: int, most: int) -> Markup:
        color = "rejected" if name in self.loud else "muted"
        share = 0.85 * count / most  # so that the longest bar's count stands beside it, too
        bar = element("rect", width=across(share), height="12", y="3", class_=f"bar {color}")
        number = element("svg", text(f"{count:,}", "6", 13, "start"), x=across(share))
        return drawing(_ROW, f"{name}: {count:,}", bar, number)


def _entry(series: Series) -> Markup:
    if series.diamond:
        shape = element("path", d="M6,0.5 11.5,6 6,11.5 0.5,6Z", class_=f"point hollow {series.color}")
    else:
        shape = element("circle", cx="6", cy="6", r="4.5", class_=f"point {series.color}")
    return element("li", element("svg", shape, width="12", height="12"), f" {series.name}")


def _lines(axis: Axis, height: float) -> Markup:
    places = [across(axis.place(tick)) for tick in axis.ticks]
    return together(element("line", x1=at, x2=at, y1="0", y2=f"{height:g}", class_="grid") for at in places)


def _scale(axis: Axis) -> Markup:
    ticks = (text(axis.format(tick), across(axis.place(tick)), 12) for tick in axis.ticks)
    return drawing(34, axis.title, *ticks, text(axis.title, "50%", 29, class_="unit"))
