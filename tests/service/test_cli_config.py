"""``--config FILE``: strict, the same for every command, and the command line goes before it, aloud."""

import json
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

import service.cli
from base.errors import InputError
from service.cli.given.config import PANELS, Command, ConfigFile, config_option, section
from service.cli.opened import every
from service.cli.shown.voice import Quiet, is_quiet


class Aggregation(StrEnum):
    """A choice."""

    log_odds = "log-odds"
    majority = "majority"


Run = Callable[..., dict[str, Any]]
WithStages = Annotated[Path | None, config_option(("dpo", "sft"))]


@pytest.fixture
def app() -> typer.Typer:
    """A command with an option of each kind, which prints what it was given."""
    made = typer.Typer()

    @made.command(cls=Command)
    def one(
        context: typer.Context,
        name: str = "x",
        count: Annotated[int, typer.Option(min=1)] = 2,
        judge_band: float = 0.02,
        judge: Annotated[list[str], typer.Option()] = ["embedded"],  # noqa: B006  # typer's own manner
        how: Aggregation = Aggregation.log_odds,
        where: Path | None = None,
        truncate: Annotated[bool, typer.Option("--truncate")] = False,
        quiet: Quiet = False,
        config: WithStages = None,
    ) -> None:
        told = {"name": name, "count": count, "band": judge_band, "judge": judge, "how": how.value}
        told |= {"where": str(where), "truncate": truncate, "dpo": section(context, "dpo"), "quiet": is_quiet()}
        typer.echo(json.dumps(told))

    return made


def run(app: typer.Typer, *arguments: str) -> tuple[dict[str, Any], str]:
    """What the command got, and what it said on standard error."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout), result.stderr


def write(folder: Path, **content: Any) -> str:
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "run.yaml")


def test_every_kind_of_option_is_read(app: typer.Typer, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        **{"name": "a b", "count": 7, "judge-band": 0.5, "judge": ["a", "b"], "how": "majority"},
        where="there",
        truncate=True,
        dpo={"beta": 0.3},
    )
    told, said = run(app, "--config", file)
    assert told == {
        "name": "a b", "count": 7, "band": 0.5, "judge": ["a", "b"], "how": "majority", "where": "there",
        "truncate": True, "dpo": {"beta": 0.3}, "quiet": False,
    }  # fmt: skip
    assert said == ""


def test_the_command_line_goes_before_it_and_that_is_said(app: typer.Typer, tmp_path: Path) -> None:
    file = write(tmp_path, count=7, judge=["a", "b"], name="file's")
    told, said = run(app, "--count", "3", "--config", file, "--judge", "c")
    assert (told["count"], told["judge"], told["name"]) == (3, ["c"], "file's")
    assert said.splitlines() == [
        f"--count on the command line goes before count of {file}",
        f"--judge on the command line goes before judge of {file}",
    ]
    assert run(app, "--count", "3", "--config", file, "--quiet")[1] == ""
    assert not is_quiet()  # it was that command's own


def test_hyphens_and_underscores_are_one_spelling_and_one_value_a_list(app: typer.Typer, tmp_path: Path) -> None:
    assert run(app, "--config", write(tmp_path, judge_band=0.1, judge="only"))[0]["band"] == 0.1
    assert run(app, "--config", write(tmp_path, judge="only"))[0]["judge"] == ["only"]
    with pytest.raises(InputError, match="given twice, with hyphens and with underscores"):
        run(app, "--config", write(tmp_path, **{"judge-band": 0.1, "judge_band": 0.1}))


def test_a_number_that_yaml_takes_for_text_is_one(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("judge-band: 1e-3\nname: 12\n")
    told, _ = run(app, "--config", str(tmp_path / "run.yaml"))
    assert (told["band"], told["name"]) == (0.001, "12")


@pytest.mark.parametrize(
    ("content", "where", "said"),
    [
        ({"cuont": 3}, "cuont", "did you mean 'count'"),
        ({"judge_bnd": 3}, "judge_bnd", "did you mean 'judge-band'"),
        ({"dop": {}}, "dop", "did you mean 'dpo'"),
        ({"config": "x"}, "config", "no such option"),
        ({"help": True}, "help", "no such option"),
        ({"count": 2.5}, "count", "2.5 is no whole number"),
        ({"count": True}, "count", "True is no whole number"),
        ({"count": "3"}, "count", "'3' is no whole number"),
        ({"count": 0}, "count", "greater than or equal to 1"),
        ({"judge_band": True}, "judge_band", "True is no number"),
        ({"judge_band": "much"}, "judge_band", "much"),
        ({"name": True}, "name", "True is no text"),
        ({"name": ["a"]}, "name", "is no text"),
        ({"truncate": "yes"}, "truncate", "'yes' is neither true nor false"),
        ({"truncate": 1}, "truncate", "1 is neither true nor false"),
        ({"how": "median"}, "how", "median"),
        ({"judge": [True]}, "judge", "True is no text"),
        ({"count": None}, "count", "has no value"),
        ({"dpo": 3}, "dpo", "holds no settings"),
    ],
)
def test_what_does_not_fit_is_named_with_the_file_and_the_key(
    app: typer.Typer, tmp_path: Path, content: dict[str, Any], where: str, said: str
) -> None:
    file = write(tmp_path, **content)
    with pytest.raises(InputError, match=said) as error:
        run(app, "--config", file)
    assert error.value.where == f"{file}: {where}"


def test_nothing_is_a_value_where_the_option_has_none(app: typer.Typer, tmp_path: Path) -> None:
    assert run(app, "--config", write(tmp_path, where=None))[0]["where"] == "None"


def test_headings_have_one_order(app: typer.Typer) -> None:
    made = typer.Typer()

    @made.command(cls=Command)
    def one(
        last: Annotated[int, typer.Option(rich_help_panel=PANELS[-1])] = 0,
        middle: Annotated[int, typer.Option(rich_help_panel=PANELS[1])] = 0,
        first: Annotated[int, typer.Option(rich_help_panel=PANELS[0])] = 0,
        config: ConfigFile = None,
    ) -> None: ...

    told = CliRunner().invoke(made, ["--help"], env={"COLUMNS": "100"}).output
    places = [told.index(f"─ {panel} ") for panel in (PANELS[0], PANELS[1], PANELS[-1])]
    assert places == sorted(places)


def test_every_command_with_more_than_a_few_options_takes_a_file_and_has_headings() -> None:
    """Whatever commands there are: typed by hand, a list would miss the next one."""
    commands = {name: command for name, command in _commands()}
    for name, command in commands.items():
        own = [p for p in command.params if p.param_type_name == "option" and p.name not in ("help", "quiet", "root")]
        names = {p.name for p in own}
        of_files = name.startswith(("jobs", "feedback", "export"))  # short lines to a server, or of one file
        if len(own) > 5 and not of_files:
            assert "config" in names, name
        headed = [p.rich_help_panel for p in own if getattr(p, "rich_help_panel", None)]
        assert set(headed) <= set(PANELS), name
        if len(own) > 8 and not of_files:
            assert len(headed) == len(own), (name, [p.name for p in own if not p.rich_help_panel])
    assert {"generate", "judge", "constitution diff", "evaluate judge"} <= commands.keys()


def _commands() -> list[tuple[str, Any]]:
    return [(" ".join(path), command) for path, command in every(typer.main.get_command(service.cli.app))]


def test_the_environment_is_as_it_was() -> None:
    assert "CAI_CONSTITUTIONS" not in os.environ


def every_command() -> list[tuple[str, set[str]]]:
    """Every command, and its options."""
    options = []
    for name, command in _commands():
        options.append((f"cai {name}", {option for parameter in command.params for option in parameter.opts}))
    return options


PRINTS_NO_FIGURES = {
    *("cai serve", "cai worker", "cai jobs submit", "cai jobs logs", "cai jobs cancel", "cai jobs retry"),
    *("cai keys make", "cai keys revoke", "cai constitution publish", "cai constitution import"),
    "cai jobs status",  # which is JSON
    "cai constitution ballot",  # a page to be printed
}


def test_every_command_takes_a_config_and_those_that_print_figures_print_json() -> None:
    commands = dict(every_command())
    assert len(commands) > 30
    assert [name for name, options in commands.items() if "--config" not in options] == []
    assert {name for name, options in commands.items() if "--json" not in options} == PRINTS_NO_FIGURES


def test_a_command_of_a_server_reads_its_address_from_a_config(tmp_path: Path) -> None:
    config = write(tmp_path, server="nowhere", key="cai_x")
    result = CliRunner().invoke(service.cli.app, ["jobs", "list", "--config", config])
    assert "'nowhere' is no address of a server" in str(result.exception)
