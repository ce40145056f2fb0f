"""Examples: illegal ones can't be built."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from tests.factories import prompt
from trainers.batches.examples import Demonstration, Pair, Ranked, Rated

PROMPT = prompt()


@pytest.mark.parametrize(
    ("kind", "fields", "answers"),
    [
        (Demonstration, {"answer": "The Po."}, ("The Po.",)),
        (Pair, {"chosen": "The Po.", "rejected": "No."}, ("The Po.", "No.")),
        (Ranked, {"texts": ("a", "b", "c"), "ranks": (2, 1, 2)}, ("a", "b", "c")),
        (Rated, {"answer": "The Po.", "value": 0.5}, ("The Po.",)),
    ],
)
def test_answers_are_in_the_order_of_the_label(kind: Any, fields: dict[str, Any], answers: tuple[str, ...]) -> None:
    example = kind(prompt=PROMPT, **fields)
    assert example.answers == answers
    assert (example.weight, example.group) == (1.0, None)


@pytest.mark.parametrize(
    ("kind", "fields", "problem"),
    [
        (Demonstration, {"answer": " \n"}, "an answer is empty"),
        (Demonstration, {"answer": "a", "weight": 0}, "greater than 0"),
        (Demonstration, {"answer": "a", "weight": math.inf}, "finite"),
        (Pair, {"chosen": "a", "rejected": ""}, "an answer is empty"),
        (Pair, {"chosen": "a", "rejected": "a"}, "the same text"),
        (Pair, {"chosen": "a", "rejected": "b", "probability": 1.01}, "less than or equal to 1"),
        (Pair, {"chosen": "a", "rejected": "b", "probability": math.nan}, "finite"),
        (Pair, {"chosen": "a", "rejected": "b", "margin": math.nan}, "finite"),
        (Ranked, {"texts": ("a",), "ranks": (1,)}, "at least 2 items"),
        (Ranked, {"texts": ("a", ""), "ranks": (1, 2)}, "an answer is empty"),
        (Ranked, {"texts": ("a", "b"), "ranks": (1, 2, 3)}, "2 answers and 3 ranks"),
        (Rated, {"answer": "a", "value": 1.5}, "less than or equal to 1"),
        (Rated, {"answer": "a", "value": 1, "scale": (0, 5)}, "scale"),
    ],
)
def test_illegal_examples_cannot_be_built(kind: Any, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        kind(prompt=PROMPT, **fields)
