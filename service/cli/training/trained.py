"""``cai train`` where PyTorch is there: settings to a training run, with a bar, and what came of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import typer
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from base.errors import InputError
from base.settings_file import read_settings_file
from service.cli.exits import STOPPED
from service.cli.shown.steps import StepBar
from service.cli.shown.voice import say
from service.cli.training.configs import method_of_shipped, shipped
from trainers import catalogue, config
from trainers.config import Source, TrainConfig
from trainers.folder.results import Trained, TrainingCounts
from trainers.method import load as load_method
from trainers.method import of as method_of
from trainers.planning import dry_run
from trainers.planning.settings import this_machine
from trainers.run import train as run

LEFT_OUT = ("mixture", "other_feedback")  # rows that were not wanted, and are no fault of theirs


def load(method: str, file: Path, settings: Sequence[str], column: str | None = None) -> TrainConfig:
    """Read the settings of ``method``, whose data have their columns under the names that ``column`` says.

    Raises `InputError`; for settings of another method it says whose they are.
    """
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
    _check_method(method, file)
    chosen = config.build(kind, given | said, str(file), dict.fromkeys(said, config.COMMAND_LINE))
    if column is not None:
        chosen.data = [_under_names(source, column) for source in chosen.data]
        chosen.eval_data = [_under_names(source, column) for source in chosen.eval_data]
    return chosen


def _check_method(method: str, file: Path) -> None:
    """Raise `InputError` for a shipped config of another method, even where all of its settings have a meaning here."""
    owner = method_of_shipped(file)
    if owner not in (None, method):
        raise InputError(
            f"this is a config of {owner}, and it was given to {method}",
            where=str(file),
            fix=f"`cai train {owner} --config {file.stem}`, or a copy of the file for {method}",
        )


def _under_names(source: Source, column: str) -> Source:
    return {"path": source, "columns": column} if isinstance(source, str) else {"columns": column} | source


def plan(
    config: TrainConfig, processes: int | None, sharded: bool, device_memory: float | None
) -> dry_run.PlannedTraining:
    """Return what a run takes of this machine, or of the one that is described. Raises `InputError` if it can't fit."""
    device = this_machine(config, processes)
    if device_memory is not None:
        memory = int(device_memory * dry_run.GIGA)
        device = replace(device, memory=memory, on_cpu=False, main=None, elsewhere=True)
    device = replace(device, sharded=sharded or device.sharded)
    kind = method_of(config)
    kind.check(config)
    return dry_run.dry_run(kind.name, config, kind.plan, kind.work, device)


def print_plan(planned: dry_run.PlannedTraining, *, as_json: bool) -> None:
    """Say what a run takes."""
    if as_json:
        typer.echo(json.dumps(planned.facts(), indent=2))
    else:
        say("\n".join(planned.lines()))


def start(config: TrainConfig, *, err: bool = False) -> Trained:
    """Train, with a bar; Ctrl-C leaves what the same command goes on from. ``err``: counts go to standard error."""
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


def figures_of(done: Trained) -> dict[str, Any]:
    """Return what came of a run, as JSON has it."""
    return {
        "model": str(done.folder),
        "new": done.new,
        "steps": done.steps,
        "examples": done.counts.examples,
        "held_out": done.counts.held_out,
        "refused": dict(done.counts.refused),
        "figures": dict(done.figures),
    }


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


def print_counts(counts: TrainingCounts, *, err: bool = False) -> None:
    """Say what is trained on."""
    held_out = f", {counts.held_out:,} more held out" if counts.held_out else ""
    say(f"training on {counts.examples:,} examples{held_out}", err=err)
    for reason, count in sorted(counts.refused.items()):
        say(f"{'left out' if reason in LEFT_OUT else 'refused'}: {count:,} rows ({reason})", err=err)
    if counts.thoughts:
        say(f"left out: what a model thought, in {counts.thoughts:,} rows", err=err)


def print_trained(done: Trained) -> None:
    """Say where the model lies, and its figures."""
    if not done.new:
        say("This run was finished before; nothing was done.")
    say(f"model:    {done.folder}/ ({done.steps:,} steps; README.md, lineage.json, report.html)")
    for name, value in done.figures.items():
        say(f"{name}: {value:.4g}")
    if faults(done.counts.refused):
        say(f"{done.folder}/refused.jsonl names each refused row and why.")


def _goes_on(folder: Path) -> str:
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    return f"The same command goes on from {Path(last).name if last else 'the beginning'}."
