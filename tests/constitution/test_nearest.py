"""Which known name a person may have meant."""

import pytest

from base.nearest import meant, nearest

KNOWN = ("learning_rate", "max_steps", "num_train_epochs", "lr_scheduler_type", "judge-principles")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("learning_rat", "learning_rate"),
        ("learning-rate", "learning_rate"),
        ("LEARNING_RATE", "learning_rate"),
        ("learn", "learning_rate"),
        ("judge_principle", "judge-principles"),
        ("lr", "learning_rate"),  # by its alias, though lr_scheduler_type begins so
        ("xyzzy", None),
    ],
)
def test_the_nearest_is_found(name: str, known: str | None) -> None:
    assert nearest(name, KNOWN, {"lr": "learning_rate"}) == known


def test_an_alias_of_something_that_is_not_known_here_is_none() -> None:
    assert nearest("lr", ("port", "host"), {"lr": "learning_rate"}) is None


def test_without_a_near_one_few_names_are_listed_and_many_are_not() -> None:
    assert meant("xyzzy", ("port", "host")) == "expected port, host"
    assert meant("xyzzy", [f"name{i}" for i in range(100)]) == ""
