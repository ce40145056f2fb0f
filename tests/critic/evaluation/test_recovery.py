"""Which principles explain pairs: planted ones are found, chance is not, and three published sets are told apart."""

import csv
from pathlib import Path

import numpy as np
import pytest

from critic.evaluation.principles.recovery import Recovered, explains, recover
from critic.evaluation.principles.traits import candidates, said, words
from critic.files.inputs import read_labelled
from critic.files.shapes import naming
from critic.records import Quarantined

Sides = tuple[list[str], list[str]]


def of(sides: Sides) -> Recovered:
    names, signs = candidates(*sides)
    return recover(names, signs, [f"{i}" for i in range(len(signs))], range(len(signs)))


def test_words_lose_case_endings_and_what_any_text_has() -> None:
    assert words("The Cats were RUNNING, and it's 7 o'clock") == {"cat", "runn", "clock"}


def test_a_planted_preference_is_found_and_explains_pairs_it_was_not_found_from() -> None:
    lemons = [f"Answer {i} with a lemon in it." for i in range(40)]
    sides = (lemons, [f"Answer {i} with a prune in it." for i in range(40)])
    recovered = of(sides)
    assert [said(rule.name, rule.more) for rule in recovered.rules] == ['mentions "lemon"']
    assert 'mentions "prune"' in recovered.rules[0].also
    assert recovered.explained is not None and recovered.explained.low > 0.8 and not recovered.refusal


def test_two_principles_that_each_rule_over_half_are_both_found() -> None:
    chosen = [f"Note {i}: {what}." for what in ("a heron", "green") for i in range(30)]
    rejected = [f"Note {i}: {what}." for what in ("a goose", "brown") for i in range(30)]
    recovered = of((chosen, rejected))
    assert len(recovered.rules) == 2 and all(
        rule.first_for == 30 and rule.right.estimate == 1 for rule in recovered.rules
    )


def test_turning_all_pairs_round_turns_every_rule_round() -> None:
    chosen = [f"Yes {i}, really!" for i in range(40)]
    rejected = [f"Yes {i}, really." for i in range(40)]
    (rule,) = of((chosen, rejected)).rules
    (turned,) = of((rejected, chosen)).rules
    assert said(rule.name, rule.more) == "exclaims more" and said(turned.name, turned.more) == "exclaims less"


def test_few_pairs_and_pairs_without_a_difference_are_a_sentence() -> None:
    assert "3 pairs" in of((["a"] * 3, ["b"] * 3)).refusal
    same = of((["The same text"] * 30, ["The same text"] * 30))
    assert not same.rules and "nothing explains" in same.refusal
    assert same.explained is not None and same.explained.estimate == 0.5


def test_chance_explains_nothing_in_nineteen_of_twenty_sets() -> None:
    rng, alarms = np.random.default_rng(0), 0
    for trial in range(100):
        signs = rng.choice([-1, 0, 1], (50, 60), p=[0.25, 0.5, 0.25]).astype(np.int8)
        names = [f"c{i}" for i in range(60)]
        alarms += bool(recover(names, signs, [f"{trial}-{i}" for i in range(50)], range(50)).rules)
    assert alarms <= 5


def synthetic(folder: Path, name: str) -> Sides:
    (file,) = (folder / "icai_synthetic").glob(f"synthetic_data_{name}_*.csv")
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    sides = [(row["preferred_text"], {"text_a": "text_b", "text_b": "text_a"}[row["preferred_text"]]) for row in rows]
    texts = []
    for row, pair in zip(rows, sides, strict=True):
        texts.append([row[key].split("Output:", 1)[1] for key in pair])
    ones = [one for one, _ in texts]
    return ones, [other for _, other in texts]


@pytest.mark.parametrize(("name", "rows"), [("aligned", 30), ("orthogonal", 30), ("mixed", 60)])
def test_the_sets_are_read_as_they_are_published(cai_data: Path, name: str, rows: int) -> None:
    (file,) = (cai_data / "icai_synthetic").glob(f"synthetic_data_{name}_*.csv")
    read = list(read_labelled(str(file), max_chars=32_000, columns=naming()))
    assert len(read) == rows and not any(isinstance(line, Quarantined) for line in read)


def test_aligned_orthogonal_and_mixed_sets_are_told_apart(cai_data: Path) -> None:
    sets = {name: synthetic(cai_data, name) for name in ("aligned", "orthogonal", "mixed")}
    recovered = {name: of(sides) for name, sides in sets.items()}
    shares = {}
    for name, sides in sets.items():
        names, signs = candidates(*sides)
        figure = explains(recovered["orthogonal"].rules, names, signs, range(len(signs)))
        assert figure is not None
        shares[name] = figure.estimate
    assert shares == {"aligned": 0.5, "orthogonal": 1.0, "mixed": 0.75}
    rules = {}
    for kind, one in recovered.items():
        rules[kind] = {said(rule.name, rule.more) for rule in one.rules}
    assert {'mentions "cat"', 'mentions "blue"', 'mentions "lemon"'} == rules["orthogonal"]
    assert not rules["aligned"] & rules["orthogonal"]
    assert rules["mixed"] & rules["aligned"] and rules["mixed"] & rules["orthogonal"]


@pytest.mark.parametrize(
    ("name", "more", "text"), [("is longer", False, "is shorter"), ('mentions "x"', False, 'does not mention "x"')]
)
def test_a_rule_that_goes_the_other_way_says_so(name: str, more: bool, text: str) -> None:
    assert said(name, more) == text
