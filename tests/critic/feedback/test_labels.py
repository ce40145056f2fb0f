"""Labels that contradict themselves or their responses are refused, in words."""

from typing import Any

import pytest
from pydantic import ValidationError

from critic.feedback import KINDS, ComparisonLabel, RatingLabel, Scale
from tests.feedback_samples import feedback

THREE = ("The Nile.", "The Po.", "The Elbe.")
FIVE = {"min": 1, "max": 5}


@pytest.mark.parametrize(
    ("kind", "label", "texts", "words"),
    [
        ("comparison", {"choice": "first"}, THREE, "about 2 responses; 3 were given"),
        ("comparison", {"choice": "first"}, ("Same.", "Same."), "same text"),
        ("comparison", {}, THREE[:2], "which response is better: first, second or tie"),
        ("comparison", {"choice": "first", "outcome": "unreadable"}, THREE[:2], "contradict"),
        ("comparison", {"choice": "first", "probability": 0.4}, THREE[:2], "probability 0.4"),
        ("comparison", {"choice": "second", "probability": 0.5}, THREE[:2], "probability 0.5"),
        ("comparison", {"outcome": "unreadable", "probability": 0.4}, THREE[:2], "not read"),
        ("comparison", {"choice": "first", "strength": 3, "levels": 2}, THREE[:2], "off its scale, 1 to 2"),
        ("comparison", {"choice": "first", "strength": 1}, THREE[:2], "needs levels"),
        ("comparison", {"choice": "tie", "strength": 1, "levels": 2}, THREE[:2], "only a preference"),
        ("ranking", {"ranks": [1, 2]}, THREE, "3 responses and 2 ranks"),
        ("ranking", {"ranks": [1, 3, 1]}, THREE, "without a gap"),
        ("ranking", {"ranks": [0, 1, 2]}, THREE, "without a gap"),
        ("ranking", {"ranks": [1, 2]}, ("Same.", "Same."), "same text"),
        ("ranking", {"ranks": [1]}, THREE[:1], "at least 2"),
        ("ranking", {"ranks": [1, 2, 3], "strengths": [1.0]}, THREE, "3 ranks and 1 strengths"),
        ("rating", {"value": 6, "scale": FIVE}, THREE[:1], "a rating of 6 is off its scale, 1 to 5"),
        ("rating", {"value": 1, "scale": {"min": 5, "max": 1}}, THREE[:1], "a scale goes up"),
        ("rating", {"value": 1, "scale": FIVE, "response": 1}, THREE[:1], "no response 1"),
        ("rating", {"value": float("nan"), "scale": FIVE}, THREE[:1], "finite"),
        ("thumbs", {"value": "up"}, (), "about 1 or more responses; 0 were given"),
        ("thumbs", {"value": "up", "response": 2}, THREE[:2], "no response 2"),
        ("critique", {"text": "  "}, THREE[:1], "critique is empty"),
        ("critique", {"text": "Wrong.", "spans": [{"start": 3, "end": 10}]}, ("The Nile.",), "which has 9 characters"),
        ("critique", {"text": "Wrong.", "spans": [{"start": 3, "end": 3}]}, ("The Nile.",), "ends after it starts"),
        ("demonstration", {"text": " \n"}, (), "demonstration is empty"),
        ("correction", {"text": ""}, THREE[:1], "correction is empty"),
        ("correction", {"text": "The Nile."}, THREE[:1], "nothing was edited"),
    ],
)
def test_refused(kind: str, label: dict[str, Any], texts: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        feedback(kind, label, texts)


def test_a_choice_is_enough_for_a_comparison() -> None:
    label = feedback("comparison", {"choice": "tie"}).label
    assert isinstance(label, ComparisonLabel)
    assert (label.outcome, label.first_is_better) == ("tie", 0.5)


def test_a_pair_has_the_better_response_as_chosen() -> None:
    ((table, row),) = feedback("comparison", {"choice": "second", "probability": 0.25}).rows()
    assert table == "pairs"
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("The Po.", "The Nile.")
    assert row["probability"] == 0.75


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("comparison", {"choice": "tie"}),
        ("comparison", {"outcome": "unreadable"}),
        ("ranking", {"ranks": [1, 1]}),
        ("critique", {"text": "Too long."}),
    ],
)
def test_what_holds_no_preference_gives_no_row(kind: str, label: dict[str, Any]) -> None:
    assert list(feedback(kind, label).rows()) == []


def test_a_correction_is_an_answer_and_a_pair_unless_said_otherwise() -> None:
    edited = {"text": "The Po, in Italy.", "response": 1}
    (sft, completion), (pairs, pair) = feedback("correction", edited).rows()
    assert (sft, completion["completion"][0]["content"]) == ("sft", "The Po, in Italy.")
    assert (pairs, pair["rejected"][0]["content"]) == ("pairs", "The Po.")
    assert [table for table, _ in feedback("correction", edited | {"better": False}).rows()] == ["sft"]


def test_thumbs_and_ratings_are_about_the_response_they_name() -> None:
    ((_, thumbs),) = feedback("thumbs", {"value": "down", "response": 1}).rows()
    assert (thumbs["completion"][0]["content"], thumbs["label"]) == ("The Po.", False)
    ((_, rating),) = feedback("rating", {"value": 2, "scale": FIVE, "response": 1}).rows()
    assert (rating["completion"][0]["content"], rating["rating"], rating["scale"]) == ("The Po.", 2.0, [1.0, 5.0])


def test_turning_a_comparison_turns_its_votes() -> None:
    vote = {
        "principle": "short",
        "principle_digest": "d" * 64,
        "judge": "j",
        "mode": "score",
        "order": "given",
        "log_odds": 1.5,
        "values": (7.0, 3.0),
    }
    label = feedback("comparison", {"choice": "first", "probability": 0.75, "votes": [vote]})
    turned = label.in_order_of(["The Po.", "The Nile."]).label
    assert isinstance(turned, ComparisonLabel)
    assert (turned.choice, turned.probability) == ("second", 0.25)
    assert (turned.votes[0].log_odds, turned.votes[0].order, turned.votes[0].values) == (-1.5, "swapped", (3.0, 7.0))


def test_items_are_the_same_whatever_order_was_shown() -> None:
    one = feedback("comparison", {"choice": "first"})
    other = feedback("comparison", {"choice": "tie"}, ("The Po.", "The Nile."), annotator="ann")
    assert one.item == other.item
    assert one.item != feedback("comparison", {"choice": "first"}, ("The Po.", "The Elbe.")).item


def test_a_form_follows_the_scale() -> None:
    scale = Scale(min=0, max=3, min_means="awful", max_means="fine")
    value = next(field for field in RatingLabel.form(scale) if field.name == "value")
    assert (value.min, value.max, value.min_means, value.max_means) == (0, 3, "awful", "fine")
    assert [field.name for field in ComparisonLabel.form(levels=2)] == ["choice", "strength"]


def test_forms_are_plain_json() -> None:
    (choice,) = KINDS["comparison"].form()
    assert choice.model_dump(mode="json")["options"][1] == {"value": "both_good", "title": "Both are equally good"}
