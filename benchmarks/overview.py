"""The head of ``RESULTS.md`` and its picture, from the sections below it: how to repeat, where targets are missed."""

import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SECTION = re.compile(r"<!-- benchmark: (\w+) -->\n## (.+?)\n(.*?)<!-- end: \1 -->", re.DOTALL)
_HEAD = re.compile(r"<!-- head -->\n.*?<!-- end of head -->\n", re.DOTALL)
_ROW = re.compile(r"^\| (?P<name>.+?) \| (?P<value>.*?) \| (?P<target>.*?) \| (?P<note>.*?) \|$", re.MULTILINE)
_RATIO = re.compile(r"([\d.,]+) x")
_TARGET = re.compile(r"at least ([\d.,]+)")

INTRODUCTION = """
Every figure was printed by a program in this folder, next to what it is compared with, on the machine and at the commit
that the section names. Ratios are medians of runs side by side in one process tree, each with its range; both sides
compute in the same precision, and the other side has its best settings (sorted batches for trainers, all requests at
once for servers). "Limit" is the ratio that counting tokens or bytes allows. A target that is missed says so in bold;
in the picture a black line is the target, and a red bar falls short of it.

To repeat: `make peers vllm`, then `make bench` for all in 40 minutes on two cores, with fewer rows or runs where a
section says so; or some at their full sizes: `make bench NAME="training ppo"`. `make accuracy` needs `CAI_DATA` and
hours, `make million` half an hour. No section was measured on a GPU unless it names one.

Where a section's runs lie far apart, the median settles little, whichever side of the target it is on.
"""


@dataclass(frozen=True, slots=True)
class TableLine:
    """One row of a section's table."""

    title: str
    name: str
    value: str
    target: str
    note: str

    @property
    def missed(self) -> bool:
        """Whether the figure did not reach its target."""
        return self.value.endswith("MISSED**")

    @property
    def ratio(self) -> float | None:
        """How many times the other side's figure it is; None where the row is no such ratio."""
        match = _RATIO.match(self.value.strip("*"))
        return float(match[1].replace(",", "")) if match and _TARGET.match(self.target) else None


def lines(results: str) -> Iterator[TableLine]:
    """Yield the rows of all tables of four columns, as `benchmarks.run` writes them."""
    for _, title, body in _SECTION.findall(results):
        for row in _ROW.finditer(body):
            if row["name"] not in ("figure", "---"):
                yield TableLine(title, row["name"], row["value"], row["target"], row["note"])


def with_head(results: str) -> str:
    """``results`` with a head that says what its sections say."""
    every = list(lines(results))
    missed = [line for line in every if line.missed]
    head = [
        "<!-- head -->",
        INTRODUCTION.strip(),
        "",
        "![Ratios to the alternatives, with their targets](results.svg)",
        "",
        "**Where it falls short**" if missed else "Every target is reached.",
        "",
    ]
    if missed:
        head += ["| section | figure | value | target |", "|---|---|---:|---:|"]
        head += [f"| {line.title} | {line.name} | {line.value} | {line.target} |" for line in missed]
    text = "\n".join([*head, "<!-- end of head -->", ""])
    if _HEAD.search(results):
        return _HEAD.sub(lambda _: text, results)
    title, _, rest = results.partition("\n\n")
    return f"{title}\n\n{text}\n{rest}"


WIDTH, LABELS, ROW = 900, 430, 26
TICKS = (0.5, 1, 2, 4, 8)
FONT = 'font-family="sans-serif" font-size="13"'


def picture(results: str) -> str:
    """Return an SVG: a bar for each ratio that should be large, in powers of two, and a line at its target.

    A ratio with a greatest value too, which should be 1, is none of them.
    """
    every = list(lines(results))
    bounded = {(line.title, line.name) for line in every if line.target.startswith("at most")}
    ratios = [(line, line.ratio) for line in every if line.ratio is not None and (line.title, line.name) not in bounded]
    height = ROW * len(ratios) + 50
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for tick in TICKS:
        x = _x(tick)
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{height - 34}" stroke="#d9d9d9"/>')
        drawn.append(f'<text x="{x:.1f}" y="{height - 16}" text-anchor="middle" fill="#555555">{tick} x</text>')
    for number, (line, ratio) in enumerate(ratios):
        drawn += _bar(line, ratio, 12 + ROW * number)
    return "\n".join([*drawn, "</svg>", ""])


def _bar(line: TableLine, ratio: float, y: int) -> Iterator[str]:
    target = _TARGET.match(line.target)
    assert target is not None
    one, end, wanted = _x(1), _x(ratio), _x(float(target[1].replace(",", "")))
    color = "#c2573a" if line.missed else "#2f6f9f"
    label = html.escape(_short(f"{line.title}: {line.name}"))
    yield f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end" fill="#222222">{label}</text>'
    yield f'<rect x="{min(one, end):.1f}" y="{y + 2}" width="{abs(end - one):.1f}" height="15" fill="{color}"/>'
    yield f'<line x1="{wanted:.1f}" x2="{wanted:.1f}" y1="{y - 1}" y2="{y + 20}" stroke="#222222" stroke-width="2"/>'
    yield f'<text x="{max(one, end, wanted) + 6:.1f}" y="{y + 14}" fill="#222222">{ratio:.2f}</text>'


def _x(ratio: float) -> float:
    share = math.log2(max(ratio, TICKS[0]) / TICKS[0]) / math.log2(TICKS[-1] / TICKS[0])
    return LABELS + min(share, 1.0) * (WIDTH - LABELS - 60)


def _short(label: str) -> str:
    return label if len(label) <= 58 else label[:57] + "…"
