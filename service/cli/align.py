"""``cai align``: the chain from principles and prompts to a trained policy, from the command line."""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.extras import require
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.given.columns import Column
from service.cli.given.config import config_name, config_option, section
from service.cli.given.options import (
    EMBEDDED,
    INPUT,
    LIMITS,
    SAMPLING,
    Json,
    JudgeSpecs,
    Modes,
    Out,
    Principles,
    Seed,
)
from service.cli.given.roots import Root
from service.cli.shown.progress import Bar
from service.cli.shown.voice import Quiet, say

if TYPE_CHECKING:
    from critic.run.execute import Progress


STAGES = ("generate", "sft", "reward", "dpo", "ppo", "evaluate")  # those of service.align.request, without its imports

AlignConfig = Annotated[Path | None, config_option(STAGES)]
ChainLimit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first N prompts.", rich_help_panel=LIMITS)
]


class AlignMethod(StrEnum):
    """How the policy learns from preferences."""

    dpo = "dpo"
    ppo = "ppo"


def align(
    context: typer.Context,
    principles: Principles,
    prompts: Annotated[
        str, typer.Option(help="JSON Lines, JSON, CSV, Parquet, text, or a dataset.", rich_help_panel=INPUT)
    ],
    out: Out,
    method: Annotated[
        AlignMethod, typer.Option(help="How the policy learns from preferences.", rich_help_panel=SAMPLING)
    ] = AlignMethod.dpo,
    policy: Annotated[
        str, typer.Option(help="What is trained: embedded, hf:PATH_OR_ID ...", rich_help_panel=SAMPLING)
    ] = "embedded",
    judge: JudgeSpecs = EMBEDDED,
    mode: Modes = None,
    held_out: Annotated[
        float, typer.Option(help="The share of prompts kept for the report.", rich_help_panel=INPUT)
    ] = 0.25,
    limit: ChainLimit = None,
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STAGE.KEY=VALUE]...",
            help="Settings of generate, sft, reward, dpo, ppo, evaluate; in a --config file each stage is a key, with "
            "its settings under it.",
        ),
    ] = None,
    column: Column = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: AlignConfig = None,
) -> None:
    """Generate, train, and compare before and after on held-out prompts: the whole chain."""
    require("train", "cai align")
    from transformers.utils import logging

    from critic.engine import RunStopped
    from service.align import AlignRequest
    from service.align import align as run
    from service.align.report import figures, sentence
    from service.align.request import read_settings
    from service.cli.shown.steps import StepBar

    request = AlignRequest(
        principles, prompts, tuple(judge), tuple(mode or ()), policy, method.value, held_out, limit, seed,
        _settings(context, read_settings(settings or [])), column,
    )  # fmt: skip
    logging.disable_progress_bar()
    rows, steps = _Rows(), StepBar()
    try:
        found = run(request, out, tell=partial(_say_on, err=as_json), on_progress=rows.update, callbacks=[steps])
    except (KeyboardInterrupt, RunStopped) as reason:
        because = f": {reason}" if str(reason) else ""
        say(f"Stopped{because}. The same command goes on from here.", err=True)
        raise typer.Exit(STOPPED) from None
    finally:
        rows.close()
        steps.close()
    if as_json:
        typer.echo(json.dumps({"directory": str(out), **found}, indent=2))
    else:
        say(sentence(request, found))
        _print(figures(found), found, out)
    if any(stage.get("refused") or stage.get("quarantined") for stage in found["stages"].values()):
        say("Some rows were refused; refused.jsonl and quarantine.jsonl of the stages name them.", err=as_json)
        raise typer.Exit(QUARANTINED)


def _print(shares: Iterable[tuple[str, Mapping[str, Any]]], found: Mapping[str, Any], out: Path) -> None:
    for name, share in shares:
        say(f"{name}: {share['estimate']:.2f} ({share['low']:.2f} to {share['high']:.2f})")
    for side in ("before", "after"):
        if words := found[side]["words"]:
            say(f"words {side}: {words['estimate']:.1f}")
    say(f"model:  {out}/policy/\nreport: {out}/report.html")


def _settings(context: typer.Context, said: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each stage's settings: those of the file, and on top what the command line says."""
    together: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        own = section(context, stage)
        for key in own.keys() & said.get(stage, {}).keys():
            say(f"{stage}.{key} on the command line goes before that of {config_name(context)}", err=True)
        if values := own | said.get(stage, {}):
            together[stage] = values
    return together


def _say_on(stage: str, text: str, *, err: bool) -> None:
    say(f"{stage + ':':10}{text}", err=err)


class _Rows:
    """The bar of the run that makes the data; it appears with the first call."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._done = 0

    def update(self, standing: "Progress", calls: int, total: int | None) -> None:
        """Show where the run stands."""
        if self._bar is None and total:
            self._bar = Bar("prompts", total)
            self._bar.__enter__()
        done = standing.rows + standing.skipped + standing.quarantined
        while self._bar is not None and self._done < done:
            self._done += 1
            self._bar.advance()
        if total and done >= total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None
