"""Plug-ins: files of a folder are found, and one that can't be imported is named."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.errors import InputError
from base.plugins import by_name, imported


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a file, and a room with another."""
    package = tmp_path / "plugged"
    (package / "room").mkdir(parents=True)
    for place in ("__init__.py", "b.py", "a.py", "room/__init__.py", "room/c.py"):
        (package / place).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "plugged"]:
        del sys.modules[name]


def names(folder: Path, *, rooms: bool = False) -> list[str]:
    return [module.__name__ for module in imported("plugged", [str(folder)], rooms=rooms)]


def test_files_are_found_by_name_and_in_rooms_where_that_is_wanted(folder: Path) -> None:
    assert names(folder) == ["plugged.a", "plugged.b", "plugged.room"]
    assert names(folder, rooms=True) == ["plugged.a", "plugged.b", "plugged.room", "plugged.room.c"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("open(", "SyntaxError"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("dict(**1)", "TypeError"),
    ],
)
def test_a_file_that_can_not_be_imported_is_named(text: str, told: str, folder: Path) -> None:
    (folder / "b.py").write_text(text)
    with pytest.raises(InputError, match=told) as refused:
        names(folder)
    assert refused.value.where == "plugged.b" and refused.value.__cause__ is not None


def test_two_of_one_name_are_refused() -> None:
    assert by_name("a thing", [("x", "m.x", 1), ("y", "m.y", 2)]) == {"x": 1, "y": 2}
    with pytest.raises(InputError, match="there is a thing 'x' already") as refused:
        by_name("a thing", [("x", "m.x", 1), ("x", "m.z", 2)])
    assert refused.value.where == "m.z"
