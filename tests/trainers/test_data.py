"""Files to examples: every format, every bad row by name, mixtures, held-out prompts, and a run's own exports."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from critic.messages import is_blank
from critic.records import Prompt
from tests.factories import prompt
from trainers.batches.data import Data, from_rows, hold_out, parse, read, read_all
from trainers.batches.examples import Demonstration, Example, Pair, Ranked, Rated

ALL = (Demonstration, Pair, Ranked, Rated)
TEACHING = (Pair, Ranked, Rated)
ASKED = [{"role": "user", "content": "Name a river."}]
PAIR = {"prompt": "Name a river.", "chosen": "The Po.", "rejected": "No."}
RANKING = {"prompt": "Name a river.", "responses": ["The Po.", "No.", "The Nile."], "ranks": [1, 2, 1]}
RATING = {"prompt": "Name a river.", "completion": "The Po.", "rating": 4, "scale": [1, 5]}
SHOWN = {"prompt": "Name a river.", "completion": "The Po."}
THUMB = SHOWN | {"label": True}


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def lines(file: Path, *rows: Any) -> str:
    """Write rows as JSON Lines (NaN included, as Python writes it); a string is a line as it is."""
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(file)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (PAIR, Pair(prompt=prompt(), chosen="The Po.", rejected="No.")),
        (
            {"prompt": ASKED, "chosen": answer("The Po."), "rejected": answer("No."), "probability": 0.8, "margin": 1},
            Pair(prompt=prompt(), chosen="The Po.", rejected="No.", probability=0.8, margin=1),
        ),
        (
            {"chosen": ASKED + answer("The Po."), "rejected": ASKED + answer("No."), "weight": 2, "group": "north"},
            Pair(prompt=prompt(), chosen="The Po.", rejected="No.", weight=2, group="north"),
        ),
        (RANKING, Ranked(prompt=prompt(), texts=("The Po.", "No.", "The Nile."), ranks=(1, 2, 1))),
        (RATING, Rated(prompt=prompt(), answer="The Po.", value=0.75)),
        (THUMB, Rated(prompt=prompt(), answer="The Po.", value=1)),
        (SHOWN | {"label": 0}, Rated(prompt=prompt(), answer="The Po.", value=0)),
        (SHOWN, Demonstration(prompt=prompt(), answer="The Po.")),
        ({"prompt": ASKED, "completion": answer("The Po.")}, Demonstration(prompt=prompt(), answer="The Po.")),
        ({"messages": ASKED + answer("The Po.")}, Demonstration(prompt=prompt(), answer="The Po.")),
    ],
)  # fmt: skip
def test_each_format(row: dict[str, Any], expected: Example) -> None:
    assert parse(row) == expected


def test_an_earlier_conversation_stays_with_the_prompt() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        *ASKED,
        *answer("The Po."),
        {"role": "user", "content": "And?"},
    ]
    example = parse({"chosen": turns + answer("The Nile."), "rejected": turns + answer("No.")})
    assert [message.content for message in example.prompt.messages] == ["Be brief.", "Name a river.", "The Po.", "And?"]


def with_each(name: str, *values: Any) -> list[dict[str, Any]]:
    """One change for each value of a column."""
    return [{name: value} for value in values]


PAIRS_REFUSED: dict[str, list[dict[str, Any]]] = {
    "empty_answer": [{"chosen": ""}, {"rejected": " \n"}],
    "equal_sides": [{"rejected": "The Po."}],
    "bad_responses": [{"chosen": ASKED}, {"chosen": []}, {"chosen": 5}, {"rejected": [{"content": "No."}]}],
    "bad_probability": with_each("probability", 1.2, -0.1, math.nan, math.inf, "high", [1]),
    "bad_weight": with_each("weight", 0, -1, math.nan, math.inf, "much"),
    "bad_margin": [{"margin": math.nan}, {"margin": "wide"}],
    "bad_group": [{"group": 7}],
    "empty_prompt": [{"prompt": " "}],
    "role_order": [{"prompt": ASKED + answer("Why?")}, {"prompt": []}, {"prompt": ASKED + ASKED},
        {"prompt": [{"role": "robot", "content": "?"}]}],
    "bad_prompt": [{"prompt": 5}],
    "no_prompt": [{"prompt": None}],
    "no_shared_prompt": [
        {"chosen": [{"role": "user", "content": "Else?"}, *answer("The Po.")], "rejected": ASKED + answer("No.")},
        {"chosen": [{"role": "user", "content": "Else?"}, *answer("The Po.")]},
    ],
    "bad_characters": [{"prompt": "a\0b"}, {"chosen": "a\0b"}, {"chosen": "a\ud800"}, {"rejected": answer("a\0b")}],
    "one_side": [{"rejected": None}],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "changes"), [(r, c) for r, changes in PAIRS_REFUSED.items() for c in changes])
def test_a_bad_pair_costs_itself_only(reason: str, changes: dict[str, Any], tmp_path: Path) -> None:
    data = read(lines(tmp_path / "p.jsonl", PAIR, PAIR | changes, PAIR | {"chosen": "The Nile."}), (Pair,))
    assert [example.answers[0] for example in data.examples] == ["The Po.", "The Nile."]
    [refused] = data.refused
    assert (refused.row, refused.where, refused.reason) == (1, "p.jsonl:2", reason)
    assert refused.detail


@pytest.mark.parametrize(
    ("good", "changes", "reason", "detail"),
    [
        (RANKING, {"ranks": [1, 2]}, "bad_ranks", "3 answers and 2 ranks"),
        (RANKING, {"ranks": "123"}, "bad_ranks", "ranks"),
        (RANKING, {"ranks": [1, 2, 2.5]}, "bad_ranks", "ranks"),
        (RANKING, {"responses": ["The Po."], "ranks": [1]}, "bad_texts", "2"),
        (RANKING, {"responses": "abc"}, "bad_responses", "list"),
        (RANKING, {"responses": 3}, "bad_responses", "list"),
        (RANKING, {"responses": ["a", "", "c"]}, "empty_answer", "empty"),
        (RATING, {"rating": 6}, "bad_rating", "6 is not on the scale 1 to 5"),
        (RATING, {"rating": math.nan}, "bad_rating", "rating is nan"),
        (RATING, {"scale": [5, 5], "rating": 5}, "bad_rating", "scale"),
        (RATING, {"scale": [5, 1]}, "bad_rating", "scale"),
        (RATING, {"scale": [-math.inf, 5]}, "bad_rating", "scale [-inf, 5]"),
        (RATING, {"scale": [1, math.inf]}, "bad_rating", "scale [1, inf]"),
        (RATING, {"scale": [-1.7e308, 1.7e308]}, "bad_rating", "not on the scale"),
        (RATING, {"scale": None}, "bad_rating", "scale"),
        (RATING, {"scale": 5}, "bad_rating", "scale"),
        (RATING, {"rating": "good"}, "bad_rating", "number"),
        (THUMB, {"label": 0.5}, "bad_label", "true or false"),
        (THUMB, {"label": "yes"}, "bad_label", "true or false"),
        (THUMB, {"label": [1]}, "bad_label", "true or false"),
        (SHOWN, {"completion": ASKED}, "bad_responses", "assistant"),
        (SHOWN, {"completion": "\t"}, "empty_answer", "empty"),
        ({"messages": ASKED + answer("a")}, {"messages": ASKED}, "bad_responses", "assistant"),
        ({"messages": ASKED + answer("a")}, {"messages": answer("a")}, "no_prompt", "prompt"),
        ({"messages": ASKED + answer("a")}, {"messages": "a"}, "no_prompt", "prompt"),
    ],
)
def test_other_bad_rows(good: dict[str, Any], changes: dict[str, Any], reason: str, detail: str) -> None:
    data = from_rows([good, good | changes, good], ALL)
    assert len(data.examples) == 2
    assert [row.reason for row in data.refused] == [reason]
    assert detail in data.refused[0].detail
    assert data.refused[0].where == "train_dataset:1"


def test_lines_that_are_no_rows_are_named(tmp_path: Path) -> None:
    source = lines(tmp_path / "p.jsonl", PAIR, '{"prompt": ', "[1, 2", '"text"', "17", "", PAIR)
    data = read(source, (Pair,))
    assert len(data.examples) == 2
    assert data.why_refused() == {"broken_line": 3, "unknown_format": 1}
    expected = [f"p.jsonl:{line}" for line in (2, 3, 4, 5)]
    assert [row.where for row in data.refused] == expected


def test_a_file_holds_one_kind_and_the_others_are_named() -> None:
    data = from_rows([PAIR, SHOWN, PAIR | {"chosen": "The Nile."}, THUMB], TEACHING)
    assert len(data.examples) == 2
    assert data.why_refused() == {"other_kind": 1, "mixed_formats": 1}
    assert "rated answers" not in data.refused[1].detail and "pairs" in data.refused[1].detail


def test_a_file_with_nothing_to_learn_is_refused_with_its_first_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to train on; the first row .* p\.jsonl:1: .*the same text"):
        read(lines(tmp_path / "p.jsonl", PAIR | {"rejected": "The Po."}), (Pair,))
    with pytest.raises(InputError, match="this trainer takes rated answers"):
        read(lines(tmp_path / "q.jsonl", PAIR), (Rated,))
    with pytest.raises(InputError, match="no such file"):
        read(str(tmp_path / "none.jsonl"), (Pair,))


# Values that rows of strangers may hold, in the columns that are read.
PLAIN: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
STRANGE = st.text(alphabet=st.characters(exclude_categories=()), max_size=6)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", 1])}, optional={"content": PLAIN})
VALUES = st.recursive(
    PLAIN | STRANGE | TURN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRANGE, inner, max_size=2)
)
COLUMNS = (
    *("prompt", "messages", "chosen", "rejected", "probability", "margin", "responses", "ranks", "completion"),
    *("label", "rating", "scale", "weight", "group", "tags", "kind", "constitution_hash"),
)
KIND_OF_FEEDBACK = st.sampled_from(["comparison", "ranking", "critique"])
CHANGES = st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=3)
ROWS = st.one_of(
    st.dictionaries(st.sampled_from(COLUMNS) | STRANGE, VALUES, max_size=6),
    CHANGES.map(PAIR.__or__),
    CHANGES.map(RANKING.__or__),
    st.builds(lambda row, kind: RANKING | row | {"kind": kind}, CHANGES, KIND_OF_FEEDBACK),
)


@given(ROWS)
def test_any_row_is_an_example_or_is_named(row: dict[str, Any]) -> None:
    """Never a crash; and what was taken can be written down and hashed."""
    data = from_rows([PAIR | {"kind": None}, row], ALL)
    assert len(data.examples) + len(data.refused) == 2
    assert len(data.sha256) == 64
    assert all(row.model_dump_json() for row in data.refused)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.floats(0, 1), st.floats(1e-3, 1e3))
def test_what_a_pair_says_is_what_is_learnt(chosen: str, rejected: str, probability: float, weight: float) -> None:
    """Texts come through to the letter, spaces and strange characters too; or the row has one of three faults."""
    row = {"prompt": "q", "chosen": chosen, "rejected": rejected, "probability": probability, "weight": weight}
    data = from_rows([PAIR, row], (Pair,))
    if data.refused:
        faults = (is_blank(chosen) or is_blank(rejected), chosen == rejected, "\0" in chosen + rejected)
        assert any(faults) and data.refused[0].reason in ("empty_answer", "equal_sides", "bad_characters")
        return
    assert data.examples[1] == Pair(
        prompt=prompt("q"), chosen=chosen, rejected=rejected, probability=probability, weight=weight,
        where="train_dataset:1",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["json", "parquet", "csv", "disk"])
def test_other_kinds_of_files_hold_the_same(kind: str, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [PAIR | {"probability": 0.75}, PAIR | {"chosen": "The Nile.", "probability": 1.0}]
    table, file = datasets.Dataset.from_list(rows), tmp_path / f"p.{kind}"
    if kind == "json":
        file.write_text(json.dumps(rows))
    elif kind == "parquet":
        table.to_parquet(file)
    elif kind == "csv":
        table.to_csv(file)
    else:
        table.save_to_disk(file)
    assert read(str(file), (Pair,)).sha256 == from_rows(rows, (Pair,)).sha256


def test_rows_of_a_dataset_are_read_as_those_of_a_file() -> None:
    rows = [{"prompt": ASKED, "chosen": answer("The Po."), "rejected": answer("No.")}]
    assert from_rows(datasets.Dataset.from_list(rows), (Pair,)).sha256 == from_rows(rows, (Pair,)).sha256


def test_the_hash_is_of_what_is_learnt_not_of_the_files_name(tmp_path: Path) -> None:
    one, two = ({"prompt": "q", "chosen": side, "rejected": "No."} for side in ("a", "b"))
    read_one = read(lines(tmp_path / "one.jsonl", one, two), (Pair,))
    read_two = read(lines(tmp_path / "two.jsonl", "", one | {"unknown": 1}, two), (Pair,))
    assert read_one.examples[0].where != read_two.examples[0].where
    assert read_one.sha256 == read_two.sha256
    others = (lines(tmp_path / "o.jsonl", two, one), lines(tmp_path / "w.jsonl", one, two | {"weight": 2}))
    assert len({read(other, (Pair,)).sha256 for other in others} | {read_one.sha256}) == 3


def shown(folder: Path, name: str, count: int) -> str:
    return lines(folder / f"{name}.jsonl", *({"prompt": f"{name} {i}", "completion": "Yes."} for i in range(count)))


def sources_of(data: Data) -> Counter[str]:
    return Counter(example.prompt.messages[0].content.split()[0] for example in data.examples)


def test_sources_are_mixed_by_ratio_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    """30 to 10 at 1 to 2: the second is the scarcer and taken whole, so 5 of the first."""
    mixture = [{"path": shown(tmp_path, "a", 30), "ratio": 1}, {"path": shown(tmp_path, "b", 10), "ratio": 2}]
    data = read_all(mixture, (Demonstration,))
    assert sources_of(data) == {"a": 5, "b": 10}
    assert data.why_refused() == {"mixture": 25}
    taken = [example.where for example in data.examples if example.where.startswith("a")]
    assert taken == sorted(taken, key=lambda where: int(where.split(":")[1])) and taken[-1] != "a.jsonl:5"
    assert read_all(mixture, (Demonstration,)).sha256 == data.sha256


def test_without_ratios_all_is_taken(tmp_path: Path) -> None:
    data = read_all([shown(tmp_path, "a", 3), {"path": shown(tmp_path, "b", 2)}], (Demonstration,))
    assert sources_of(data) == {"a": 3, "b": 2} and not data.refused


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"path": "x", "share": 1}, "unknown key 'share'"),
        ({"ratio": 1}, "names no path"),
        ({"path": "x", "ratio": 0}, "no number above 0"),
        ({"path": "x", "ratio": "much"}, "no number above 0"),
        ({"path": "x", "ratio": math.nan}, "no number above 0"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(source: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_all([source], (Demonstration,))


def test_prompts_are_held_out_whole() -> None:
    """Two rows of one prompt are on one side; about the share is held out; nothing is lost."""
    rows = [{"prompt": f"q{i}", "chosen": f"a{i}", "rejected": f"b{k}"} for i in range(400) for k in range(2)]
    all_of_it = from_rows([*rows, PAIR | {"chosen": ""}], (Pair,))
    kept, held = hold_out(all_of_it, 0.25)
    prompts: list[set[Prompt]] = []
    for side in (kept, held):
        prompts.append({example.prompt for example in side.examples})
    assert not prompts[0] & prompts[1]
    assert len(kept.examples) + len(held.examples) == 800
    assert 70 <= len(prompts[1]) <= 130
    assert (len(kept.refused), len(held.refused)) == (1, 0)
    shuffled, _ = hold_out(from_rows(rows[::-1], (Pair,)), 0.25)
    assert {example.prompt for example in shuffled.examples} == prompts[0]


def test_a_stranger_who_calls_a_column_kind_is_read() -> None:
    [example] = from_rows([PAIR | {"kind": "math"}], (Pair,)).examples
    assert isinstance(example, Pair)


def test_a_score_that_is_a_number_is_no_label_and_the_option_is_named(tmp_path: Path) -> None:
    """Of OpenRLHF's files for KTO it is one; of others it is a quality of any scale."""
    file = tmp_path / "rows.jsonl"
    rows = ({"prompt": f"Name river {i}.", "response": "The Nile.", "score": i} for i in (1, 0))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"good \(1\) or bad \(0\), give --column label=score"):
        read_all([str(file)], (Rated,))
    told = read_all([{"path": str(file), "columns": "label=score"}], (Rated,)).examples
    assert [one.value for one in told if isinstance(one, Rated)] == [1, 0]
    assert len(read_all([str(file)], (Demonstration,)).examples) == 2
