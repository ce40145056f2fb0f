"""The head of RESULTS.md says what its sections say."""

import re
from xml.etree import ElementTree

from benchmarks.figures import Measurement
from benchmarks.overview import lines, picture, with_head
from benchmarks.run import HEADER, RESULTS, render, replace_section

FIGURES = [
    Measurement("ours / theirs", 2.0, "x", 3.0, "limit 4"),
    Measurement("ours / <b>others</b>", 4.0, "x", 3.0),
    Measurement("time", 1234.5, "s", 2000, bound="at most"),
    Measurement("memory", 12.0, "MiB"),
]


def page() -> str:
    return replace_section(HEADER, "one", render("One & all", "About it.", FIGURES))


def test_every_row_is_read_back() -> None:
    read = list(lines(page()))
    expected = [figure.name for figure in FIGURES]
    assert [line.name for line in read] == expected
    assert [line.missed for line in read] == [True, False, False, False]
    assert [not figure.reached for figure in FIGURES] == [True, False, False, False]
    assert [line.ratio for line in read] == [2.0, 4.0, None, None]  # of what should be large


def test_the_head_names_what_is_missed_and_is_written_once() -> None:
    once = with_head(page())
    head = once.partition("<!-- end of head -->")[0]
    assert head.count("MISSED") == 1 and "| One & all | ours / theirs | **2.00 x MISSED** | at least 3.00 |" in head
    assert with_head(once) == once
    mended = replace_section(once, "one", render("One", "About it.", FIGURES[1:]))
    assert "Every target is reached." in with_head(mended)


def test_the_picture_has_a_bar_a_ratio_and_escapes_names() -> None:
    root = ElementTree.fromstring(picture(page()))
    bars = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if rect.get("y") is not None]
    widths = [float(bar.get("width", 0)) for bar in bars]
    assert len(widths) == 2 and abs(widths[1] - 2 * widths[0]) < 0.2  # log2 4 is twice log2 2
    assert [bar.get("fill") for bar in bars] == ["#c2573a", "#2f6f9f"]
    assert any("<b>others" in (text.text or "") for text in root.iter("{http://www.w3.org/2000/svg}text"))


def test_a_ratio_that_should_be_1_has_no_bar() -> None:
    both = [
        Measurement("simulated / measured", 0.9, "x", 0.85),
        Measurement("simulated / measured", 0.9, "x", 1.15, "", "at most"),
    ]
    text = replace_section(page(), "two", render("Simulation", "About it.", both))
    assert picture(text) == picture(page())


def test_the_committed_page_has_the_head_of_its_sections() -> None:
    text = RESULTS.read_text(encoding="utf-8")
    assert with_head(text) == text
    assert RESULTS.with_name("results.svg").read_text(encoding="utf-8") == picture(text)
    assert len(re.findall("MISSED", text.partition("<!-- end of head -->")[0])) == sum(
        line.missed for line in lines(text)
    )
