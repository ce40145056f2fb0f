"""Every subcommand of ``cai evaluate`` is one file; a foreign one is found by lying there."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from base.errors import InputError
from service.cli.measure import commands
from service.cli.measure.evaluate import application
from service.cli.measure.measurement import discovered

FOREIGN = '''
"""A measurement that this project doesn't know."""

import typer

from service.cli.measure.measurement import Measurement


def loudness(times: int = 1) -> None:
    """Say how loud a judge is."""
    typer.echo("loud " * times)


MEASUREMENT = Measurement("{name}", loudness)
'''


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files are measurements, too; what was imported from it is forgotten afterwards."""
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    yield tmp_path
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(f"{commands.__name__}.{file.stem}", None)


def test_each_file_has_its_measurement_and_help() -> None:
    files = {file.stem for file in Path(commands.__path__[0]).glob("*.py")} - {"__init__"}
    measurements = discovered(commands)
    assert {"choices", "injection", "judge"} <= {measurement.name for measurement in measurements}
    assert len(measurements) == len(files)
    shown = CliRunner().invoke(application(), ["--help"]).stdout
    assert all(measurement.name in shown for measurement in measurements)


def test_a_foreign_file_is_a_subcommand(room: Path) -> None:
    (room / "loudness.py").write_text(FOREIGN.format(name="loudness"))
    done = CliRunner().invoke(application(), ["loudness", "--times", "2"])
    assert done.exit_code == 0 and done.stdout.split() == ["loud", "loud"]
    assert "Say how loud a judge is." in CliRunner().invoke(application(), ["loudness", "--help"]).stdout


def test_a_file_that_does_not_fit_says_what_it_lacks(room: Path) -> None:
    (room / "unfinished.py").write_text("THING = 1\n")
    with pytest.raises(InputError, match="it lacks MEASUREMENT, a Measurement") as refused:
        discovered(commands)
    assert "unfinished.py" in str(refused.value) and "MEASUREMENT = Measurement(" in str(refused.value)


def test_a_command_without_help_is_refused(room: Path) -> None:
    (room / "mute.py").write_text(FOREIGN.format(name="mute").replace('"""Say how loud a judge is."""', "pass"))
    with pytest.raises(InputError, match="it lacks a docstring"):
        discovered(commands)


def test_two_of_one_name_are_refused(room: Path) -> None:
    (room / "another.py").write_text(FOREIGN.format(name="judge"))
    with pytest.raises(InputError, match="two measurements called 'judge'") as refused:
        discovered(commands)
    assert "another.py" in str(refused.value) and "judge.py" in str(refused.value)
