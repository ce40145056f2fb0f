"""``cai align``: the chain from principles and prompts to a trained policy, from the command line."""

from pathlib import Path
from typing import Annotated, Any

import typer

from base.extras import require
from critic.settings.aligning import STAGES, AlignSettings
from service.align.request import ChainRequest, read_settings
from service.cli.given.config import config_name, config_option, section
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.shown.voice import Quiet, say

AlignConfig = Annotated[Path | None, config_option(STAGES)]


@expand
def align(
    context: typer.Context,
    chain: AlignSettings,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STAGE.KEY=VALUE]...",
            help="Settings of generate, sft, reward, dpo, ppo, evaluate; in a --config file each stage is a key, with "
            "its settings under it.",
        ),
    ] = None,
    root: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
    config: AlignConfig = None,
) -> None:
    """Generate, train, and compare before and after on held-out prompts: the whole chain."""
    require("train", "cai align")
    request = ChainRequest(
        principles=chain.principles,
        prompts=chain.prompts,
        judges=chain.judge,
        modes=chain.mode,
        policy=chain.policy,
        method=chain.method,
        held_out=chain.held_out,
        limit=chain.limit,
        seed=chain.seed,
        settings=_settings(context, read_settings(settings or [])),
        columns=chain.column,
    )
    # Late, because PyTorch is an extra, and takes seconds to import: help and refusals of options don't wait for it.
    from service.cli.training.aligned import aligned

    aligned(request, chain.out, as_json=as_json)


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
