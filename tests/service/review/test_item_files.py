"""Items for projects out of files."""

import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.feedback import Kind
from service.review.item_files import items_of, known_ending, known_items_of
from tests.factories import workbook


def written(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def test_pairs_of_any_shape_are_items_and_bad_rows_are_named(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {"prompt": "A?", "chosen": "yes", "rejected": "no"},
        {"prompt": "B?", "responses": ["one", "two"]},
        "not JSON",
        {"prompt": "C?"},
        {"prompt": "D?", "responses": ["one", "two", "three"]},
        {"prompt": "E?", "responses": ["same", "same"]},
    )
    read = items_of(file, "comparison")
    assert [len(item.responses) for item in read.items] == [2, 2]
    assert read.left_out_count == 4 and read.left_out[0].where.endswith(":3")


def test_one_response_is_enough_for_a_rating_and_none_for_a_demonstration(tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": "A?", "completion": "yes"}, {"prompt": "B?", "responses": ["one"]})
    assert [len(item.responses) for item in items_of(file, "rating").items] == [1, 1]
    prompts = written(tmp_path, "What is it?", "And this?", name="rows.txt")
    assert [item.responses for item in items_of(prompts, "demonstration").items] == [[], []]


@pytest.mark.parametrize("rows", [[], ["nothing of it", "is a row"]])
def test_a_file_without_items_is_refused_with_the_reason(tmp_path: Path, rows: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        items_of(written(tmp_path, *rows), "comparison")
    assert refused.value.where


def test_a_workbook_is_read_as_any_table(tmp_path: Path) -> None:
    file = tmp_path / "rows.xlsx"
    file.write_bytes(workbook(("Question", "Chosen", "Rejected"), ("A?", "yes", "no"), ("B?", "yes", None)))
    read = items_of(file, "comparison")
    [item] = read.items
    assert [getattr(response, "text", response) for response in item.responses] == ["yes", "no"]
    assert [row.where for row in read.left_out] == ["rows.xlsx:3"]


def test_endings_keep_what_packs_a_file() -> None:
    assert known_ending("my pairs.v2.jsonl.gz") == ".jsonl.gz"
    assert "/" not in known_ending("../../etc/passwd.csv")


@pytest.mark.parametrize(
    ("kind", "row", "expected"),
    [
        ("comparison", {"prompt": "A?", "chosen": "yes", "rejected": "no", "why": "so"}, "first"),
        ("comparison", {"prompt": "A?", "responses": ["no", "yes"], "expected": "second"}, "second"),
        ("rating", {"prompt": "A?", "responses": ["yes"], "expected": {"value": 4}}, {"value": 4}),
    ],
)
def test_gold_has_a_right_answer(tmp_path: Path, kind: Kind, row: dict[str, Any], expected: Any) -> None:
    [known] = known_items_of(written(tmp_path, row), kind)
    assert known.expected == expected and known.why == row.get("why", "")


def test_gold_without_an_answer_is_refused_by_its_row(tmp_path: Path) -> None:
    file = written(
        tmp_path, {"prompt": "A?", "responses": ["a"], "expected": "x"}, {"prompt": "B?", "responses": ["a"]}
    )
    with pytest.raises(InputError, match="no right answer") as refused:
        known_items_of(file, "rating")
    assert refused.value.where.endswith(":2")
