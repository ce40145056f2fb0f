"""Labels to rows: by hand."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic.feedback import Feedback
from critic.feedback.aggregate import Method, build
from critic.feedback.base import Row
from tests.feedback_samples import feedback, feedbacks

ONE = {"min": 1, "max": 5}


def built(labels: list[Feedback], method: Method, **how: Any) -> tuple[list[Row], Counter[str]]:
    dropped: Counter[str] = Counter()
    return list(build(labels, method, dropped, **how)), dropped


def choices(*given: str | None, **fields: Any) -> list[Feedback]:
    return [
        feedback("comparison", {"choice": choice} if choice else {"outcome": "unreadable"}, annotator=f"a{i}", **fields)
        for i, choice in enumerate(given)
    ]


def said(rows: list[Row]) -> list[tuple[str, float, int]]:
    return [(row["chosen"][0]["content"], row["probability"], row["labels"]) for _, row in rows]


def test_each_annotator_has_a_row() -> None:
    rows, dropped = built(choices("first", "second", "tie", None), "each")
    assert said(rows) == [("The Nile.", 1.0, 1), ("The Po.", 1.0, 1)]
    assert [row["annotators"] for _, row in rows] == [["a0"], ["a1"]]
    assert dropped == {"tie": 1, "unreadable": 1}


def test_the_majority_decides() -> None:
    rows, dropped = built(choices("first", "second", "second", None), "majority")
    assert said(rows) == [("The Po.", 1.0, 3)]
    assert rows[0][1]["annotators"] == ["a0", "a1", "a2"]
    assert dropped == {"unreadable": 1}


@pytest.mark.parametrize("given", [("first", "second"), ("tie",), ("first", "tie", "tie"), ("first", "tie")])
def test_without_a_leading_answer_there_is_no_majority(given: tuple[str, ...]) -> None:
    rows, dropped = built(choices(*given), "majority")
    assert rows == []
    assert dropped == {"tie": len(given)}


def test_soft_is_the_mean_over_annotators() -> None:
    judge = feedback("comparison", {"choice": "second", "probability": 0.25}, source="ai")
    rows, _ = built([*choices("first", "first", "tie"), judge], "soft")  # (1 + 1 + 0.5 + 0.25) / 4
    assert said(rows) == [("The Nile.", 0.6875, 4)]
    assert rows[0][1]["sources"] == ["ai", "human"]


def test_soft_drops_what_balances() -> None:
    assert built(choices("first", "second"), "soft") == ([], {"tie": 2})


def test_soft_of_nothing_readable_is_nothing() -> None:
    assert built(choices(None, None), "soft") == ([], {"unreadable": 2})


def test_labels_count_for_their_texts_whatever_order_was_shown() -> None:
    shown = [
        feedback("comparison", {"choice": "first"}, ("The Nile.", "The Po.")),
        feedback("comparison", {"choice": "second"}, ("The Po.", "The Nile.")),
        feedback("comparison", {"choice": "first"}, ("The Po.", "The Nile.")),
    ]
    for method, probability in (("majority", 1.0), ("soft", 2 / 3)):
        rows, _ = built(shown, method)  # type: ignore[arg-type]  # a literal, one by one
        assert said(rows) == [("The Nile.", probability, 3)]


def test_groups_are_never_averaged_unless_asked() -> None:
    labels = choices("first", group="north") + choices("second", "second", group="south")
    rows, _ = built(labels, "soft")
    assert {(row["group"], row["chosen"][0]["content"]) for _, row in rows} == {
        ("north", "The Nile."),
        ("south", "The Po."),
    }
    ((_, pooled),), _ = built(labels, "soft", pool_groups=True)
    assert (pooled["group"], pooled["probability"]) == (None, pytest.approx(2 / 3))


def test_rows_bind_every_constitution_they_come_from() -> None:
    labels = choices("first", constitution="a@1.0.0", constitution_hash="a" * 64) + choices(
        "first", constitution="b@1.0.0", constitution_hash="b" * 64
    )
    ((_, row),), _ = built(labels, "majority")
    assert row["constitutions"] == ["a@1.0.0", "b@1.0.0"]
    assert row["constitution_hashes"] == ["a" * 64, "b" * 64]


def test_rankings_go_by_mean_rank() -> None:
    texts = ("A.", "B.", "C.")
    labels = [
        feedback("ranking", {"ranks": [1, 2, 3]}, texts),
        feedback("ranking", {"ranks": [3, 1, 2]}, ("B.", "C.", "A.")),  # A 2, B 3, C 1
        feedback("ranking", {"ranks": [1, 2, 2]}, texts),
    ]  # sums: A 4, B 7, C 6
    ((table, row),), _ = built(labels, "majority")
    assert (table, row["responses"], row["ranks"], row["labels"]) == ("rankings", ["A.", "B.", "C."], [1, 3, 2], 3)


def test_rankings_that_balance_are_dropped() -> None:
    labels = [feedback("ranking", {"ranks": ranks}) for ranks in ([1, 2], [2, 1])]
    assert built(labels, "soft") == ([], {"tie": 2})


def test_ratings_are_averaged_on_one_scale_only() -> None:
    labels = [feedback("rating", {"value": value, "scale": ONE}) for value in (2, 5)]
    labels.append(feedback("rating", {"value": 9, "scale": {"min": 0, "max": 10}}))
    labels.append(feedback("rating", {"value": 1, "scale": ONE, "response": 1}))
    rows, _ = built(labels, "soft")
    assert [(row["completion"][0]["content"], row["rating"]) for _, row in rows] == [
        ("The Nile.", 3.5),
        ("The Nile.", 9.0),
        ("The Po.", 1.0),
    ]


def test_thumbs() -> None:
    labels = [feedback("thumbs", {"value": value, "response": 1}) for value in ("up", "up", "down")]
    ((_, majority),), _ = built(labels, "majority")
    assert (majority["completion"][0]["content"], majority["label"]) == ("The Po.", True)
    ((_, soft),), _ = built(labels, "soft")
    assert (soft["rating"], soft["scale"], "label" in soft) == (2 / 3, [0.0, 1.0], False)
    assert built(labels[1:], "majority") == ([], {"tie": 2})


def test_demonstrations_and_corrections_are_rows_of_their_own() -> None:
    labels = [feedback("demonstration", {"text": text}) for text in ("The Elbe.", "The Ob.")]
    labels.append(feedback("correction", {"text": "The Nile!"}))
    rows, _ = built(labels, "majority")
    assert [table for table, _ in rows] == ["sft", "sft", "sft", "pairs"]


def test_critiques_are_counted() -> None:
    assert built([feedback("critique", {"text": "Dull."})], "each") == ([], {"critique": 1})


def test_empty_answers_are_dropped_by_name() -> None:
    assert built([feedback("comparison", {"choice": "first"}, ("The Nile.", " "))], "each") == (
        [],
        {"empty_response": 1},
    )


def test_a_sorted_stream_is_checked() -> None:
    labels = sorted(
        (feedback("thumbs", {"value": "up"}, (text,)) for text in ("A.", "B.", "C.")), key=lambda label: label.item
    )
    assert len(built(labels, "each", sorted_by_item=True)[0]) == 3
    with pytest.raises(ValueError, match="not sorted"):
        built([labels[1], labels[0]], "each", sorted_by_item=True)


@settings(max_examples=30)
@given(st.lists(feedbacks(turns=1), max_size=6), st.sampled_from(["each", "majority", "soft"]), st.booleans())
def test_every_label_is_in_a_row_or_counted(labels: list[Feedback], method: Method, pool: bool) -> None:
    rows, dropped = built(labels, method, pool_groups=pool)
    in_rows = sum(row["labels"] for table, row in rows if not (table == "sft" and "edited" in str(row["completion"])))
    corrections = sum(label.kind == "correction" for label in labels)
    paired = sum(table == "pairs" and row["chosen_model"] == "edited" for table, row in rows)
    compared, _ = built([label for label in labels if label.kind == "comparison"], method, pool_groups=pool)
    both_bad = sum(row["labels"] for table, row in compared if table == "ratings")  # each such tie rates two answers
    assert in_rows - both_bad // 2 - paired + corrections + dropped.total() == len(labels)
    in_order = sorted(labels, key=lambda label: label.item)
    again, _ = built(in_order, method, pool_groups=pool, sorted_by_item=True)
    assert sorted(map(str, again)) == sorted(map(str, built(in_order, method, pool_groups=pool)[0]))
