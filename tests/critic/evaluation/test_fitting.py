"""The linear contrast learns what its features tell, and nothing from noise."""

import math
import random

import pytest

from critic.engine import Lane, Node, Score, reads
from critic.evaluation.accuracy import FOLDS, figures
from critic.evaluation.fitting import fit_contrast
from critic.judging.linear import cross_validate, fit
from tests.critic.evaluation.test_accuracy import RULE, labels
from tests.factories import FakeEngine, text_of


def test_the_fit_is_the_penalised_maximum_likelihood() -> None:
    # One feature of size 1, right three times of four: log-odds w with 4 * sigmoid(w) - 3 + w = 0.
    weight = fit([{"x": 1.0}, {"x": 1.0}, {"x": -1.0}, {"x": 1.0}], [1, 1, 0, 0])["x"]
    assert 4 / (1 + math.exp(-weight)) - 3 + weight == pytest.approx(0, abs=1e-4)


def test_a_features_unit_does_not_matter() -> None:
    rng = random.Random(0)
    rows = [{"x": rng.gauss(0, 1), "y": rng.gauss(0, 1)} for _ in range(50)]
    better = [float(row["x"] + 0.5 * rng.gauss(0, 1) > 0) for row in rows]
    plain = fit(rows, better)
    scaled = fit([{"x": 1000 * row["x"], "y": row["y"]} for row in rows], better)
    assert scaled == pytest.approx({"x": plain["x"] / 1000, "y": plain["y"]}, rel=1e-3, abs=1e-4)


def test_noise_is_worth_a_coin_on_held_out_labels_and_a_signal_is_found() -> None:
    rng = random.Random(1)
    rows = [{"noise": rng.gauss(0, 1), "signal": rng.gauss(0, 1)} for _ in range(400)]
    folds = [i % FOLDS for i in range(400)]

    def share(rows: list[dict[str, float]], better: list[float]) -> float:
        predicted = cross_validate(rows, better, folds)
        return sum((p > 0) == (b > 0.5) for p, b in zip(predicted, better, strict=True)) / len(better)

    coins = [float(rng.random() < 0.5) for _ in rows]
    assert 0.4 < share(rows, coins) < 0.6
    assert share(rows, [float(row["signal"] > 0) for row in rows]) > 0.95


async def test_a_judge_that_knows_is_fitted_and_one_that_fails_is_counted() -> None:
    class Knows(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            def value(path: str) -> float:
                if "Question 3?" in path:
                    return math.nan
                return -5.0 if "short" in path else -4.0 - ("s" in path) / 10

            return tuple(Score((value(text_of(path)),), 10) for path, _, _ in reads(tree))

    model, judged = await fit_contrast(Knows(), RULE, labels(40))
    measured = figures(judged)
    assert measured.unreadable == 1 and model.labels == 39
    assert judged[3].problem is not None and "no numbers" in judged[3].problem
    assert measured.accuracy is not None and model.accuracy == measured.accuracy.estimate


async def test_labels_that_cannot_be_read_at_all_are_told() -> None:
    class Broken(FakeEngine):
        async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
            return tuple(Score((math.nan,), 10) for _ in reads(tree))

    with pytest.raises(ValueError, match="nothing to fit"):
        await fit_contrast(Broken(), RULE, labels(3))
