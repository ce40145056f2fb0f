"""``cai train``: one training run in a folder, from the command line."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from base.errors import InputError
from base.extras import require
from service.cli.exits import QUARANTINED
from service.cli.given.columns import Column
from service.cli.given.config import Command
from service.cli.given.options import INPUT, LIMITS, OUTPUT, Json
from service.cli.given.roots import Root
from service.cli.given.train_settings import print_settings
from service.cli.shown.voice import Quiet, say
from service.cli.training.configs import config_file, shipped_names
from service.exports.hub import expect_model, push_model
from trainers import catalogue


def method_names(incomplete: str) -> list[str]:
    """Complete the name of a method in a shell."""
    return [name for name in catalogue.names() if name.startswith(incomplete)]


def known_method(name: str) -> str:
    """Return ``name``, if there is such a method. Raises `typer.BadParameter`."""
    try:
        return catalogue.read(name).name
    except InputError as error:
        raise typer.BadParameter(f"{error.problem}; {error.fix}") from None


def config_names(incomplete: str) -> list[str]:
    """Complete the name of a shipped config in a shell."""
    return [name for name in shipped_names() if name.startswith(incomplete)]


class TrainCommand(Command):
    """``cai train``, whose help lists the shipped configs and all settings: where they are read is not slow."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, and after it what ``KEY=VALUE`` can be."""
        super().format_help(ctx, formatter)
        print_settings(shipped_names())


COMMAND_CLASS = TrainCommand


def train(
    method: Annotated[
        str,
        typer.Argument(
            parser=known_method,
            metavar="|".join(catalogue.names()),
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
        typer.Argument(metavar="KEY=VALUE", help="Settings on top of the file's; they are listed below."),
    ] = None,
    column: Column = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Upload the finished model and its card to the Hugging Face hub, which is asked before training.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say how much memory and disk the run needs, and refuse what can't fit; a config.json is enough.",
            rich_help_panel=LIMITS,
        ),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(help="With --dry-run: the number of processes, one per GPU.", min=1, rich_help_panel=LIMITS),
    ] = None,
    sharded: Annotated[
        bool,
        typer.Option(
            "--sharded", help="With --dry-run: shard the weights across the processes.", rich_help_panel=LIMITS
        ),
    ] = False,
    device_memory: Annotated[
        float | None,
        typer.Option(
            metavar="GB", help="With --dry-run: the memory of each GPU, in GB.", min=0.001, rich_help_panel=LIMITS
        ),
    ] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a run's exports or on data in TRL's formats, or continue a training run."""
    if not dry_run and (processes or sharded or device_memory):
        raise typer.BadParameter("--processes, --sharded and --device-memory describe a --dry-run")
    require("train", "cai train")
    # Late, because PyTorch is an extra, and takes seconds to import: help and refusals of options don't wait for it.
    from service.cli.training.trained import faults, figures_of, load, plan, print_plan, print_trained, start

    chosen = load(method, config_file(config), settings or [], column)
    if dry_run:
        planned = plan(chosen, processes, sharded, device_memory)
        if chosen.process_index == 0:
            print_plan(planned, as_json=as_json)
        return
    repo = push_to_hub if chosen.process_index == 0 else None  # of many processes, one sends the model
    if repo is not None:
        expect_model(repo)
    done = start(chosen, err=as_json)
    if as_json:
        typer.echo(json.dumps(figures_of(done), indent=2))
    else:
        print_trained(done)
    if repo is not None:
        say(push_model(Path(done.folder), repo), err=as_json)
    if faults(done.counts.refused):
        raise typer.Exit(QUARANTINED)
