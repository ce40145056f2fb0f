"""What is told of a source that can't be read at all: what to give instead."""

from pathlib import Path

import pytest

from base.errors import InputError
from critic.files.shapes import naming
from critic.files.sources import open_source


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("a.zip", "Unpack it"),
        ("a.tar.gz", "Unpack it"),
        ("a.jsonl.bz2", "Unpack it"),
        ("data-00000-of-00001.arrow", "save_to_disk"),
        ("a.pkl", "Parquet"),
        ("a.xls", ".xlsx"),
        ("a.yaml", "JSON"),
        ("a", "told by the ending"),
    ],
)
def test_a_file_of_another_kind_says_what_to_do(name: str, fix: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="unknown format") as caught:
        open_source(str(tmp_path / name), naming())
    assert fix in (caught.value.fix or "")


def test_a_folder_names_a_file_in_it(tmp_path: Path) -> None:
    for name in ("._b.jsonl", "b.jsonl", "c.csv", "notes.md"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="holds no dataset") as caught:
        open_source(str(tmp_path), naming())
    assert "such as b.jsonl of 2 that can be read" in (caught.value.fix or "")


@pytest.mark.parametrize("source", ["", "  "])
def test_no_name_is_no_folder(source: str) -> None:
    with pytest.raises(InputError, match="no file is named"):
        open_source(source, naming())


def test_a_link_that_leads_nowhere_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").symlink_to(tmp_path / "gone.jsonl")
    with pytest.raises(InputError, match="this is a link, and what it leads to isn't there"):
        open_source(str(tmp_path / "rows.jsonl"))
