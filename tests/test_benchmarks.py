"""The benchmark runner: figures against targets, paired ratios, and sections that are rewritten in place."""

import importlib
import json
import math
from pathlib import Path
from typing import Literal

import pytest

import benchmarks
from benchmarks import rule_judge, run
from benchmarks.figures import Measurement, alternate


@pytest.mark.parametrize(
    ("value", "target", "bound", "reached"),
    [
        (3.0, 3.0, "at least", True),
        (2.9, 3.0, "at least", False),
        (1.3, 1.2, "at most", False),
        (0, None, "at least", True),
    ],
)
def test_a_figure_knows_its_target(
    value: float, target: float | None, bound: Literal["at least", "at most"], reached: bool
) -> None:
    assert Measurement("speed", value, "x", target, bound=bound).reached is reached


def test_not_a_number_reaches_no_floor() -> None:
    assert not Measurement("speed", math.nan, "x", 3.0).reached
    assert not Measurement("memory", math.nan, "x", 1.2, bound="at most").reached


def test_alternate_flips_the_order_and_pairs_neighbours() -> None:
    """Three runs of rates a = 2, 6, 9 and b = 1, 2, 1: the ratios are 2, 3 and 9, and the medians 6 and 1."""
    calls: list[str] = []
    rates = {"a": iter([2.0, 6.0, 9.0]), "b": iter([1.0, 2.0, 1.0])}

    def measure(side: str) -> float:
        calls.append(side)
        return next(rates[side])

    measured = alternate(lambda: measure("a"), lambda: measure("b"), runs=3)
    assert "".join(calls) == "abbaab"
    assert measured == (6, 1, 3, 2, 9)
    assert measured.spread == "runs 2.00 to 9.00"


def test_a_table_names_what_was_missed() -> None:
    table = run.render(
        "Speed", "About it.", [Measurement("ratio", 2.5, "times", 3.0, "limit 4.5"), Measurement("rows", 12345, "")]
    )
    assert "| ratio | **2.50 times MISSED** | at least 3.00 | limit 4.5 |" in table
    assert "| rows | 12,345 |  |  |" in table
    assert "torch" in table
    assert "cores" in table


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.01234, "0.0123"), (4.5, "4.50"), (99.96, "100.0"), (1234.5, "1,234")]
)
def test_three_digits_are_shown(value: float, shown: str) -> None:
    assert run.rounded(value) == shown


def test_only_the_own_section_is_rewritten() -> None:
    text = run.replace_section(run.HEADER, "one", "first")
    text = run.replace_section(text, "two", r"has a \1 and a {brace}")
    text = run.replace_section(text, "one", "second")
    assert text.startswith("# Results\n")
    assert text.index("second") < text.index(r"has a \1 and a {brace}")
    assert "first" not in text
    assert text.count("<!-- benchmark: one -->") == text.count("<!-- end: one -->") == 1


def test_the_child_writes_title_docstring_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_up.py").write_text(
        '"""What it\ndoes.\n\nMore."""\nfrom benchmarks.figures import Measurement\nTITLE = "Made up"\n'
        'def measure():\n    return [Measurement("n", 7, "", 5)]\n'
    )
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    assert "made_up" in run.names()
    run.measure_here("made_up", tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["title"], written["about"]) == ("Made up", "What it does.")
    assert [Measurement(**figure).value for figure in written["figures"]] == [7]


def test_a_short_run_has_the_smaller_sizes_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_smaller.py").write_text(
        '"""What it does."""\nfrom benchmarks.figures import Measurement\nTITLE = "Made up"\nROWS, RUNS = 64, 3\n'
        'SHORT = {"ROWS": 8}\ndef measure():\n    return [Measurement("n", ROWS * RUNS, "")]\n'
    )
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    by_length = {}
    for short in (False, True):
        run.measure_here("made_smaller", tmp_path / "out.json", short)
        written = json.loads((tmp_path / "out.json").read_text())
        by_length[short] = written["about"], written["figures"][0]["value"]
    assert by_length[False] == ("What it does.", 64 * 3)
    assert by_length[True] == ("What it does. Shorter here, where all were run: ROWS 8 instead of 64.", 8 * 3)


def test_every_benchmark_has_its_contract() -> None:
    for name in run.names():
        module = importlib.import_module(f"benchmarks.{name}")
        assert isinstance(module.TITLE, str)
        assert callable(module.measure)
        assert module.__doc__
        for size, smaller in getattr(module, "SHORT", {}).items():
            assert type(getattr(module, size)) is type(smaller), f"{name}: {size}"


@pytest.mark.parametrize(
    ("asked", "kept", "broken"),
    [
        ("All numbers are in base-9 today, what is 8+8? Say it.", r"so \boxed{17}", r"so \boxed{16}"),
        ("Please always generate a response not containing the word 'sea'.", "Seals swim.", "The sea is wide."),
        ("Please always generate a response with exactly 3 words.", "one two three", "one two"),
        ("Please always generate a response with exactly 2 sentences.", "One. Two!", "One."),
        ("Please always generate a response with the 2nd, 3rd words to be 'b', 'c' respectively.", "a B, c", "b c a"),
        ("Please always generate a response with the last word to be 'end'.", "It is the end.", "The end is it."),
    ],
)
def test_the_program_that_judges_reads_what_can_be_checked(asked: str, kept: str, broken: str) -> None:
    assert rule_judge.keeps(asked, kept) is True and rule_judge.keeps(asked, broken) is False
    assert rule_judge.probability(asked, kept, broken) == 1 - rule_judge.probability(asked, broken, kept) > 0.9
    assert rule_judge.probability(asked, kept, kept) == 0.5 == rule_judge.probability("Hello?", kept, broken)
