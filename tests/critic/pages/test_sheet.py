"""Pictures as files: well-formed SVG that says what it shows, with the same figures as on a page."""

import xml.etree.ElementTree as ET

import pytest

from critic.pages.heat import HeatMap
from critic.pages.page import Picture
from critic.pages.plots import Curves, Histogram, PlotLine
from critic.pages.scales import linear, shares, steps
from critic.pages.sheet import COLORS, mixed
from critic.pages.strips import Bars, Dot, Series, Strips

HOSTILE = "<script>alert(1)</script>"
LOSS = PlotLine("loss", ((1, 2.0), (2, 1.0)), "accent")
HELD_OUT = PlotLine(f"held-out {HOSTILE}", ((1, 2.5), (2, 1.5)), "accent", dashed=True)
PICTURES: dict[str, Picture] = {
    "curves": Curves((LOSS, HELD_OUT), steps("step", [1, 2]), linear("loss", [1.0, 2.5])),
    "histogram": Histogram((0.25, 0.75), (3, 5), 0.5, shares("p"), linear("count", [0, 5]), 0.5),
    "strips": Strips(
        ((HOSTILE, (Dot(0.7, 0.5, 0.9, 30), None)), ("b", (None, Dot(0.2, 0.1, 0.3, 9)))),
        (Series("first", "accent"), Series("longer", "rejected", diamond=True)),
        shares("share"),
        0.5,
    ),
    "bars": Bars(((HOSTILE, 30), ("b", 0)), frozenset()),
    "heat": HeatMap.of([HOSTILE, "b"], [[1.0, 0.25], [0.25, 1.0]], [[30, 30], [30, 30]]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_file_of_its_own(name: str) -> None:
    file = str(PICTURES[name].file())
    root = ET.fromstring(file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script" not in file and "style=" not in file
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert "style" in tags and not tags & {"script", "image", "foreignObject", "a"}
    assert root.find("{http://www.w3.org/2000/svg}title") is not None


def test_a_file_shows_every_name_and_figure() -> None:
    strips, heat, bars = (str(PICTURES[name].file()) for name in ("strips", "heat", "bars"))
    assert "first 70 % (50 % to 90 %, n = 30)" in strips and "longer 20 % (10 % to 30 %, n = 9)" in strips
    assert ">25</text>" in heat and ">30</text>" in heat
    assert ">30</text>" in bars and ">0</text>" in bars


def test_colours_are_mixed_by_their_shares() -> None:
    assert mixed("accent", 1) == COLORS["accent"] and mixed("rejected", 0) == COLORS["neutral"]
    assert mixed("accent", 0.5) == "#8eadc2"  # 2f+ec, 6f+eb and 9f+e6, halved
