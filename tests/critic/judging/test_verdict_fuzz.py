"""A judge's words are anything: each text is a verdict or none, and none is guessed."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from critic.judging.modes.verdict import parse_verdict

BLANKS = st.text(" \t\r\n", max_size=3)
WORDS = ("better", '"better"', '"A"', '"B"', '"tie"', "null", "NaN", "1e999", "```", "\\u0041", "\ud800", "9" * 5000)
PIECES = st.sampled_from([*WORDS, *'{}[]:,"A \n\\\x00\ufeff'])


@given(st.text() | st.lists(PIECES).map("".join) | st.lists(PIECES | st.text(max_size=3)).map("".join))
@example("[" * 100_000)
@example('{"better":' * 100_000)
@example('{"better": "A", "better": "A"}')
@example('{"better": "A"}\x00')
def test_any_text_is_one_object_of_the_form_or_no_verdict(text: str) -> None:
    verdict = parse_verdict(text)
    if verdict is not None:
        assert json.loads(text, object_pairs_hook=list) == [("better", verdict)]
        assert verdict in ("A", "B", "tie")


@given(st.sampled_from(["A", "B", "tie"]), st.lists(BLANKS, min_size=6, max_size=6))
def test_blanks_around_its_parts_change_no_verdict(verdict: str, blanks: list[str]) -> None:
    parts = ["{", '"better"', ":", f'"{verdict}"', "}", ""]
    assert parse_verdict("".join(blank + part for blank, part in zip(blanks, parts, strict=True))) == verdict


@given(st.sampled_from(["A", "B", "tie"]), st.text(min_size=1).filter(lambda text: text.strip(" \t\r\n")))
def test_a_word_beside_the_object_makes_it_none(verdict: str, word: str) -> None:
    text = json.dumps({"better": verdict})
    assert parse_verdict(text + word) is None
    assert parse_verdict(word + text) is None
    assert parse_verdict(text + text) is None


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5)


@given(JSON)
def test_other_json_is_no_verdict(value: object) -> None:
    assert parse_verdict(json.dumps(value)) is None
    if value not in ("A", "B", "tie"):
        assert parse_verdict(json.dumps({"better": value})) is None
    assert parse_verdict(json.dumps({"better": "A", "reason": value})) is None
