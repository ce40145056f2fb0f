"""The trainers beside those of another checkout: which side is which, and what is said of other tokens."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import training


def test_a_checkout_that_takes_twice_as_long_is_half_as_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str, Path]] = []

    def trained(method: str, side: str, dtype: str, rows: str, root: Path) -> dict[str, Any]:
        asked.append((method, rows, root))
        return {"seconds": 4.0 if root == tmp_path else 2.0, "tokens": 120.0 if root == tmp_path else 100.0}

    monkeypatch.setattr(training, "trained", trained)
    monkeypatch.setattr(training, "RUNS", 2)
    figures = list(training.beside(tmp_path))
    assert [figure.value for figure in figures] == [2.0, 2.0, 2.0]
    assert figures[0].note == "100 tokens here, 120 there; runs 2.00 to 2.00"
    assert {method for method, _, _ in asked} == {"dpo", "reward", "sft"}
    for method in training.TARGETS:
        sides = [(rows, root) for asked_method, rows, root in asked if asked_method == method]
        assert [root for _, root in sides] == [training.ROOT, tmp_path, tmp_path, training.ROOT]
        assert len({rows for rows, _ in sides}) == 1
