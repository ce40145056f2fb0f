"""``cai align``: the chain from principles and prompts to a trained policy, from the command line."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.extras import require
from critic.settings.aligning import AlignSettings
from service.cli.exits import QUARANTINED, STOPPED
from service.cli.given.config import config_name, config_option, section
from service.cli.given.expand import expand
from service.cli.given.options import Json
from service.cli.given.roots import Root
from service.cli.shown.progress import Bar
from service.cli.shown.voice import Quiet, say

if TYPE_CHECKING:
    from critic.run.execute import Progress


STAGES = ("generate", "sft", "reward", "dpo", "ppo", "evaluate")  # those of service.align.request, without its imports

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
    from transformers.utils import logging

    from critic.engine import RunStopped
    from service.align import AlignRequest
    from service.align import align as run
    from service.align.report import figures, sentence
    from service.align.request import read_settings
    from service.cli.shown.steps import StepBar

    out = chain.out
    request = AlignRequest(
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
