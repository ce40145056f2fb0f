"""``cai align``: the chain from principles and prompts to a trained policy, from the command line."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from base.extras import require
from service.align.request import STAGES, AlignRequest, read_settings
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
from service.cli.shown.voice import Quiet, say

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
    # Late, because PyTorch is an extra, and takes seconds to import: help and refusals of options don't wait for it.
    from service.cli.training.aligned import aligned

    request = AlignRequest(
        principles, prompts, tuple(judge), tuple(mode or ()), policy, method.value, held_out, limit, seed,
        _settings(context, read_settings(settings or [])), column,
    )  # fmt: skip
    aligned(request, out, as_json=as_json)


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
