"""Pictures with a line for each name: shares or means with their intervals, and bars of counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from critic.pages.plots import Color, upright
from critic.pages.scales import Axis
from critic.pages.sheet import MARGIN, WIDTH, named, placed, sheet
from critic.pages.svg import across, drawing, element, note, text, together

_NAMES = 240  # pixels for names, in a file
_LONGEST_NAME = 34  # characters of one, there
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
        rows = [part for name, dots in self.rows for part in (_called(name, dots), self._strip(name, dots))]
        return together(
            (self._legend(), element("div", *rows, Markup("<span></span>"), _scale(self.axis), class_="strips"))
        )

    def file(self) -> Markup:
        """Return the picture as a file."""
        height = self._height() + 6
        which = named(((series.name, _sign(series)) for series in self.series), MARGIN)
        top, inside = 48, []
        for place, (name, dots) in enumerate(self.rows):
            y = top + place * height
            inside.append(text(_short(name), f"{MARGIN}", y + 13, "start"))
            strip = self._marks(name, dots)[1]
            inside.append(placed(_NAMES, y, _across(), height, _lines(self.axis, height), *strip))
        y = top + len(self.rows) * height
        inside.append(placed(_NAMES, y, _across(), 34, _marked(self.axis)))
        return sheet(y + 50, self.axis.title, which, *inside)

    def _height(self) -> int:
        return _ROW + _SECOND * (len(self.series) - 1)

    def _strip(self, name: str, dots: Sequence[Dot | None]) -> Markup:
        said, marks = self._marks(name, dots)
        return drawing(self._height(), said, _lines(self.axis, self._height()), *marks)

    def _marks(self, name: str, dots: Sequence[Dot | None]) -> tuple[str, list[Markup]]:
        """Return what a row says in words, and its dots."""
        height = self._height()
        marks = [] if self.middle is None else [upright(self.axis, self.middle, height)]
        said = []
        for place, (dot, series) in enumerate(zip(dots, self.series, strict=True)):
            if dot is not None:
                said.append(self._said(dot, series))
                marks.append(self._dot(dot, series, _ROW / 2 + _SECOND * place))
        return f"{name}: {'; '.join(said)}", marks

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

    def file(self) -> Markup:
        """Return the picture as a file."""
        most = max(count for _, count in self.rows)
        inside = []
        for place, (name, count) in enumerate(self.rows):
            y = MARGIN + place * (_ROW + 6)
            inside.append(text(_short(name), f"{MARGIN}", y + 13, "start"))
            inside.append(placed(_NAMES, y, _across(), _ROW, *self._parts(name, count, most)))
        return sheet(2 * MARGIN + len(self.rows) * (_ROW + 6), "Counts", *inside)

    def _bar(self, name: str, count: int, most: int) -> Markup:
        return drawing(_ROW, f"{name}: {count:,}", *self._parts(name, count, most))

    def _parts(self, name: str, count: int, most: int) -> tuple[Markup, Markup]:
        """Return a bar and its number."""
        color = "rejected" if name in self.loud else "muted"
        share = 0.85 * count / max(1, most)  # so that the longest bar's count stands beside it, too
        bar = element("rect", width=across(share), height="12", y="3", class_=f"bar {color}")
        return bar, element("svg", text(f"{count:,}", "6", 13, "start"), x=across(share))


def _called(name: str, dots: Sequence[Dot | None]) -> Markup:
    """Return a row's name, and of how many observations its dots are: each number once."""
    counts = dict.fromkeys(f"{dot.n:,}" for dot in dots if dot is not None)
    return element("span", name, " ", element("small", f"n = {'; '.join(counts)}") if counts else "")


def _entry(series: Series) -> Markup:
    return element("li", element("svg", _sign(series), width="12", height="12"), f" {series.name}")


def _sign(series: Series) -> Markup:
    if series.diamond:
        return element("path", d="M6,0.5 11.5,6 6,11.5 0.5,6Z", class_=f"point hollow {series.color}")
    return element("circle", cx="6", cy="6", r="4.5", class_=f"point {series.color}")


def _across() -> float:
    return WIDTH - _NAMES - 2 * MARGIN


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _lines(axis: Axis, height: float) -> Markup:
    places = [across(axis.place(tick)) for tick in axis.ticks]
    return together(element("line", x1=at, x2=at, y1="0", y2=f"{height:g}", class_="grid") for at in places)


def _scale(axis: Axis) -> Markup:
    return drawing(34, axis.title, _marked(axis))


def _marked(axis: Axis) -> Markup:
    ticks = (text(axis.format(tick), across(axis.place(tick)), 12) for tick in axis.ticks)
    return together((*ticks, text(axis.title, "50%", 29, class_="unit")))
