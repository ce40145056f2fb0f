"""A table of shares between each two of some names, coloured by the share, with the count behind each.

Columns are numbered like the rows, so that long names need no room above them; the second half of the table, which
would say the same, is left out. On a phone the table is moved sideways, and its names stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from critic.pages.svg import element

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
        return cls(
            tuple(names[i] for i in kept),
            tuple(tuple(shares[i][j] for j in kept) for i in kept),
            tuple(tuple(counts[i][j] for j in kept) for i in kept),
        )

    def draw(self) -> Markup:
        """Return the table."""
        columns = range(len(self.names) - 1)
        head = element("tr", element("th"), *(element("th", str(j + 1), scope="col") for j in columns))
        lines = [self._row(i) for i in range(len(self.names))]
        return element("div", element("table", head, *lines, class_="heat"), self._key(), class_="scroll")

    def _row(self, i: int) -> Markup:
        name = element("th", f"{i + 1} {self.names[i]}", scope="row")
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
