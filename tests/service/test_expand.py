"""A command's options are made of its model: names, help, bounds, defaults; and what a file holds is what is read."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
import typer
from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typer.testing import CliRunner

import critic.settings
from base.errors import InputError
from base.option import CommandOption, InRequests, as_file, bounded, option_of, read, unset
from service.cli.given.config import Command, ConfigFile
from service.cli.given.expand import expand
from service.jobs.work.child import _written


class Sample(BaseModel):
    """A field of each kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, CommandOption("Input", flags=("--name", "-n"))] = Field(description="Whose it is.")
    band: Annotated[float, CommandOption("Judging"), InRequests(Le(0.3))] = Field(default=0.02, ge=0, lt=0.5)
    count: Annotated[int | None, CommandOption("Limits", metavar="all|K", word="all")] = Field(default=None, ge=1)
    judge: Annotated[tuple[str, ...], CommandOption("Judging")] = ("embedded",)
    mode: Annotated[tuple[str, ...], CommandOption("Judging")] = ()
    how: Annotated[Literal["mean", "vote"], CommandOption("Judging")] = "mean"
    where: Annotated[Path | None, CommandOption("Output")] = None
    loud: Annotated[bool, CommandOption("Output")] = False
    inner: int = 3


def probe(model: Any, told: list[Any]) -> typer.Typer:
    """An application whose only command has the options of ``model``, and tells what it was given."""
    app = typer.Typer()

    def command(settings: Any, extra: int = 0, config: ConfigFile = None) -> None:
        """Tell."""
        told.append(settings)

    command.__annotations__["settings"] = model
    app.command(cls=Command)(expand(command))
    return app


def given(*arguments: str, model: Any = Sample) -> Any:
    told: list[Any] = []
    result = CliRunner().invoke(probe(model, told), list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return told[0] if told else result


def test_defaults_and_values_of_each_kind() -> None:
    assert given("--name", "a") == Sample(name="a")
    line = ("-n", "a", "--band", "0.1", "--count", "7", "--judge", "x", "--judge", "y", "--mode", "m")
    assert given(*line, "--how", "vote", "--where", "there", "--loud") == Sample(
        name="a", band=0.1, count=7, judge=("x", "y"), mode=("m",), how="vote", where=Path("there"), loud=True
    )
    assert given("--name", "a", "--count", "all").count is None


def test_a_file_of_defaults_is_read_as_defaults(tmp_path: Path) -> None:
    file = _written(tmp_path, as_file(Sample(name="a")))
    assert given("--config", str(file)) == Sample(name="a")


def test_help_is_the_model_s() -> None:
    text = CliRunner().invoke(probe(Sample, []), ["--help"], env={"COLUMNS": "120"}).output
    told = " ".join(text.replace("│", " ").split())
    assert "--name -n <str> Whose it is. [required]" in told and "all|K" in told and "--extra" in told
    assert "[x>=0]" in told and "<mean|vote>" in told and "[default: embedded]" in told
    assert "--inner" not in told and "--no-loud" not in told


@pytest.mark.parametrize(
    ("line", "where"), [(("--band", "0.5"), "--band"), (("--count", "0"), "--count"), (("--count", "few"), "--count")]
)
def test_what_the_model_refuses_names_the_option(line: tuple[str, ...], where: str) -> None:
    with pytest.raises(InputError) as error:
        given("--name", "a", *line)
    assert error.value.where == where


def test_what_the_model_refuses_of_a_file_names_the_file(tmp_path: Path) -> None:
    file = _written(tmp_path, {"name": "a", "band": 0.6})
    with pytest.raises(InputError) as error:
        given("--config", str(file))
    assert error.value.where == f"{file}: band"
    with pytest.raises(InputError) as error:
        given("--config", str(file), "--band", "0.7")
    assert error.value.where == "--band"
    assert given("--config", str(file), "--band", "0.1").band == 0.1


def test_what_typer_refuses_is_a_wrong_line() -> None:
    assert given("--name", "a", "--band", "-1").exit_code == 2
    assert given("--name", "a", "--inner", "4").exit_code == 2, "a field without an option is not the command line's"
    assert given().exit_code == 2


def test_a_request_has_bounds_of_its_own() -> None:
    of_requests = bounded(Sample)
    schema = of_requests.model_json_schema()["properties"]
    assert (schema["band"]["maximum"], schema["name"]["description"]) == (0.3, "Whose it is.")
    assert "maximum" not in Sample.model_json_schema()["properties"]["band"]
    assert of_requests(name="a", band=0.3).band == 0.3 and Sample(name="a", band=0.4).band == 0.4
    for wrong in ({"band": 0.4}, {"band": -1}, {"count": 0}):
        with pytest.raises(ValidationError):
            of_requests(name="a", **wrong)


def test_a_lower_bound_of_requests_is_above_the_field_s_own() -> None:
    class Calls(BaseModel):
        most: Annotated[int | None, InRequests(Ge(1), Le(9))] = Field(default=None, ge=0)

    assert Calls(most=0).most == 0 and bounded(Calls)().most is None
    for wrong in (0, 10):
        with pytest.raises(ValidationError):
            bounded(Calls)(most=wrong)


def test_settings_to_be_changed_are_none_unless_they_are() -> None:
    changed = unset(Sample, "Default: as before.")
    assert changed().model_dump(exclude_none=True) == {}  # type: ignore[call-arg]  # a checker doesn't know that it can
    assert changed.model_fields["name"].description == "Whose it is. Default: as before."
    with pytest.raises(InputError, match="less than 0\\.5"):
        read(changed, {"band": 0.5})


def test_an_unknown_setting_is_refused_with_the_near_one() -> None:
    with pytest.raises(InputError, match="did you mean 'band'"):
        read(Sample, {"name": "a", "bandd": 0.1})


def commands() -> list[type[BaseModel]]:
    """The models of commands: those that say what a command is asked for."""
    modules = [import_module(f"critic.settings.{file.name}") for file in iter_modules(critic.settings.__path__)]
    classes = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    return sorted((one for one in classes if (one.__doc__ or "").startswith("What `cai")), key=lambda one: one.__name__)


def other(field: Any, model: type[BaseModel], name: str) -> Any:
    """A value that is not the default."""
    kinds = [one for one in get_args(field.annotation) if one is not NoneType]
    kind = field.annotation
    if get_origin(kind) is tuple:
        return ("a", "b")
    if get_origin(kind) is Literal:
        return get_args(kind)[-1]
    kind = kinds[0] if kinds else kind
    if get_origin(kind) is Literal:
        return get_args(kind)[-1]
    return {bool: True, int: 5, float: 0.125, str: "text", Path: Path("folder")}[kind]


@pytest.mark.parametrize("model", commands(), ids=lambda model: model.__name__)
def test_what_is_written_for_a_command_is_what_it_reads(model: type[BaseModel], tmp_path: Path) -> None:
    names = [name for name in model.model_fields if option_of(model, name) is not None]
    settings = model(**{name: other(model.model_fields[name], model, name) for name in names})
    assert all(getattr(settings, name) != model.model_fields[name].default for name in names)
    values = [getattr(settings, name) for name in names if (about := option_of(model, name)) and about.is_argument]
    arguments = [str(text) for value in values for text in (value if isinstance(value, tuple) else (value,))]
    file = _written(tmp_path, as_file(settings))
    assert file.stat().st_mode & 0o077 == 0, "others can read it"
    assert given(*arguments, "--config", str(file), model=model) == settings


def test_the_models_of_commands_are_found() -> None:
    assert {"GenerateSettings", "JudgeSettings", "AlignSettings"} <= {model.__name__ for model in commands()}
