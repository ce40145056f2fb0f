"""Commands that are given a file that isn't there, is empty, or is a folder: which, and what to do; no traceback."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from base.errors import InputError
from service.cli import app
from service.cli.training.configs import config_file

NOWHERE = ("--server", "http://127.0.0.1:9", "--key", "k")


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("empty.jsonl", "empty.json"):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("command", "problem", "fix"),
    [
        (
            ("export", "empty.jsonl", "--format", "trl", "--out", "o.jsonl"),
            "empty.jsonl: there are no rows",
            "no label in it",
        ),
        (("database", "restore", "none", "--database", "sqlite:///r.db"), "none: there is no such file", "backup` has"),
        (("database", "restore", "folder", "--database", "sqlite:///r.db"), "folder: this is a folder", "backup` has"),
        (("database", "restore", "empty.json", "--database", "sqlite:///r.db"), "this is no backup", "backup` has"),
        (("jobs", "submit", "none", *NOWHERE), "none: no request can be read: No such file or directory\n", "docs/"),
        (("jobs", "submit", "empty.json", *NOWHERE), "empty.json: no request can be read", "docs/SERVICE.md"),
        (("feedback", "import", "folder", *NOWHERE), "folder: this is a folder", "docs/FORMATS.md"),
        (("feedback", "import", "none", *NOWHERE), "none: no such file", "docs/FORMATS.md"),
        (("feedback", "import", "empty.jsonl", *NOWHERE), "empty.jsonl: the input is empty", "at least one row"),
        (("constitution", "lint", "folder"), "the folder of that name is no constitution", "published:"),
        (("serve", "--config", "folder"), "folder: this is a folder", "name a file in it, .yaml"),
        (("serve", "--config", "none.yaml"), "none.yaml: it can't be read", "a file of settings, .yaml"),
    ],
)
@pytest.mark.usefixtures("there")
def test_what_was_misnamed_is_told_with_what_to_do(command: tuple[str, ...], problem: str, fix: str) -> None:
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, InputError), repr(error)
    assert problem in str(error) and fix in error.fix


@pytest.mark.usefixtures("there")
def test_a_folder_is_no_config_of_a_training() -> None:
    with pytest.raises(InputError, match="folder: this is a folder") as caught:
        config_file("folder")
    assert "shipped name" in caught.value.fix
