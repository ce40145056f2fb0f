"""The cost curve, and the large run at a small size."""

from pathlib import Path

import pytest

from benchmarks import cost_curve, million
from benchmarks.cost_curve import Costs


def test_the_exponent_is_the_slope_in_logarithms() -> None:
    assert cost_curve.exponent([10, 100, 1000], [0.5, 5, 50]) == pytest.approx(1)
    assert cost_curve.exponent([10, 100, 1000], [1, 100, 10_000]) == pytest.approx(2)
    assert cost_curve.exponent([10, 100], [1, 10**1.05]) == pytest.approx(1.05)


def test_only_the_stage_whose_cost_an_item_grows_misses_its_target() -> None:
    curve = [Costs(10, 1.0, 0.1, 0.01, 100, 1), Costs(1000, 100.0, 10.0, 2.0, 100, 1)]
    generate, resume, export = cost_curve.figures(curve)
    assert (generate.reached, resume.reached, export.reached) == (True, True, False)
    assert export.note == "0.01 s at 10, 2 s at 1,000"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_large_run_is_killed_goes_on_and_is_loaded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(million, "SMALLER", (300,))
    figures = {figure.name: figure.value for figure in million.measure(3000, tmp_path)}
    assert 0 < figures["first new call after the kill"] < 20
    assert figures["prompts per second, end to end"] > 10
    assert 0 < figures["peak memory"] < 1000
    pairs = (tmp_path / "3000" / "out" / "pairs.jsonl").read_text().count("\n")
    assert figures["pairs loaded"] == pairs > 2000
    assert "killed at" in capsys.readouterr().out
