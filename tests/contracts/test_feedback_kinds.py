"""What every kind of feedback promises. A new kind adds its strategy to `tests.feedback_samples.LABELS`."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from critic.feedback import KINDS, Feedback
from critic.feedback.aggregate import build
from tests.feedback_samples import LABELS, feedback, feedbacks
from trainers.batches.data import from_rows, parse
from trainers.batches.examples import Demonstration, Pair, Ranked, Rated

OF_TABLE = {"pairs": Pair, "rankings": Ranked, "ratings": Rated, "sft": Demonstration}

kinds = pytest.mark.parametrize("kind", KINDS)


def test_every_kind_has_a_strategy() -> None:
    assert set(LABELS) == set(KINDS)


@given(feedbacks())
def test_json_round_trip(label: Feedback) -> None:
    assert Feedback.model_validate_json(label.model_dump_json()) == label
    assert Feedback.model_validate(label.model_dump()) == label


@kinds
@given(st.data())
def test_trainers_read_what_a_kind_gives(kind: str, data: st.DataObject) -> None:
    label = data.draw(feedbacks([kind]))
    for table, row in label.rows():
        example = parse({name: value for name, value in row.items() if value is not None})
        assert isinstance(example, OF_TABLE[table])
        expected = [message["content"] for message in row["prompt"]]
        assert [message.content for message in example.prompt.messages] == expected
        assert example.group == label.group
        assert row["constitution_hashes"] == ([label.constitution_hash] if label.constitution_hash else [])


def test_trainers_name_every_constitution_of_a_row() -> None:
    labels = [feedback("comparison", {"choice": "first"}, constitution_hash=letter * 64) for letter in "ab"]
    rows = [row for _, row in build(labels, "majority", Counter())]
    assert from_rows(rows, [Pair]).constitutions == ("a" * 64, "b" * 64)


@given(feedbacks(), st.data())
def test_another_order_of_the_responses_says_the_same(label: Feedback, data: st.DataObject) -> None:
    given_order = [response.text for response in label.responses]
    turned = label.in_order_of(data.draw(st.permutations(given_order)))
    assert turned.item == label.item
    assert Feedback.model_validate(turned.model_dump()) == turned
    assert turned.in_order_of(given_order) == label
    before, after = list(label.rows()), list(turned.rows())
    if label.kind == "ranking":
        before = [(table, dict(zip(row["responses"], row["ranks"], strict=True))) for table, row in before]
        after = [(table, dict(zip(row["responses"], row["ranks"], strict=True))) for table, row in after]
    if [table for table, _ in before] == ["ratings", "ratings"]:  # of two bad answers
        before, after = (sorted(rows, key=lambda row: str(row[1]["completion"])) for rows in (before, after))
    assert after == before


@kinds
def test_forms_ask_for_keys_of_the_label(kind: str) -> None:
    form = KINDS[kind].form()
    assert form
    assert {field.name for field in form} <= set(KINDS[kind].model_fields)
    for field in form:
        assert field.title
        assert bool(field.options) == (field.type == "choice")
        assert (field.max is not None) == (field.type == "number")


@kinds
def test_the_form_asks_for_all_that_has_no_default(kind: str) -> None:
    asked = {field.name for field in KINDS[kind].form()} | {"scale"}  # a rating's scale is stated, not asked
    needed = {name for name, field in KINDS[kind].model_fields.items() if field.is_required()}
    assert needed <= asked


@given(feedbacks(), st.sampled_from(["\0", "\ud800"]), st.sampled_from(["prompt", "responses", "annotator", "where"]))
def test_text_that_cant_be_stored_is_refused(label: Feedback, bad: str, place: str) -> None:
    raw = label.model_dump()
    if place == "prompt":
        raw["prompt"]["messages"][0]["content"] += bad
    elif place == "responses":
        raw["responses"][0]["text"] += bad
    else:
        raw[place] = f"x{bad}"
    with pytest.raises(ValidationError, match=r"NUL|surrogate|unicode"):
        Feedback.model_validate(raw)


def test_labels_too_are_searched() -> None:
    with pytest.raises(ValidationError, match=r"NUL character \(at 1\)"):
        feedback("critique", {"text": "a\0b"})


@kinds
@given(st.data())
def test_a_label_of_another_kind_is_refused(kind: str, data: st.DataObject) -> None:
    label = data.draw(feedbacks([kind]))
    other = data.draw(st.sampled_from([name for name in KINDS if name != kind]))
    with pytest.raises(ValidationError, match=f"label of a {kind}"):
        Feedback.model_validate(dict(label) | {"kind": other})


def test_an_unknown_kind_names_the_known_ones() -> None:
    raw = feedback("thumbs", {"value": "up"}).model_dump() | {"kind": "stars"}
    with pytest.raises(ValidationError, match="known kinds: 'comparison', 'correction'"):
        Feedback.model_validate(raw)
