"""The cost curve, and the large run at a small size."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cost_curve, million
from benchmarks.cost_curve import Costs
from benchmarks.figures import peak_memory


def test_the_exponent_is_the_slope_in_logarithms() -> None:
    assert cost_curve.exponent([10, 100, 1000], [0.5, 5, 50]) == pytest.approx(1)
    assert cost_curve.exponent([10, 100, 1000], [1, 100, 10_000]) == pytest.approx(2)
    assert cost_curve.exponent([10, 100], [1, 10**1.05]) == pytest.approx(1.05)


def test_only_the_stage_whose_cost_an_item_grows_misses_its_target() -> None:
    curve = [Costs(10, 1.0, 0.1, 0.01, 100, 1), Costs(1000, 100.0, 10.0, 2.0, 100, 1)]
    generate, resume, export = cost_curve.figures(curve)
    assert (generate.reached, resume.reached, export.reached) == (True, True, False)
    assert export.note == "0.01 s at 10, 2 s at 1,000"


def test_the_peak_memory_of_a_process_is_not_that_of_the_one_that_started_it() -> None:
    before = peak_memory()
    held = np.ones(300 * 2**20, np.uint8)
    code = "from benchmarks.figures import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    assert peak_memory() >= max(before, held.nbytes)
    assert 2**20 < int(child.stdout) < held.nbytes / 2


@pytest.mark.slow
def test_the_large_run_is_killed_goes_on_and_is_loaded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(million, "SMALLER", (300,))
    figures = {figure.name: figure.value for figure in million.measure(3000, tmp_path)}
    assert figures["first new call after the kill"] > 0
    assert figures["prompts per second, end to end"] > 0
    assert 0 < figures["peak memory"] < 1000
    pairs = (tmp_path / "3000" / "out" / "pairs.jsonl").read_text().count("\n")
    assert figures["pairs loaded"] == pairs > 2000
    assert "killed at" in capsys.readouterr().out
