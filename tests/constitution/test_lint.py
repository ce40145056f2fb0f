"""Faults of style: found where they are, and nowhere in what ships."""

from typing import Any

import pytest

from constitution import load
from constitution.library import published, shipped
from constitution.lint import MAX_WORDS, lint
from tests.constitution.samples import make, principle


def good(id: str = "a", **fields: Any) -> dict[str, Any]:
    return {**principle(id, compare=f"Which response is more {id}?", opposite=f"Never {id}."), **fields}


def remarks(*principles: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    return [(r.where, r.problem) for r in lint(make(principles=list(principles), **fields))]


def test_a_good_file_has_none() -> None:
    assert remarks(good("a"), good("b", weight=10)) == []


@pytest.mark.parametrize("name", published(shipped()))
def test_what_ships_has_none(name: str) -> None:
    for version in published(shipped())[name]:
        assert lint(load(f"{name}@{version}")) == ()


def test_long_instructions_by_the_word() -> None:
    limit, above = (" ".join(["word"] * n) for n in (MAX_WORDS, MAX_WORDS + 1))
    assert remarks(good(critique=limit)) == []
    ((where, problem),) = remarks(good(critique=above))
    assert where == "a.critique"
    assert problem.startswith(f"{MAX_WORDS + 1} words")


def test_missing_opposites_are_counted_in_one_line() -> None:
    ((_, problem),) = remarks(*(good(id, opposite=None) for id in "abcde"))
    assert problem.startswith("no `opposite` in a, b, c and 2 more")


def test_a_comparison_has_to_ask_for_a_choice_in_english() -> None:
    assert [where for where, _ in remarks(good(compare="It is kind."))] == ["a.compare"]
    assert remarks(good(compare="Welche Antwort ist besser?"), language="de") == []


def test_the_same_words_twice() -> None:
    assert remarks(good("a"), good("b", critique="the CRITIQUE of a!")) == [
        ("b.critique", "the same wording as a.critique")
    ]
    assert [where for where, _ in remarks(good(revision="The critique of a."))] == ["a.revision"]


def test_the_same_words_for_two_groups_are_no_fault() -> None:
    one, two = (good(f"p{g}", group={"id": g}, **_same()) for g in ("x", "y"))
    assert remarks(one, two) == []


def _same() -> dict[str, str]:
    return {key: f"Which {key}?" for key in ("statement", "critique", "revision", "compare", "opposite")}


def test_very_unequal_weights_within_a_priority() -> None:
    ((_, problem),) = remarks(good("a", weight=0.5), good("b", weight=6))
    assert problem.startswith("b weighs 12 times as much as a")
    assert remarks(good("a", weight=0.5), good("b", weight=6, priority=2)) == []
