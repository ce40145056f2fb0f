"""A table of shares between each two of some names, coloured by the share, with the count behind each.

Columns are numbered like the rows, so that long names need no room above them; the second half of the table, which
would say the same, is left out. On a phone the table is moved sideways, and its names stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from critic.pages.sheet import LETTER, MARGIN, mixed, sheet
from critic.pages.svg import element, text

_CELL_WIDE, _CELL_HIGH = 44, 30  # pixels, in a file
FEW = 10  # observations, below which a cell stays pale: one of 2 is no "50 %"
MOST = 40  # names; those with the fewest observations are left out


@dataclass(frozen=True, slots=True)
class HeatMap:
    """``shares[i][j]`` of ``counts[i][j]`` observations; a share without observations is never looked at."""

    names: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, names: Sequence[str], shares: Sequence[Sequence[float]], counts: Sequence[Sequence[int]]) -> "HeatMap":
        """Return the table of the names, in their order; of the `MOST` with most observations if there are more."""
        by_count = sorted(range(len(names)), key=lambda i: (-counts[i][i], names[i]))
        kept = sorted(by_count[:MOST], key=lambda i: names[i])
        kept_shares, kept_counts = [], []
        for i in kept:
            kept_shares.append(tuple(shares[i][j] for j in kept))
            kept_counts.append(tuple(counts[i][j] for j in kept))
        return cls(tuple(names[i] for i in kept), tuple(kept_shares), tuple(kept_counts))

    def draw(self) -> Markup:
        """Return the table."""
        columns = range(len(self.names) - 1)
        head = element("tr", element("th"), *(element("th", str(j + 1), scope="col") for j in columns))
        lines = [self._row(i) for i in range(len(self.names))]
        return element("div", element("table", head, *lines, class_="heat"), self._key(), class_="scroll")

    def file(self) -> Markup:
        """Return the table as a file."""
        wide = 2 * MARGIN + LETTER * max((len(self._named(i)) for i in range(len(self.names))), default=0)
        parts = [
            text(str(j + 1), f"{wide + (j + 0.5) * _CELL_WIDE:g}", MARGIN + 12) for j in range(len(self.names) - 1)
        ]
        for i in range(len(self.names)):
            y = 2 * MARGIN + i * _CELL_HIGH
            parts.append(text(self._named(i), f"{MARGIN}", y + 19, "start"))
            for j in range(i):
                parts += self._square(i, j, wide + j * _CELL_WIDE, y)
        height = 3 * MARGIN + len(self.names) * _CELL_HIGH
        width = wide + len(self.names) * _CELL_WIDE + MARGIN
        return sheet(height, "Shares between each two, in percent", *parts, width=width)

    def _square(self, i: int, j: int, x: float, y: float) -> list[Markup]:
        """Return a cell's ground, its share and the count behind it."""
        share, count = self.shares[i][j], self.counts[i][j]
        size = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{_CELL_WIDE - 1}", "height": f"{_CELL_HIGH - 1}"}
        fill = "#ffffff" if count < FEW else _color(share)
        square = [element("rect", **size, fill=fill, stroke="#e0e0db")]
        if count:
            middle = f"{x + _CELL_WIDE / 2:g}"
            square.append(text(f"{100 * share:.0f}", middle, y + 13))
            square.append(text(f"{count:,}", middle, y + 26, class_="unit"))
        return square

    def _named(self, i: int) -> str:
        return f"{i + 1} {self.names[i]}"

    def _row(self, i: int) -> Markup:
        name = element("th", self._named(i), scope="row")
        return element("tr", name, *(self._cell(self.shares[i][j], self.counts[i][j]) for j in range(i)))

    def _cell(self, share: float, count: int) -> Markup:
        if not count:
            return element("td", class_="few")
        return element("td", f"{100 * share:.0f}", element("small", f"{count:,}"), class_=_shade(share, count))

    def _key(self) -> Markup:
        shades = (element("span", f"{10 * tenth} %", class_=_shade(tenth / 10, FEW)) for tenth in range(0, 11, 2))
        pale = f"In a cell: percent, and below it of how many comparisons; pale under {FEW}."
        return element("p", *shades, f" {pale}", class_="key")


def _shade(share: float, count: int) -> str:
    return "few" if count < FEW else f"h{round(10 * share)}"


def _color(share: float) -> str:
    tenth = round(10 * share)
    return mixed("rejected", (5 - tenth) / 10) if tenth < 5 else mixed("accent", (tenth - 5) / 10)
