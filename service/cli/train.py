"""``cai train``: one training run in a folder, from the command line."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import InputError
from base.extras import require
from base.nearest import nearest
from base.settings_file import read_settings_file
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.given.columns import Column
from service.cli.given.config import Command
from service.cli.given.options import INPUT, LIMITS, OUTPUT, Json
from service.cli.given.roots import Root
from service.cli.shown.voice import Quiet, say
from trainers import catalogue

if TYPE_CHECKING:
    from trainers.config import Source, TrainConfig
    from trainers.folder.results import Counts, Trained

LEFT_OUT = ("mixture", "other_feedback")  # rows that were not wanted, and are no fault of theirs


def method_names(incomplete: str) -> list[str]:
    """Complete the name of a method in a shell."""
    return [name for name in catalogue.names() if name.startswith(incomplete)]


def known_method(name: str) -> str:
    """Return ``name``, if there is such a method. Raises `typer.BadParameter`."""
    try:
        return catalogue.read(name).name
    except InputError as error:
        raise typer.BadParameter(f"{error.problem}; {error.fix}") from None


def shipped() -> Path:
    """Return the folder of the configs that come with the package."""
    return Path(str(files("trainers"))) / "configs"


def shipped_names() -> list[str]:
    """Return the names of the shipped configs."""
    known = set(catalogue.names())
    return sorted(file.stem for file in shipped().glob("*.yaml") if file.stem.rpartition("-")[0] in known)


def config_names(incomplete: str) -> list[str]:
    """Complete the name of a shipped config in a shell."""
    return [name for name in shipped_names() if name.startswith(incomplete)]


class TrainCommand(Command):
    """``cai train``, whose help lists the shipped configs and all settings: where they are read is not slow."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, and after it what ``KEY=VALUE`` can be."""
        super().format_help(ctx, formatter)
        from service.cli.given.train_settings import print_settings

        print_settings(shipped_names())


def train(
    method: Annotated[
        str,
        typer.Argument(
            parser=known_method,
            metavar=f"{{{'|'.join(catalogue.names())}}}",
            autocompletion=method_names,
            help="What to train, and how.",
        ),
    ],
    config: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME",
            help="A file of settings (YAML, JSON or TOML), or the name of a shipped one, as listed below.",
            rich_help_panel=INPUT,
            autocompletion=config_names,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings on top of the file's; they are listed below."),
    ] = None,
    column: Column = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Put the finished model and its card on the Hugging Face hub.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say what memory and disk it takes, and refuse what can't fit; a config.json is enough.",
            rich_help_panel=LIMITS,
        ),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(help="With --dry-run: of so many processes, one a GPU.", min=1, rich_help_panel=LIMITS),
    ] = None,
    sharded: Annotated[
        bool, typer.Option("--sharded", help="With --dry-run: they share the weights out.", rich_help_panel=LIMITS)
    ] = False,
    device_memory: Annotated[
        float | None,
        typer.Option(metavar="GB", help="With --dry-run: on GPUs of so many GB.", min=0.001, rich_help_panel=LIMITS),
    ] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a run's exports or on data in TRL's formats, or go on with it."""
    if not dry_run and (processes or sharded or device_memory):
        raise typer.BadParameter("--processes, --sharded and --device-memory describe a --dry-run")
    require("train", "cai train")
    chosen = load(method, config_file(config), settings or [])
    if dry_run:
        _plan(chosen, processes, sharded, device_memory, as_json)
        return
    if column is not None:
        chosen.data = [_under_names(source, column) for source in chosen.data]
        chosen.eval_data = [_under_names(source, column) for source in chosen.eval_data]
    done = start(chosen, err=as_json)
    if as_json:
        typer.echo(json.dumps(_json(done), indent=2))
    else:
        print_trained(done)
    if push_to_hub is not None:
        from service.exports.hub import push_model

        say(push_model(Path(done.folder), push_to_hub), err=as_json)
    if faults(done.counts.refused):
        raise typer.Exit(QUARANTINED)


def _plan(
    config: "TrainConfig", processes: int | None, sharded: bool, device_memory: float | None, as_json: bool
) -> None:
    """Say what a run takes, of this machine or of the one that is described."""
    from dataclasses import replace

    from trainers.method import of
    from trainers.planning import dry_run
    from trainers.planning.settings import this_machine

    device = this_machine(config)
    if processes is not None:
        device = replace(device, processes=processes)
    if device_memory is not None:
        device = replace(device, memory=int(device_memory * dry_run.GIGA), on_cpu=False)
    device = replace(device, sharded=sharded or device.sharded)
    method = of(config)
    planned = dry_run.dry_run(method.name, config, method.plan, method.work(config, device.processes), device)
    if config.process_index:
        return
    if as_json:
        typer.echo(json.dumps(planned.facts(), indent=2))
        return
    for line in planned.lines():
        typer.echo(line)


def _json(done: "Trained") -> dict[str, Any]:
    return {
        "model": str(done.folder),
        "new": done.new,
        "steps": done.steps,
        "examples": done.counts.examples,
        "held_out": done.counts.held_out,
        "refused": dict(done.counts.refused),
        "figures": dict(done.figures),
    }


def _under_names(source: "Source", column: str) -> "Source":
    return {"path": source, "columns": column} if isinstance(source, str) else {"columns": column} | source


def start(config: "TrainConfig", *, err: bool = False) -> "Trained":
    """Train, with a bar; Ctrl-C leaves what the same command goes on from. ``err``: counts go to standard error."""
    from transformers.utils import logging

    from service.cli.shown.steps import StepBar
    from trainers.run import train as run

    config.disable_tqdm = True  # the bar here also speaks where there is no terminal
    logging.disable_progress_bar()
    bar = StepBar()
    try:
        return run(config, [bar], partial(print_counts, err=err))
    except KeyboardInterrupt:
        bar.close()
        say(f"Stopped. {_goes_on(Path(config.output_dir or ''))}", err=True)
        raise typer.Exit(STOPPED) from None
    finally:
        bar.close()


def config_file(name: str) -> Path:
    """Return the file that ``--config`` names: a path, or one of the shipped ones without its ending."""
    if Path(name).is_file():
        return Path(name)
    if (own := shipped() / f"{name}.yaml").is_file():
        return own
    known = shipped_names()
    near = nearest(Path(name).stem, known)
    fix = f"did you mean {near!r}?" if near else f"give a YAML file, or a shipped name: {', '.join(known)}"
    raise InputError("there is no such file", where=name, fix=fix)


def load(method: str, file: Path, settings: Sequence[str]) -> "TrainConfig":
    """Read the settings of ``method``. Raises `InputError`; for those of another method it says whose they are."""
    from trainers import config
    from trainers.method import load as load_method

    given, said = _read(file), config.read_texts(settings)
    for key in given.keys() & said.keys():
        say(f"{key}={said[key]} on the command line goes before {given[key]} of {file}", err=True)
    kind: type[TrainConfig] = load_method(method).config
    known = {field.name for field in fields(kind)}
    for key in [key for key in {**given, **said} if key not in known]:
        if others := [name for name in catalogue.names() if key in catalogue.settings(name)]:
            raise InputError(
                f"{key} is a setting of {', '.join(others)}, and {method} has none of that name",
                where=str(file),
                fix=f"leave it out; or is it `cai train {others[0]}` that this file is for?",
            )
    return config.build(kind, given | said, str(file), dict.fromkeys(said, config.COMMAND_LINE))


def _read(file: Path) -> dict[str, Any]:
    """Read a file of settings. A shipped one's data are beside it in the package, where they are shipped, too."""
    given = read_settings_file(file)
    data = given.get("data")
    if file.parent == shipped() and isinstance(data, str) and (shipped() / data).is_file():
        given["data"] = str(shipped() / data)
    return given


def faults(refused: Mapping[str, int]) -> int:
    """Return how many rows were refused for what is wrong with them."""
    return sum(count for reason, count in refused.items() if reason not in LEFT_OUT)


def print_counts(counts: "Counts", *, err: bool = False) -> None:
    """Say what is trained on."""
    held_out = f", {counts.held_out:,} more held out" if counts.held_out else ""
    say(f"training on {counts.examples:,} examples{held_out}", err=err)
    for reason, count in sorted(counts.refused.items()):
        say(f"{'left out' if reason in LEFT_OUT else 'refused'}: {count:,} rows ({reason})", err=err)


def print_trained(done: "Trained") -> None:
    """Say where the model lies, and its figures."""
    if not done.new:
        say("This run was finished before; nothing was done.")
    say(f"model:    {done.folder}/ ({done.steps:,} steps; README.md, lineage.json, report.html)")
    for name, value in done.figures.items():
        say(f"{name}: {value:.4g}")
    if faults(done.counts.refused):
        say(f"{done.folder}/refused.jsonl names each refused row and why.")


def _goes_on(folder: Path) -> str:
    from transformers.trainer_utils import get_last_checkpoint

    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    return f"The same command goes on from {Path(last).name if last else 'the beginning'}."
