"""Sheets with the columns named."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from base.errors import InputError
from critic.feedback import ComparisonLabel, Feedback
from critic.files.sources import Broken
from critic.records import Message, Prompt
from service.formats import format_of
from service.formats.base import Found
from tests.feedback_samples import feedback

HEADER = ("id", "question", "model_a", "model_b", "a", "b", "a_ok", "preference", "who")
COLUMNS: dict[str, Any] = {
    "prompt": "question",
    "prompt_id": "id",
    "responses": ["a", "b"],
    "models": ["model_a", "model_b"],
    "annotator": "who",
    "choice": "preference",
}
ROWS: list[tuple[Any, ...]] = [
    (1.0, "Name a river.", "big", "small", "The Nile.", "The Po.", "yes", "a-is-better", "ann"),
    (1.0, "Name a river.", "small", "big", "The Po.", "The Nile.", "no", "b-is-slightly-better", "bob"),
    (None,) * len(HEADER),
    (2.0, "Name a lake.", "small", "big", "Lake Baikal.", "Lake Como.", None, "tie", "ann"),
]


def xlsx(path: Path, rows: list[tuple[Any, ...]]) -> Path:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in [HEADER, *rows]:
        sheet.append(row)
    book.save(path)
    return path


def csv(path: Path, rows: list[tuple[Any, ...]], header: tuple[str, ...] = HEADER) -> Path:
    lines = []
    for row in [header, *rows]:
        lines.append(",".join("" if cell is None else f'"{cell}"' for cell in row))
    path.write_text("\n".join(lines), "utf-8")
    return path


def read(path: Path, **options: Any) -> list[Found]:
    return list(format_of("spreadsheet", COLUMNS | options).read(path))


@pytest.mark.parametrize("write", [xlsx, csv])
def test_a_pair_is_one_item_with_its_labels_turned(write: Any, tmp_path: Path) -> None:
    first, second, third = read(write(tmp_path / f"file.{write.__name__}", ROWS))
    assert isinstance(first, Feedback) and isinstance(second, Feedback) and isinstance(third, Feedback)
    assert first.item == second.item != third.item
    assert [response.model for response in second.responses] == ["big", "small"]
    labels = [label.label for label in (first, second, third)]
    assert all(isinstance(label, ComparisonLabel) for label in labels)
    assert [(label.choice, label.strength, label.levels) for label in labels if isinstance(label, ComparisonLabel)] == [
        ("first", 2, 2),
        ("first", 1, 2),
        ("tie", None, None),
    ]
    assert [label.annotator for label in (first, second, third)] == ["ann", "bob", "ann"]


def test_cells_come_as_a_person_reads_them(tmp_path: Path) -> None:
    (label, *_) = read(xlsx(tmp_path / "file.xlsx", ROWS))
    assert isinstance(label, Feedback)
    assert (label.prompt.id, label.where) == ("1", "file.xlsx:2")


def test_without_models_the_order_is_that_of_the_sheet(tmp_path: Path) -> None:
    second = read(csv(tmp_path / "file.csv", ROWS), models=[])[1]
    assert isinstance(second, Feedback) and isinstance(second.label, ComparisonLabel)
    assert [response.text for response in second.responses] == ["The Po.", "The Nile."]
    assert second.label.choice == "second"


def test_everything_a_row_says(tmp_path: Path) -> None:
    header = ("prompt", "answer", "stars", "good", "note", "better", "rank")
    path = csv(tmp_path / "file.csv", [("Name a river.", "The Nile.", "4", "yes", "Dull.", "The Po.", None)], header)
    options = {
        "responses": ["answer"],
        "ratings": ["stars"],
        "thumbs": ["good"],
        "critique": "note",
        "demonstration": "better",
    }
    labels = list(format_of("spreadsheet", options).read(path))
    assert [label.kind for label in labels if isinstance(label, Feedback)] == [
        "rating",
        "thumbs",
        "critique",
        "demonstration",
    ]


def test_ranks(tmp_path: Path) -> None:
    header = ("prompt", "a", "b", "rank_a", "rank_b")
    rows = [("Name a river.", "The Nile.", "The Po.", "2", "1"), ("Name a river.", "The Nile.", "The Po.", "2", None)]
    path = csv(tmp_path / "file.csv", rows, header)
    options = {"responses": ["a", "b"], "ranks": ["rank_a", "rank_b"]}
    good, bad = format_of("spreadsheet", options).read(path)
    assert isinstance(good, Feedback) and good.label.ranks == (2, 1)  # type: ignore[attr-defined]  # a ranking
    assert isinstance(bad, Broken) and bad.reason == "bad_label"


def test_a_prompt_inside_the_responses(tmp_path: Path) -> None:
    header = ("text_a", "text_b", "preferred_text")
    rows = [
        ("Q: Name a river. A: The Nile.", "Q: Name a river. A: The Po.", "text_b"),
        ("Q: One A: 1", "Q: Two A: 2", "a"),
    ]
    path = csv(tmp_path / "file.csv", rows, header)
    options = {"prompt": None, "prompt_ends": " A: ", "responses": ["text_a", "text_b"], "choice": "preferred_text"}
    good, bad = format_of("spreadsheet", options).read(path)
    assert isinstance(good, Feedback) and isinstance(good.label, ComparisonLabel)
    assert good.prompt.messages[0].content == "Q: Name a river."
    assert [response.text for response in good.responses] == ["The Nile.", "The Po."]
    assert good.label.choice == "second"
    assert isinstance(bad, Broken) and bad.reason == "no_shared_prompt"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((1, "Name a river.", "big", "small", "The Nile.", "The Po.", "yes", "the left one", "ann"), "bad_choice"),
        ((1, "Name a river.", "big", "small", "The Nile.", None, "yes", "tie", "ann"), "no_responses"),
        ((1, None, "big", "small", "The Nile.", "The Po.", "yes", "tie", "ann"), "bad_prompt"),
        ((1, "Name a river.", "big", "small", "The Nile.", "The Nile.", "yes", "tie", "ann"), "bad_row"),
        ((1, "Name a river.", "big", "small", "The Nile.", "The Po.", "yes", None, "ann"), "no_label"),
    ],
)
def test_bad_rows_are_named(row: tuple[Any, ...], reason: str, tmp_path: Path) -> None:
    broken, good = read(xlsx(tmp_path / "file.xlsx", [row, ROWS[0]]))
    assert isinstance(broken, Broken) and (broken.reason, broken.where) == (reason, "file.xlsx:2"), broken
    assert isinstance(good, Feedback)


def test_options_that_dont_fit_are_refused() -> None:
    with pytest.raises(InputError, match="models names 1 columns for 2 responses"):
        format_of("spreadsheet", {"models": ["m"]})
    with pytest.raises(InputError, match="prompt_ends"):
        format_of("spreadsheet", {"prompt": None})


def test_files_that_are_no_sheets(tmp_path: Path) -> None:
    bad = tmp_path / "file.xlsx"
    bad.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="not an XLSX file"):
        read(bad)
    with zipfile.ZipFile(bad, "w") as packed:
        packed.writestr("readme.txt", "nothing here")
    with pytest.raises(InputError, match="not an XLSX file"):
        read(bad)


def test_a_packed_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critic.files.containers.sheets.UNPACKED", 1000)
    with pytest.raises(InputError, match="the limit is 1,000"):
        read(xlsx(tmp_path / "file.xlsx", ROWS))


def test_a_row_far_below_is_no_reason_to_count_there(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADER)
    sheet.cell(row=1_000_000, column=1, value="x")
    book.save(tmp_path / "file.xlsx")
    with pytest.raises(InputError, match="blank rows"):
        read(tmp_path / "file.xlsx")


@given(st.lists(st.tuples(*[st.none() | st.text(max_size=5)] * len(HEADER)), min_size=1, max_size=3))
@settings(max_examples=40)
def test_no_cells_break_the_reader(rows: list[tuple[Any, ...]]) -> None:
    from service.formats.spreadsheet import SpreadsheetFormat

    sheet = SpreadsheetFormat.model_validate(COLUMNS | {"thumbs": ["a_ok", "a_ok"], "critique": "who"})
    from critic.files.sources import Raw
    from service.formats.base import Reading

    raw = []
    for row in rows:
        raw.append(Raw("x:1", {n: cell for n, cell in zip(HEADER, row, strict=True) if cell}))
    assert all(isinstance(label, Feedback | Broken) for label in Reading(raw, "human", sheet._from_row))


CHAT = '[{"role": "assistant", "content": "x"}]'


@pytest.mark.parametrize(
    "text", ["nan", CHAT, "<extra_id_1>User\nq\n<extra_id_1>Assistant\n", "\n\nHuman: a\n\nAssistant:"]
)
def test_what_a_cell_would_say_as_something_else_is_written_otherwise_or_counted(text: str, tmp_path: Path) -> None:
    asked, other = feedback("comparison", {"choice": "first"}), feedback("comparison", {"choice": "first"}, (text, "b"))
    asked = asked.model_copy(update={"prompt": Prompt(messages=(Message(role="user", content=text),))})
    lists = feedback("comparison", {"choice": "first"}, ('["a"]', '["b", "c"]'))
    rows = [row for label in (asked, other, lists) for _, row in label.rows()]
    lost = format_of("spreadsheet").write("pairs", rows, tmp_path / "out.xlsx")
    read = list(format_of("spreadsheet").read(tmp_path / "out.xlsx"))
    first = read[0]
    assert isinstance(first, Feedback) and first.prompt == asked.prompt
    assert len(read) == 3 - lost["skipped_unlike_a_cell"]
    assert all(isinstance(label, Feedback) and label.responses[0].text in (text, "The Nile.") for label in read)
