"""Help that needs little: what is left of a command's file, what isn't imported for it, and that it says the same."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.cli import commands, light, main
from service.cli.found import CommandPlace, in_folder, in_folders
from service.cli.opened import every, opened

HEAVY = (
    "dbos", "fastapi", "httpx", "jinja2", "numpy", "pyarrow", "scipy", "sqlalchemy", "starlette", "torch",
    "transformers", "uvicorn",
)  # fmt: skip
FILE = '''
"""A command."""

import json
import this_is_nowhere
from pathlib import Path, PurePath

from nor_is_this import run
from service.cli.exits import FAILED, QUARANTINED as SOME

LEAST = 1
MOST = run(LEAST)


def least() -> int:
    return LEAST


def loud(file: Path, times: int = least(), code: int = SOME) -> None:
    """Say how loud."""
    print(run(json.dumps(MOST)), FAILED)
'''


def places() -> Iterator[CommandPlace]:
    waiting = list(in_folders(commands.__name__, Path(commands.__path__[0]), commands.HEADINGS))
    for place in waiting:
        if place.path.is_dir():
            waiting += in_folder(place.module, place.path)
        else:
            yield place


def test_of_a_file_only_what_its_signature_is_made_of_is_left() -> None:
    left = ast.unparse(light.reduced(ast.parse(FILE), "loud"))
    for gone in ("json", "nowhere", "nor_is_this", "MOST", "FAILED", "PurePath", "print"):
        assert gone not in left
    for kept in ("import Path\n", "QUARANTINED as SOME", "LEAST = 1", "return LEAST", "Say how loud."):
        assert kept in left


def test_a_command_that_was_opened_for_its_help_does_not_run(tmp_path: Path) -> None:
    file = tmp_path / "loud.py"
    file.write_text(FILE, "utf-8")
    module = light.module_of(CommandPlace("loud", "foreign.loud", file))
    assert module.loud.__doc__ == "Say how loud." and module.loud.__defaults__ == (1, 3)
    with pytest.raises(light.NotHelp):
        module.loud(tmp_path)


def test_help_as_the_value_of_an_option_is_no_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cai", "keys", "list", "--database", "--help"])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr()
    assert "no address of a database" in told.err and "Usage" not in told.out


def test_the_help_of_a_command_imports_nothing_heavy() -> None:
    code = f"""
import sys
from service.cli import light
from service.cli.opened import opened
from tests.service.test_cli_light import places
before = {{name for name in {HEAVY} if name in sys.modules}}
light.wanted.set(True)
for place in places():
    opened(place)
    print(*[place.name, *(name for name in {HEAVY} if name in sys.modules and name not in before)])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    lines = told.splitlines()
    assert len(lines) > 20 and [line for line in lines if " " in line] == []


@pytest.mark.slow
def test_help_says_the_same_as_the_command_itself() -> None:
    for place in places():
        whole = dict(every(opened(place)))
        mark = light.wanted.set(True)
        try:
            for_help = dict(every(opened(place)))
        finally:
            light.wanted.reset(mark)
        assert for_help.keys() == whole.keys()
        for path, command in whole.items():
            assert told(for_help[path]) == told(command), (place.name, path)


def told(command: Any) -> list[Any]:
    """What help says of a command and its parameters."""
    names = ("name", "opts", "help", "default", "required", "multiple", "metavar", "rich_help_panel", "envvar")
    parameters = []
    for one in command.params:
        parameters.append([str(getattr(one, name, None)) for name in names])
    return [command.help, type(command).__name__, parameters]
