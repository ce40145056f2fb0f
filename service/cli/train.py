"""``cai train``: one training run in a folder, from the command line."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from constitution.errors import InputError
from service.cli import QUARANTINED, STOPPED
from service.cli.columns import Column

if TYPE_CHECKING:
    from trainers.config import Source, TrainConfig
    from trainers.results import Counts, Trained

LEFT_OUT = ("mixture", "other_feedback")  # rows that were not wanted, and are no fault of theirs


class Method(StrEnum):
    """What is trained, and how."""

    sft = "sft"
    reward = "reward"
    dpo = "dpo"
    ppo = "ppo"


def train(
    method: Annotated[Method, typer.Argument(help="What to train.")],
    config: Annotated[str, typer.Option(help="A YAML file of settings, or the name of a shipped one: dpo-smoke ...")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings on top.")] = None,
    column: Column = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="Put the finished model and its card on the Hugging Face hub."),
    ] = None,
) -> None:
    """Train a model on a run's exports or on data in TRL's formats, or go on with it."""
    chosen = load(method, config_file(config), settings or [])
    if column is not None:
        chosen.data = [_under_names(source, column) for source in chosen.data]
        chosen.eval_data = [_under_names(source, column) for source in chosen.eval_data]
    done = start(chosen)
    print_trained(done)
    if push_to_hub is not None:
        from service.hub import push_model

        typer.echo(push_model(Path(done.folder), push_to_hub))
    if faults(done.counts.refused):
        raise typer.Exit(QUARANTINED)


def _under_names(source: "Source", column: str) -> "Source":
    return {"path": source, "columns": column} if isinstance(source, str) else {"columns": column} | source


def start(config: "TrainConfig") -> "Trained":
    """Train, with a bar; Ctrl-C leaves what the same command goes on from."""
    from transformers.utils import logging

    from service.cli.steps import StepBar
    from trainers.run import train as run

    config.disable_tqdm = True  # the bar here also speaks where there is no terminal
    logging.disable_progress_bar()
    bar = StepBar()
    try:
        return run(config, [bar], print_counts)
    except KeyboardInterrupt:
        bar.close()
        typer.echo(f"Stopped. {_goes_on(Path(config.output_dir or ''))}", err=True)
        raise typer.Exit(STOPPED) from None
    finally:
        bar.close()


def config_file(name: str) -> Path:
    """Return the file that ``--config`` names: a path, or one of the shipped ones without its ending."""
    shipped = Path(__file__).parents[2] / "trainers" / "configs"
    if Path(name).is_file():
        return Path(name)
    if (found := shipped / f"{name}.yaml").is_file():
        return found
    names = ", ".join(sorted(file.stem for method in Method for file in shipped.glob(f"{method}-*.yaml")))
    raise InputError("there is no such file", where=name, fix=f"give a YAML file, or a shipped name: {names}")


def load(method: Method, file: Path, settings: Sequence[str]) -> "TrainConfig":
    """Read the settings of ``method``. Raises `InputError`."""
    from trainers import config

    return config.load(config_class(method), file, settings)


def config_class(method: Method) -> "type[TrainConfig]":
    """Return the class of a method's settings."""
    from trainers import config

    if method == Method.ppo:
        from trainers.ppo_config import PPOConfig

        return PPOConfig
    return {Method.sft: config.SFTConfig, Method.reward: config.RewardConfig, Method.dpo: config.DPOConfig}[method]


def faults(refused: Mapping[str, int]) -> int:
    """Return how many rows were refused for what is wrong with them."""
    return sum(count for reason, count in refused.items() if reason not in LEFT_OUT)


def print_counts(counts: "Counts") -> None:
    """Say what is trained on."""
    held_out = f", {counts.held_out:,} more held out" if counts.held_out else ""
    typer.echo(f"training on {counts.examples:,} examples{held_out}")
    for reason, count in sorted(counts.refused.items()):
        typer.echo(f"{'left out' if reason in LEFT_OUT else 'refused'}: {count:,} rows ({reason})")


def print_trained(done: "Trained") -> None:
    """Say where the model lies, and its figures."""
    if not done.new:
        typer.echo("This run was finished before; nothing was done.")
    typer.echo(f"model:    {done.folder}/ ({done.steps:,} steps; README.md, lineage.json, report.html)")
    for name, value in done.figures.items():
        typer.echo(f"{name}: {value:.4g}")
    if faults(done.counts.refused):
        typer.echo(f"{done.folder}/refused.jsonl names each refused row and why.")


def _goes_on(folder: Path) -> str:
    from transformers.trainer_utils import get_last_checkpoint

    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    return f"The same command goes on from {Path(last).name if last else 'the beginning'}."
