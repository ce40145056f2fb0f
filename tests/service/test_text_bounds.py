"""How long texts may be: measured by bytes, and named by field, size and limit."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic.records import Item, Prompt, Response
from service.bounds.text_bounds import VALUE_BYTES, TextBounds, _measured, values
from service.refusals import Invalid, Refusal
from tests.service.calls import comparison

BOUNDS = TextBounds(text=100, label=10_000)


def test_a_text_may_be_as_long_as_the_limit_in_bytes() -> None:
    assert BOUNDS.faults({"prompt": "x" * 100}) == []
    assert BOUNDS.faults({"prompt": "ä" * 50}) == []
    [fault] = BOUNDS.faults({"prompt": "ä" * 51})
    assert (fault.where, fault.problem) == ("/prompt", "the text has 102 bytes; the limit is 100 (max_text_bytes)")


def test_every_place_is_looked_at_and_the_first_few_are_named() -> None:
    long = "x" * 101
    row: dict[str, Any] = comparison(long, {"votes": [{"raw": long}]}) | {"responses": ["a", {"text": long}]}
    assert [fault.where for fault in BOUNDS.faults(row, "/3")] == [
        "/3/prompt",
        "/3/responses/1/text",
        "/3/label/votes/0/raw",
    ]
    many = BOUNDS.faults([long] * 50)
    assert [fault.where for fault in many] == ["/0", "/1", "/2", "/3", "/4"]


def test_all_of_a_label_has_a_limit_and_numbers_count() -> None:
    assert BOUNDS.faults(["x" * 90] * 60) == []
    [fault] = BOUNDS.faults(["x" * 90] * 70)
    assert fault.where == "" and fault.problem.startswith("all of it has ")
    assert BOUNDS.size([1] * 9) == 10 * VALUE_BYTES
    assert BOUNDS.faults([1] * 200)
    assert BOUNDS.faults({"x" * 11_000: 1})  # names of fields, too


def test_records_are_measured_as_plain_values_are() -> None:
    item = Item(
        prompt=Prompt.model_validate({"messages": [{"role": "user", "content": "x" * 101}]}),
        responses=(Response(text="y" * 102, model="m"),),
    )
    assert [fault.where for fault in BOUNDS.faults(item)] == ["/prompt/messages/0/content", "/responses/0/text"]
    assert BOUNDS.size(item) == BOUNDS.size({name: getattr(item, name) for name in ("prompt", "responses")})


def test_what_is_nested_deeply_is_measured_without_recursion() -> None:
    deep: Any = "x" * 101
    for _ in range(5000):
        deep = [deep]
    assert TextBounds(text=100, label=10**9).faults(deep)


def test_the_problem_names_field_size_and_limit() -> None:
    with pytest.raises(Refusal) as refused:
        BOUNDS.check({"label": {"text": "x" * 200}})
    assert isinstance(refused.value, Invalid)
    assert refused.value.slug == "too_long"
    assert refused.value.detail == "/label/text: the text has 200 bytes; the limit is 100 (max_text_bytes)"


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=40),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
        max_leaves=40,
    ),
    st.booleans(),
)
def test_what_is_told_of_a_whole_body_at_once_is_true_of_all_in_it(value: Any, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode()
    longest, total = _measured(value)
    assert total <= len(body) + VALUE_BYTES * (values(body) + 1)
    assert TextBounds(longest, total).faults(value) == []
    if TextBounds(longest - 1, total).fit(body) or TextBounds(longest, total - 1).fit(body):
        raise AssertionError("it was told to fit, and does not")
