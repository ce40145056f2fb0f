"""Workbooks as people keep them, read by every command's own reader: titles above, several sheets, formulas, dates."""

import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from base.errors import InputError
from critic.files.containers import sheets
from critic.files.shapes import naming
from critic.files.sources import open_source
from critic.rows import Broken
from trainers.batches.data import read
from trainers.batches.examples import Pair

HEAD = ("prompt", "chosen", "rejected")
ROW = ("Which bird?", "An emu.", "A cup.")
SAID = dict(zip(HEAD, ROW, strict=True))


def book(path: Path, *tables: tuple[str, list[tuple[Any, ...]]]) -> str:
    """A workbook with a sheet for each table: its title and its rows."""
    made = Workbook()
    made.remove(made.worksheets[0])
    for title, rows in tables:
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return str(path)


def rows_of(source: str, column: str | None = None) -> list[Any]:
    rows = open_source(source, naming(column)).rows
    return [(row.reason, row.where, row.detail) if isinstance(row, Broken) else row.columns for row in rows]


@pytest.mark.parametrize(
    "rows",
    [
        [HEAD, ROW],
        [(), ("Answers of May",), (), (None, None), HEAD, ROW],
        [HEAD, (), ROW, ()],
        [(" Prompt ", "CHOSEN", "rejected"), ROW],
    ],
    ids=["plain", "a title above", "blank rows", "names in other cases"],
)
def test_the_header_is_where_names_are(rows: list[tuple[Any, ...]], tmp_path: Path) -> None:
    source = book(tmp_path / "in.xlsx", ("Sheet", rows))
    assert rows_of(source) == [SAID]
    [pair] = read(source, (Pair,)).examples
    assert isinstance(pair, Pair) and (pair.chosen, pair.rejected) == ROW[1:]


def test_cells_are_what_a_person_reads_and_an_empty_one_is_there(tmp_path: Path) -> None:
    row = (4.0, datetime(2026, 5, 1), None, True, 0.25, datetime(2026, 5, 1, 8, 30))
    source = book(tmp_path / "in.xlsx", ("Sheet", [(*HEAD, "label", "margin", "tags"), row]))
    [columns] = rows_of(source)
    assert columns == {
        "prompt": "4", "chosen": "2026-05-01", "rejected": None, "label": "True", "margin": 0.25,
        "tags": "2026-05-01 08:30:00",
    }  # fmt: skip


def test_a_chat_in_a_cell_is_one(tmp_path: Path) -> None:
    cell = '[{"role": "user", "content": "Which bird?"}]'
    source = book(tmp_path / "in.xlsx", ("Sheet", [HEAD, (cell, "a", "b"), ("[{'role': ", "a", "b")]))
    good, bad = rows_of(source)
    assert good["prompt"] == [{"role": "user", "content": "Which bird?"}] and bad[0] == "bad_chat"


def test_of_several_sheets_the_one_is_read_that_has_the_names(tmp_path: Path) -> None:
    source = book(tmp_path / "in.xlsx", ("About", [("made by", "ann")]), ("Data", [HEAD, ROW]), ("Empty", []))
    assert rows_of(source) == [SAID]
    both = book(tmp_path / "two.xlsx", ("May", [HEAD, ROW]), ("June", [HEAD, ("Why?", "x", "y")]))
    with pytest.raises(InputError, match="several of its sheets can be read: May, June") as caught:
        rows_of(both)
    assert "two.xlsx:May" in (caught.value.fix or "")
    assert rows_of(f"{both}:June") == [dict(zip(HEAD, ("Why?", "x", "y"), strict=True))]
    with pytest.raises(InputError, match="there is no sheet 'July'"):
        rows_of(f"{both}:July")


def test_names_that_a_person_gives_find_the_header_and_the_sheet(tmp_path: Path) -> None:
    source = book(tmp_path / "in.xlsx", ("A", [("Prompts of May",)]), ("B", [("Frage", "win", "lose"), ROW]))
    assert rows_of(source, "prompt=Frage,chosen=win,rejected=lose") == [SAID]
    with pytest.raises(InputError, match="no column 'Fragen'"):
        rows_of(source, "prompt=Fragen")


@pytest.mark.parametrize(
    ("rows", "letter"),
    [
        ([("prompt", "Answers", None), (None, "response_a", "response_b"), ROW], "C"),
        ([("prompt", "chosen", None, "rejected"), (*ROW[:2], "more", ROW[2])], "C"),
    ],
    ids=["a name over two columns, in two rows", "a name over two columns"],
)
def test_a_header_with_merged_cells_is_told(rows: list[tuple[Any, ...]], letter: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"column {letter} has cells, and no name in the header") as caught:
        rows_of(book(tmp_path / "in.xlsx", ("Sheet", rows)))
    assert caught.value.where == "in.xlsx:2" and caught.value.fix


def test_numbers_of_rows_need_no_name(tmp_path: Path) -> None:
    assert rows_of(book(tmp_path / "in.xlsx", ("Sheet", [(None, *HEAD), (0, *ROW)]))) == [SAID]


def test_a_formula_without_a_value_and_an_error_cost_their_row_where_they_are_read(tmp_path: Path) -> None:
    rows = [
        (*HEAD, "notes"), ("Q?", "=A2", "b", None), ("Q?", "#N/A", "b", None), (*ROW, "=1+1"), (*ROW, "#REF!"),
    ]  # fmt: skip
    formula, error, *good = rows_of(book(tmp_path / "in.xlsx", ("Sheet", rows)))
    assert formula[:2] == ("bad_cell", "in.xlsx:2") and "B2 (chosen) is a formula without a value" in formula[2]
    assert error[:2] == ("bad_cell", "in.xlsx:3") and "#N/A" in error[2]
    assert len(good) == 2
    for row in good:
        assert {name: row[name] for name in HEAD} == SAID


def with_part(source: Path, name: str, change: Callable[[bytes], bytes]) -> str:
    """The workbook with one of its parts changed."""
    changed = source.with_name(f"changed-{source.name}")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(changed, "w") as new:
        for part in old.namelist():
            new.writestr(part, change(old.read(part)) if part == name else old.read(part))
    return str(changed)


def test_a_formula_counts_with_the_value_that_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "in.xlsx"
    book(path, ("Sheet", [HEAD, ("Q?", "=1+1", "b")]))
    source = with_part(
        path,
        "xl/worksheets/sheet1.xml",
        lambda xml: xml.replace(b"<v></v>", b"<v>2</v>").replace(b"<v />", b"<v>2</v>"),
    )
    assert rows_of(source) == [{"prompt": "Q?", "chosen": "2", "rejected": "b"}]


def test_what_was_made_to_fill_a_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = book(tmp_path / "in.xlsx", ("Sheet", [HEAD, ROW]))
    monkeypatch.setattr(sheets, "UNPACKED", 1000)
    for reader in (rows_of, lambda source: read(source, (Pair,))):
        with pytest.raises(InputError, match="unpacked it has"):
            reader(source)


def test_what_is_packed_better_than_any_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = book(tmp_path / "in.xlsx", ("Sheet", [HEAD, ROW]))
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", b"<si/>" * 400_000)
    assert rows_of(source) == [SAID]
    monkeypatch.setattr(sheets, "PACKED_WELL", 1000)
    with pytest.raises(InputError, match="unpacked it has 2,0"):
        rows_of(source)


def test_an_empty_workbook_and_what_is_none_are_told(tmp_path: Path) -> None:
    assert rows_of(book(tmp_path / "in.xlsx", ("Sheet", []))) == []
    (tmp_path / "no.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="not an XLSX file"):
        rows_of(str(tmp_path / "no.xlsx"))
