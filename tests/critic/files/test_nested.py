"""Lists, chats and numbers that a file holds as texts, or by their columns: told from answers that only look so."""

import json
from pathlib import Path
from typing import Any

import pytest

from critic.files.containers.nested import unfolded
from critic.files.inputs import read_pairs, read_prompts
from critic.files.shapes import naming
from critic.files.sources import open_source
from critic.records import Line, Quarantined
from critic.rows import Broken, RowError
from trainers.batches.data import from_rows
from trainers.batches.examples import Pair

SAID = {"role": "assistant", "content": "The emu."}


@pytest.mark.parametrize(
    "text",
    [
        '[{"value": 3}, {"value": 4}]',
        '[{"content": "one"}, {"content": "two"}]',
        '{"role": "admin", "name": "Kim"}',
        '{"role": "user", "name": "Kim"}',
        '[{"from": "Berlin", "to": "Paris"}]',
        "[{'from': 'Berlin', 'to': ",
        '{"value": ',
        "[1, 2]",
        '["a", "b"]',
        '{"steps": ["one"], "messages": [], "answer": 4}',
        "{x for x in y}",
    ],
)
def test_an_answer_in_json_is_no_chat(text: str) -> None:
    row = {"prompt": text, "chosen": text, "rejected": "b"}
    assert unfolded(row) is row


@pytest.mark.parametrize(
    "written", [json.dumps([SAID]), str([SAID]), json.dumps(SAID), str(SAID), json.dumps([SAID], indent=1)]
)
def test_a_chat_is_one_however_it_is_written(written: str) -> None:
    assert unfolded({"chosen": written}) == {"chosen": [SAID]}


@pytest.mark.parametrize(
    "text", ["[{'role': ", f"[{SAID}\n {SAID}]", '[{"content": "a", "role": "user"} {"content": "b"}]']
)
def test_a_chat_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RowError) as caught:
        unfolded({"chosen": text})
    assert caught.value.reason == "bad_chat" and "JSON Lines" in caught.value.detail


@pytest.mark.parametrize("text", ["[WP] You wake up.", "[1] and [2]", "[a, b", "{x}"])
def test_a_text_that_begins_with_a_bracket_stays_one(text: str) -> None:
    row = {"prompt": text, "history": text, "answers": text, "tags": text, "label": text}
    assert unfolded(row) is row


def test_strings_that_numpy_wrote_without_commas_are_not_joined() -> None:
    row = {"responses": "['one' 'two']", "ratings": "[1. 2.]"}
    assert unfolded(row) is row
    assert unfolded({"responses": "['one', 'two']", "ratings": "[1, 2]"}) == {
        "responses": ["one", "two"],
        "ratings": [1, 2],
    }


@pytest.mark.parametrize("name", ["responses", "generations", "completions", "answers"])
def test_a_list_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"prompt,{name}\nWhy?,\"['a' 'b']\"\n")
    (row,) = read_pairs(str(tmp_path / "in.csv"), max_chars=99, truncate=False)
    assert isinstance(row, Quarantined) and row.reason == "broken_line" and name in row.detail


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.5", 0.5), ("0,5", 0.5), ("-1,25", -1.25), ("0,125", 0.125), ("1,250", None), ("1.250,5", None), ("x", None)],
)
def test_numbers_with_a_comma_are_decimals_unless_they_may_be_thousands(text: str, number: float | None) -> None:
    row = {"weight": text, "prompt": text}
    assert unfolded(row) == {"weight": text if number is None else number, "prompt": text}


def test_an_object_of_lists_is_a_list_of_objects_where_one_is_expected() -> None:
    by_columns = {"role": ["user", "assistant"], "content": ["Why?", "So."]}
    assert unfolded({"messages": by_columns})["messages"][1] == {"role": "assistant", "content": "So."}
    uneven: dict[str, Any] = {"messages": by_columns | {"content": ["Why?"]}}
    other: dict[str, Any] = {"extra_info": by_columns, "label": by_columns, "responses": {"answer": [{"value": "a"}]}}
    assert unfolded(uneven) is uneven and unfolded(other) is other


@pytest.mark.parametrize("cell", ["nan", "NaN", "<NA>", ""])
def test_a_cell_that_says_that_a_value_is_missing_holds_nothing(cell: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"prompt,chosen,rejected\nWhy?,So.,{cell}\n")
    (row,) = read_pairs(str(tmp_path / "in.csv"), max_chars=99, truncate=False)
    assert isinstance(row, Quarantined) and row.reason == "one_side"
    (tmp_path / "in.jsonl").write_text(json.dumps({"prompt": "Why?", "chosen": "So.", "rejected": "nan"}))
    (row,) = read_pairs(str(tmp_path / "in.jsonl"), max_chars=99, truncate=False)
    assert isinstance(row, Line), "JSON knows null, so there it is a text"


def test_rows_in_memory_are_read_as_those_of_a_file() -> None:
    row = {"prompt": "Why?", "chosen": json.dumps([SAID]), "rejected": "No.", "weight": "1,5"}
    [pair] = from_rows([row], (Pair,)).examples
    assert isinstance(pair, Pair) and (pair.chosen, pair.weight) == ("The emu.", 1.5)


def test_lines_may_end_as_on_old_machines(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbfOne?\r\rTwo?\r")
    (tmp_path / "in.jsonl").write_bytes(b'{"prompt": "One?"}\r{"prompt": "Two?"}')
    for name, place in (("in.txt", 3), ("in.jsonl", 2)):
        one, two = read_prompts(str(tmp_path / name), max_chars=99, truncate=False)
        assert isinstance(one, Line) and one.item.prompt.messages[0].content == "One?"
        assert isinstance(two, Line) and two.where == f"{name}:{place}"
    (tmp_path / "in.txt").write_bytes(b"One\rline?\nTwo?\n")
    assert len(list(read_prompts(str(tmp_path / "in.txt"), max_chars=99, truncate=False))) == 2


def test_a_table_in_one_line_is_read_whatever_its_name_ends_in(tmp_path: Path) -> None:
    """As pandas writes one, where nobody asks it for lines."""
    table = {"prompt": {"0": "One?", "1": "Two?"}, "chosen": {"0": "a", "1": "b"}, "rejected": {"0": "c", "1": "d"}}
    (tmp_path / "in.jsonl").write_text(json.dumps(table))
    assert len(list(read_pairs(str(tmp_path / "in.jsonl"), max_chars=99, truncate=False))) == 2


def test_a_comma_after_a_row_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "One?"},\n{"prompt": "Two?"}\n')
    bad, good = open_source(str(tmp_path / "in.jsonl"), naming()).rows
    assert isinstance(bad, Broken) and "a comma follows the row" in bad.detail and not isinstance(good, Broken)


def test_step_dpo_is_read_by_its_whole_answers_where_a_person_says_so(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "initial_reason_steps": "", "chosen": "x", "rejected": "y"}
    (tmp_path / "in.jsonl").write_text(json.dumps(row | {"full_chosen": "So.", "full_rejected": "No."}))
    (refused,) = read_pairs(str(tmp_path / "in.jsonl"), max_chars=99, truncate=False)
    assert isinstance(refused, Quarantined) and refused.reason == "step_labels"
    column = refused.detail.partition("--column ")[2]
    (line,) = read_pairs(str(tmp_path / "in.jsonl"), max_chars=99, truncate=False, columns=naming(column))
    assert isinstance(line, Line) and [one.text for one in line.item.responses] == ["So.", "No."]
