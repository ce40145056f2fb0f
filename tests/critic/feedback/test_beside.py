"""What labels say beside a preference: kinds of ties, unsure, choices by principle, partial rankings. By hand."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from critic.feedback import ComparisonLabel, Feedback, RankingLabel
from critic.feedback.aggregate import Method, build
from critic.feedback.base import Row
from critic.feedback.same import same_label
from tests.feedback_samples import feedback
from trainers.batches.data import from_rows
from trainers.batches.examples import Pair, Rated

ABC = ("A.", "B.", "C.")


def said(*labels: Any, **fields: Any) -> list[Feedback]:
    given = [label if isinstance(label, dict) else {"choice": label} for label in labels]
    return [feedback("comparison", label, annotator=f"a{i}", **fields) for i, label in enumerate(given)]


def built(labels: list[Feedback], method: Method) -> tuple[list[Row], Counter[str]]:
    dropped: Counter[str] = Counter()
    return list(build(labels, method, dropped)), dropped


def unary(rows: list[Row]) -> list[tuple[str, bool, int]]:
    assert {table for table, _ in rows} <= {"ratings"}
    return [(row["completion"][0]["content"], row["label"], row["labels"]) for _, row in rows]


def test_two_bad_answers_are_both_rated_down_and_never_a_pair() -> None:
    rows, dropped = built(said("both_bad", "both_good", "tie", "unsure"), "each")
    assert unary(rows) == [("The Nile.", False, 1), ("The Po.", False, 1)]
    assert dropped == {"tie": 2, "unsure": 1}


@pytest.mark.parametrize("method", ["majority", "soft"])
def test_more_than_half_must_say_that_both_are_bad(method: Method) -> None:
    rows, dropped = built(said("both_bad", "both_bad", "both_good", "unsure"), method)
    assert unary(rows) == [("The Nile.", False, 3), ("The Po.", False, 3)]
    assert dropped == {"unsure": 1}
    rows, dropped = built(said("both_bad", "both_good"), method)
    assert (rows, dropped) == ([], {"tie": 2})
    rows, dropped = built(said("unsure", "unsure"), method)
    assert (rows, dropped) == ([], {"unsure": 2})


def test_a_lean_beats_that_both_are_bad() -> None:
    labels = said("both_bad", "both_bad", "first")  # the mean is (0.5 + 0.5 + 1) / 3
    ((table, row),), _ = built(labels, "soft")
    assert (table, row["probability"]) == ("pairs", pytest.approx(2 / 3))
    rows, _ = built(labels, "majority")
    assert unary(rows) == [("The Nile.", False, 3), ("The Po.", False, 3)]


def test_trainers_take_of_two_bad_answers_what_they_can() -> None:
    (label,) = said("both_bad")
    row = json.loads(label.model_dump_json())
    assert [(one.answer, one.value) for one in from_rows([row], [Rated]).examples if isinstance(one, Rated)] == [
        ("The Nile.", 0),
        ("The Po.", 0),
    ]
    (pair,) = from_rows([row], [Pair]).examples
    assert isinstance(pair, Pair) and pair.probability == 0.5
    unsure = json.loads(said("unsure")[0].model_dump_json())
    data = from_rows([row, unsure], [Pair])
    assert len(data.examples) == 1 and [refused.reason for refused in data.refused] == ["other_feedback"]


def test_principles_follow_the_sides_of_the_pair() -> None:
    principles = {"kind": "second", "short": "tie", "true": "first", "calm": "unsure"}
    (label,) = said({"choice": "second", "by_principle": principles, "deciding": ["kind"]})
    ((_, row),) = label.rows()
    assert {one["principle"]: one["choice"] for one in row["by_principle"]} == {
        "kind": "chosen",
        "short": "tie",
        "true": "rejected",
        "calm": "unsure",
    }
    assert row["deciding"] == ["kind"]
    turned = label.in_order_of(["The Po.", "The Nile."])
    assert list(turned.rows()) == list(label.rows())


def test_the_mean_by_principle_is_what_most_say() -> None:
    labels = said(
        {"choice": "first", "by_principle": {"kind": "first", "true": "second"}, "deciding": ["kind"]},
        {"choice": "first", "by_principle": {"kind": "first", "true": "first"}, "deciding": ["kind", "true"]},
        {"choice": "first", "by_principle": {"kind": "second", "calm": "unsure"}},
        {"choice": None, "outcome": "unsure", "by_principle": {"kind": "second"}},  # has no part in a preference
    )
    ((_, row),), _ = built(labels, "majority")
    by_principle = {one["principle"]: one["choice"] for one in row["by_principle"]}
    assert by_principle == {"kind": "chosen", "true": "tie", "calm": "unsure"}
    assert row["deciding"] == ["kind"]  # by two of three; true by one


def test_ratings_by_principle_are_averaged_over_those_who_gave_them() -> None:
    scale = {"min": 1, "max": 5}
    given = [(2, {"kind": 1.0}), (4, {"kind": 4.0, "true": 5.0})]
    labels = [feedback("rating", {"value": v, "scale": scale, "by_principle": said}) for v, said in given]
    ((_, row),), _ = built(labels, "soft")
    assert row["rating"] == 3
    assert {one["principle"]: one["rating"] for one in row["by_principle"]} == {"kind": 2.5, "true": 5.0}


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ({"choice": "first", "tie_kind": "both_bad"}, "only a tie is"),
        ({"choice": "both_bad", "tie_kind": "both_good"}, "contradict"),
        ({"choice": "unsure", "outcome": "tie"}, "contradict"),
        ({"choice": "unsure", "deciding": ["kind"]}, "principles decide a choice"),
        ({"choice": "unsure", "probability": 0.5}, "has no probability"),
        ({"choice": "first", "deciding": ["kind", "kind"]}, "named twice"),
        ({"choice": "first", "by_principle": {"kind": "both_bad"}}, "by_principle"),
        ({"choice": "first", "by_principle": {"": "first"}}, "by_principle"),
        ({"choice": "first", "by_principle": {f"p{i}": "first" for i in range(501)}}, "at most 500"),
    ],
)
def test_what_contradicts_itself_is_refused(label: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        feedback("comparison", label)


def test_what_says_nothing_new_is_written_as_before() -> None:
    label = feedback("comparison", {"choice": "first"})
    assert list(label.label.model_dump()) == ["choice", "outcome", "probability", "strength", "levels", "votes"]
    assert {"seconds", "flag"}.isdisjoint(label.model_dump(mode="json"))
    # As the version before them called these labels: a file that was imported then is not imported again.
    judged = feedback("comparison", {"choice": "first", "probability": 0.75})
    assert same_label(judged, "ada") == "e86111b18cd6aa1f40f05b909042fa17faad7c4397d652af5ca9b369b3360b26"
    assert (
        same_label(feedback("ranking", {"ranks": [2, 1]}), "ada")
        == "dfbb2739fde5f72e242ed21e625ed0733f7a6dc04f0207ade742e11a6a0839e6"
    )


def test_times_and_flags_make_no_other_label() -> None:
    plain, flagged = feedback("thumbs", {"value": "up"}), feedback("thumbs", {"value": "up"}, seconds=2, flag={})
    assert same_label(plain, "ada") == same_label(flagged, "ada")
    (bad, good), names = said("both_bad", "both_good"), "ada"
    assert same_label(bad, names) != same_label(good, names)


def test_responses_without_a_rank_are_in_no_row() -> None:
    label = feedback("ranking", {"ranks": [2, None, 1]}, ABC)
    ((_, row),) = label.rows()
    assert (row["responses"], row["ranks"]) == (["A.", "C."], [2, 1])
    assert isinstance(label.label, RankingLabel)
    assert (label.label.relation(2, 0), label.label.relation(0, 1)) == (1, None)


@pytest.mark.parametrize("ranks", [[None, None, None], [1, None, None], [1, None, 3]])
def test_two_are_ranked_without_a_gap(ranks: list[int | None]) -> None:
    with pytest.raises(ValidationError, match=r"two responses or more|without a gap"):
        feedback("ranking", {"ranks": ranks}, ABC)


def test_partial_rankings_go_by_the_share_of_others_that_each_is_above() -> None:
    labels = [
        feedback("ranking", {"ranks": [1, 2, None]}, ABC),  # A 1 of 1, B 0 of 1
        feedback("ranking", {"ranks": [2, 2, 1]}, ABC),  # C 2 of 2, A and B a half of 2
        feedback("ranking", {"ranks": [None, 1, 2]}, ABC),  # B 1 of 1, C 0 of 1
    ]  # A 1.5 of 3, B 1.5 of 4, C 2 of 3
    ((_, row),), _ = built(labels, "majority")
    assert (row["responses"], row["ranks"], row["labels"]) == (["A.", "B.", "C."], [2, 3, 1], 3)
    nobody = [feedback("ranking", {"ranks": [1, 2, None]}, ABC)] * 2
    ((_, row),), _ = built(nobody, "soft")
    assert (row["responses"], row["ranks"]) == (["A.", "B."], [1, 2])
    both = [feedback("ranking", {"ranks": ranks}, ABC) for ranks in ([1, 2, None], [2, 1, None])]
    assert built(both, "soft") == ([], {"tie": 2})


@given(st.lists(st.permutations((1, 2, 3, 4)), min_size=1, max_size=5))
def test_a_response_that_nobody_ranks_changes_nothing(rankings: list[list[int]]) -> None:
    """Of rankings without equals, the share of the others that one is above is Borda's count."""
    whole = RankingLabel.mean([RankingLabel(ranks=tuple(ranks)) for ranks in rankings], "soft")
    partial = RankingLabel.mean([RankingLabel(ranks=(None, *ranks)) for ranks in rankings], "soft")
    assert whole is not None and partial is not None
    if whole.label is None:
        assert partial.label is None
        return
    assert isinstance(whole.label, RankingLabel) and isinstance(partial.label, RankingLabel)
    assert partial.label.ranks == (None, *whole.label.ranks)


def test_words_are_answers() -> None:
    assert ComparisonLabel.model_validate({"choice": "both_good"}) == ComparisonLabel(
        choice="tie", tie_kind="both_good"
    )
    assert ComparisonLabel.model_validate({"choice": "unsure"}).unsure
