"""Items for projects out of files, which end by rows and by bytes, however small they are packed."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.feedback import Kind
from service.review import item_files
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


PAIR = {"prompt": "Name a river.", "chosen": "The Po.", "rejected": "Paris."}
READERS: list[Callable[..., Any]] = [items_of, known_items_of]


def packed_pairs(folder: Path, rows: int, text: str = "") -> Path:
    """A packed file of pairs."""
    path = folder / "pairs.jsonl.gz"
    lines = [
        json.dumps({**PAIR, "prompt": f"{PAIR['prompt']} {number}", "chosen": f"The Po. {text}"})
        for number in range(rows)
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


@pytest.mark.parametrize("read", READERS)
def test_items_end_by_rows_and_by_bytes(
    read: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed file of 16 MB may hold gigabytes of text, all of which was in memory before anybody looked at it."""
    read(packed_pairs(tmp_path, 3), "comparison")
    monkeypatch.setattr(item_files, "MOST_BYTES", 100_000)
    packed = packed_pairs(tmp_path, 3, "and so on " * 5000)
    assert packed.stat().st_size < 2000
    with pytest.raises(InputError, match="more than 100,000 bytes"):
        read(packed, "comparison")
    monkeypatch.setattr(item_files, "MOST_ITEMS", 3)
    with pytest.raises(InputError, match="more than 3 rows"):
        read(packed_pairs(tmp_path, 4), "comparison")


@pytest.mark.parametrize("read", READERS)
def test_reading_ends_where_nobody_waits_for_it(read: Callable[..., Any], tmp_path: Path) -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        read(packed_pairs(tmp_path, 9), "comparison", look)
    assert looks == 2
