"""A command is one file: a foreign one, dropped into its folder, is listed, helped and run; listing imports none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import service.cli
from base.errors import InputError
from service.cli import commands
from service.cli.found import FoundGroup, description, in_folder, in_folders
from service.cli.opened import every

ROOT = Path(__file__).parents[2]
COMMAND = '''
"""A command that this project doesn't know."""

import typer


def {name}(times: int = 1) -> None:
    """Say how loud a judge is.

    Nobody else measures that.
    """
    typer.echo("loud " * times)
'''
GROUP = """
import typer

app = typer.Typer(help="Loud things.", no_args_is_help=True)


@app.command()
def shout(text: str) -> None:
    typer.echo(text.upper())
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package `service` with three commands more: alone, in a group of files, and with commands of its own."""
    folder = tmp_path_factory.mktemp("house")
    # With what is compiled, but for what another process is writing now.
    shutil.copytree(ROOT / "service", folder / "service", ignore=shutil.ignore_patterns("*.pyc.*"))
    room = folder / "service/cli/commands/evidence"
    (room / "loudness.py").write_text(COMMAND.format(name="loudness"), encoding="utf-8")
    (room / "evaluate/volume.py").write_text(COMMAND.format(name="volume"), encoding="utf-8")
    (room / "noise.py").write_text(GROUP, encoding="utf-8")
    return folder


def cai(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{house}{os.pathsep}{ROOT}", "COLUMNS": "120"}
    command = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_foreign_files_are_commands(house: Path) -> None:
    listed = cai(house, "--help").stdout
    assert "loudness" in listed and "Say how loud a judge is." in listed and "Nobody else" not in listed
    assert "Loud things." in listed
    assert cai(house, "loudness", "--times", "2").stdout.split() == ["loud", "loud"]
    assert "Nobody else measures that." in cai(house, "loudness", "--help").stdout
    assert cai(house, "noise", "shout", "ho").stdout == "HO\n"
    assert "volume" in cai(house, "evaluate", "--help").stdout
    assert cai(house, "evaluate", "volume").stdout == "loud \n"
    misspelt = cai(house, "loudnes")
    assert misspelt.returncode == 2 and "loudness" in misspelt.stderr


@pytest.mark.slow
@pytest.mark.parametrize("text", ["THING = 1\n", COMMAND.format(name="other"), "def broken() -> None:\n    pass\n"])
def test_a_file_that_holds_no_command_says_what_it_lacks(house: Path, text: str) -> None:
    file = house / "service/cli/commands/evidence/broken.py"
    file.write_text(text, encoding="utf-8")
    try:
        for arguments in (["--help"], ["broken"]):
            refused = cai(house, *arguments)
            assert refused.returncode == 2 and "Traceback" not in refused.stderr
            assert "broken.py" in refused.stderr and "it lacks a function broken with a docstring" in refused.stderr
    finally:
        file.unlink()


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    for room in ("one", "two"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text('"""Room"""')
        (tmp_path / room / "loudness.py").write_text(COMMAND.format(name="loudness"))
    with pytest.raises(InputError, match="there is a command 'loudness' already") as refused:
        in_folders("rooms", tmp_path, ())
    assert str(tmp_path / "one") in str(refused.value) and str(tmp_path / "two") in str(refused.value)


def test_each_heading_s_commands_stand_in_its_folder() -> None:
    places = in_folders(commands.__name__, Path(commands.__path__[0]), commands.HEADINGS)
    assert {path.name for path in Path(commands.__path__[0]).iterdir() if path.is_dir()} - {"__pycache__"} == {
        *commands.HEADINGS
    }
    assert [place.name for place in places][:3] == ["compare", "critique", "export"]
    assert all(place.heading and description(place) for place in places)


def test_what_listings_say_is_what_each_command_says() -> None:
    """Listings read files as text; were they mistaken of one, `cai --help` would not say what `cai X --help` does."""
    root: Any = typer.main.get_command(service.cli.app)
    assert isinstance(root, FoundGroup)
    told = {path: " ".join((command.help or "").partition("\n\n")[0].split()) for path, command in every(root)}
    evaluate = Path(commands.__path__[0]) / "evidence" / "evaluate"
    for place in (*(command.place for command in root.listed), *in_folder("evaluate", evaluate)):
        path = ("evaluate", place.name) if place.path.parent == evaluate else (place.name,)
        assert told.get(path, description(place)) == description(place)
    assert {("generate",), ("evaluate", "judge"), ("constitution", "diff"), ("jobs", "submit")} <= told.keys()


LISTING = """
import sys
from typer.testing import CliRunner
from service.cli import app
shown = CliRunner().invoke(app, ["--help"])
assert shown.exit_code == 0 and "generate" in shown.output, shown.output
own = ("base", "constitution", "critic", "trainers", "service")
print(sorted(name for name in sys.modules if name.startswith(own)))
heavy = ("torch", "pydantic", "yaml", "numpy", "asyncio", "jinja2", "httpx2", "sqlalchemy")
print([name for name in heavy if name in sys.modules])
"""


def test_the_listing_imports_none_of_the_commands() -> None:
    """`cai --help` answers at once: it imports Typer, and of ours what finds and prints."""
    done = subprocess.run([sys.executable, "-c", LISTING], cwd=ROOT, capture_output=True, text=True, check=True)
    own, heavy = map(str.strip, done.stdout.splitlines())
    light = ["base", "base.errors", "base.extras", "service", "service.cli", "service.cli.commands"]
    assert own == str([*light, "service.cli.exits", "service.cli.found", "service.cli.light"])
    assert heavy == "[]"
