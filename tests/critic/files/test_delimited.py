"""Tables of text: the separators in use, empty cells, and columns that can't be told apart."""

from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from critic.files.containers.delimited import separator_of
from critic.files.inputs import read_prompts
from critic.files.shapes import naming
from critic.files.sources import open_source
from critic.rows import Broken, Raw


def rows(path: Path, data: bytes | str, **mapping: str) -> list[Any]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    column = ",".join(f"{own}={name}" for own, name in mapping.items())
    opened = open_source(str(path), naming(column)).rows
    return [row.columns if isinstance(row, Raw) else row for row in opened]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_tells_the_separator(separator: str, tmp_path: Path) -> None:
    text = f'prompt{separator}tags\r\n"Größe{separator} bitte?"{separator}a\r\n'
    assert rows(tmp_path / "in.csv", text) == [{"prompt": f"Größe{separator} bitte?", "tags": "a"}]


def test_a_quoted_name_may_hold_other_separators() -> None:
    assert separator_of('"a;b;c",d') == ","
    assert separator_of("prompt") == ","


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"'])
def test_excels_first_line_names_it(first: str, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    assert rows(path, f"{first}\r\nprompt;id\r\nHi, you;7\r\n") == [{"prompt": "Hi, you", "id": "7"}]
    (line,) = read_prompts(str(path), max_chars=99, truncate=False)
    assert line.where == "in.csv:3"


def test_tsv_is_such_a_table(tmp_path: Path) -> None:
    assert rows(tmp_path / "in.tsv", "prompt\tid\na, b\t1\n") == [{"prompt": "a, b", "id": "1"}]


def test_an_empty_cell_is_there_and_holds_nothing(tmp_path: Path) -> None:
    assert rows(tmp_path / "in.csv", "prompt,label\nHi,\n") == [{"prompt": "Hi", "label": None}]


def test_a_row_of_another_length_costs_itself(tmp_path: Path) -> None:
    one, short, three = rows(tmp_path / "in.csv", "prompt;id\none;1\ntwo\nthree;3\n")
    assert (one["prompt"], three["prompt"]) == ("one", "three")
    assert isinstance(short, Broken) and "1 cells where the header names 2" in short.detail


def test_two_columns_of_one_name_are_told_where_it_matters(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two columns are called 'prompt'"):
        rows(tmp_path / "in.csv", "prompt,prompt\na,b\n")
    assert rows(tmp_path / "in.csv", "prompt,note,note\na,b,c\n")[0]["prompt"] == "a"


def test_line_ends_of_old_machines(tmp_path: Path) -> None:
    assert [row["prompt"] for row in rows(tmp_path / "in.csv", b"prompt;id\rone;1\rtwo;2\r")] == ["one", "two"]
