"""The trainers beside those of another checkout: which side is which, other tokens, and losses of the same batches."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import replayed, same_losses, training
from benchmarks.same_losses import Batches
from tests.trainers.tiny import write_model


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


def test_losses_are_compared_on_this_checkout_s_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The control is the other checkout beside itself: its losses move as far as the two sides are apart, and more."""
    asked: list[tuple[str, str, bool, Path]] = []
    batches: Batches = [{"ids": [1]}]

    def losses(method: str, dtype: str, model: str, given: Batches | None, root: Path) -> tuple[list[float], Batches]:
        asked.append((dtype, model, given is batches, root))
        off = {("float32", tmp_path): 1e-6, ("bfloat16", tmp_path): 0.01}.get((dtype, root), 0.0)
        return [0.7, 0.6 - off - 0.02 * (model == "moved")], batches

    monkeypatch.setattr(same_losses, "losses", losses)
    monkeypatch.setattr(same_losses, "nudged", lambda folder: "moved")
    exact, rounded = same_losses.beside(["dpo"], tmp_path)
    assert exact.value == pytest.approx(1e-6) and exact.reached
    assert rounded.value == pytest.approx(0.01) and "0.02 from itself" in rounded.note
    here, there = ("embedded", True, same_losses.ROOT), ("embedded", True, tmp_path)
    assert asked == [
        ("float32", "embedded", False, same_losses.ROOT),
        *((dtype, *side) for dtype, side in (("float32", there), ("bfloat16", here), ("bfloat16", there))),
        ("bfloat16", "moved", True, tmp_path),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "reward"])
def test_batches_that_are_given_are_those_that_are_learnt_from(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module, name in ((training, "PROMPT"), (training, "ANSWER"), (replayed, "PROMPT"), (replayed, "ANSWER")):
        monkeypatch.setattr(module, name, (2, 4))
    monkeypatch.setattr(replayed, "BATCH", 2)
    folder = str(write_model(tmp_path / "model", max_position_embeddings=1024))
    first = replayed.child(method, "float32", folder, 3, None)
    assert len(first["losses"]) == 3 == len(first["batches"])
    again = replayed.child(method, "float32", folder, 3, first["batches"])
    assert again["losses"] == first["losses"]
    one = replayed.child(method, "float32", folder, 3, first["batches"][:1] * 3)
    assert one["losses"][0] == first["losses"][0] and one["losses"][1:] != first["losses"][1:]
