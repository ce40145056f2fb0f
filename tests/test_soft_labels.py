"""The benchmark of soft labels: its truth and its figures, by hand."""

import math

import numpy as np
import pytest

from benchmarks.soft_labels import BAD, GOOD, WORDS, drawn, quality


def test_figures_by_hand() -> None:
    """Truth 0.9 and 0.5. Saying 0.5 both times costs ln 2; saying the truth costs its entropy, and is 0 away."""
    truth = np.array([0.9, 0.5])
    nll, distance = quality(np.array([0.5, 0.5]), truth)
    assert nll == pytest.approx(math.log(2)) and distance == pytest.approx(0.2)
    nll, distance = quality(truth, truth)
    assert nll == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1) + math.log(0.5)) / 2)
    assert distance == 0


def test_what_is_drawn_has_the_probability_of_its_words() -> None:
    pairs = drawn("a seed", 50)
    assert pairs == drawn("a seed", 50) and pairs != drawn("another", 50)
    for pair, probability in pairs:
        marks = []
        for text in pair.answers:
            marks.append([(word in GOOD) - (word in BAD) for word in text.split()])
        assert [len(words) for words in marks] == [WORDS, WORDS]
        assert math.log(probability / (1 - probability)) == pytest.approx((sum(marks[0]) - sum(marks[1])) / 2)
