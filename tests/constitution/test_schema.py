"""What a constitution is, and what its digests cover."""

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from base.digest import canonical_json, digest, unit_interval
from constitution.schema import Constitution, Group, Principle
from tests.constitution.samples import header, make, principle


def test_canonical_json_ignores_key_order_and_digest_is_sha256_of_it() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


def test_unit_interval_is_inside_zero_and_one_and_differs_by_each_part() -> None:
    draws = {unit_interval("x", i, j) for i in range(20) for j in range(20)}
    assert len(draws) == 400
    assert all(0 < draw < 1 for draw in draws)


@pytest.mark.parametrize("field", ["statement", "title", "critique", "revision", "compare", "opposite", "id"])
def test_a_word_changes_both_digests(field: str) -> None:
    old, new = make(), make(principles=[principle(**{field: "another-word"})])
    assert old.principles[0].digest != new.principles[0].digest
    assert old.digest != new.digest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", 2.0),
        ("priority", 2),
        ("tags", ("safety",)),
        ("applies_to", ("coding",)),
        ("group", {"id": "g", "agrees": 3}),
    ],
)
def test_what_no_model_reads_changes_only_the_constitutions_digest(field: str, value: Any) -> None:
    old, new = make(), make(principles=[principle(**{field: value})])
    assert old.principles[0].digest == new.principles[0].digest
    assert old.digest != new.digest


def test_an_example_changes_the_principles_digest() -> None:
    example = {"prompt": "p", "response": "r", "critique": "c", "revision": "v"}
    assert make(principles=[principle(examples=[example])]).principles[0].digest != make().principles[0].digest


def test_white_space_and_line_folding_change_no_digest_and_not_what_a_model_reads() -> None:
    folded = make(principles=[principle(statement="  The statement\n   of\tbe-kind. \r\n")])
    assert folded.principles[0].statement == "The statement of be-kind."
    assert folded.digest == make().digest


def test_white_space_inside_an_examples_code_is_kept() -> None:
    code = "def f():\n    return 1"
    example = {"prompt": "p", "response": f"\n{code}\r\n", "critique": "c", "revision": "v"}
    assert make(principles=[principle(examples=[example])]).principles[0].examples[0].response == code


def test_a_preamble_keeps_its_paragraphs_only() -> None:
    assert make(preamble="one\ntwo\n\n \n three ").preamble == "one two\n\nthree"


def test_the_digest_of_a_demo_file_is_known() -> None:
    """Locks the identity: a change here orphans every stored vote and every recorded hash."""
    content = {**principle(), "opposite": None, "examples": []}
    keys = ("id", "title", "statement", "critique", "revision", "compare", "opposite", "examples")
    text = json.dumps(["principle", {k: content[k] for k in keys}], sort_keys=True, separators=(",", ":"))
    assert make().principles[0].digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_changed_copy_does_not_keep_the_old_digest() -> None:
    old = make()
    assert old.digest
    assert old.model_copy(update={"title": "Other"}).digest == make(title="Other").digest
    assert old.principles[0].digest
    changed = old.principles[0].model_copy(update={"critique": "Other."})
    assert changed.digest == Principle.model_validate(principle(critique="Other.")).digest


def test_records_are_frozen_and_hashable() -> None:
    one = make().principles[0]
    assert {one, make().principles[0]} == {one}
    with pytest.raises(ValidationError, match="frozen"):
        one.weight = 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "1.0"},
        {"version": "01.0.0"},
        {"version": "1.0.0-rc1"},
        {"version": "v1.0.0"},
        {"version": "1.0.0\n"},
        {"name": "Two Words"},
        {"name": "a--b"},
        {"name": "a\n"},
        {"title": " "},
        {"summary": "bell \x07"},
        {"summary": "half \ud800"},
        {"includes": ["demo"]},
        {"principles": [principle(weight=0)]},
        {"principles": [principle(weight=float("inf"))]},
        {"principles": [principle(weight=float("nan"))]},
        {"principles": [principle(priority=0)]},
        {"principles": [principle(tags=["a", "a"])]},
        {"principles": [principle(group={"id": "g", "agrees": -1})]},
        {"principles": [principle(), principle()]},
        {"motto": "unknown"},
    ],
)
def test_illegal_content_cannot_be_built(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Constitution.model_validate(header(**wrong))


def test_applies_by_tag_and_to_everything_by_default() -> None:
    everywhere, medical = make(principles=[principle("a"), principle("b", applies_to=["medical", "advice"])]).principles
    assert everywhere.applies(()) and everywhere.applies(["coding"])
    assert medical.applies(["advice", "coding"])
    assert not medical.applies(["coding"]) and not medical.applies(())


def test_support_counts_passes_as_asked() -> None:
    assert Group(id="g", agrees=6, disagrees=3, passes=1).support == 0.6
    assert Group(id="g").support is None


def test_ref_and_principle_by_id() -> None:
    assert make().ref == "demo@1.0.0"
    assert make().principle("be-kind").id == "be-kind"
    with pytest.raises(KeyError):
        make().principle("nobody")
